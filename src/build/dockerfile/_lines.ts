/** From bytes to instructions' texts: lines, comments, continuations, here-documents. */
import { isSpace, trimSpace, trimStart } from "./go-text.ts";
import { refuse } from "./refusal.ts";
import type { Location } from "./instruction.ts";
import { dockerfileBytesMax, lineBytesMax, linesMax } from "./limits.ts";

const lineFeed = 10;
/** A UTF-8 character has at most that many bytes for each unit of a JavaScript string. */
const bytesPerUnitMax = 3;

/** Text of one instruction. */
export interface LogicalLine {
  /** Continuation lines joined. */
  readonly text: string;
  readonly location: Location;
  /** Comments since the instruction before. */
  readonly comments: readonly string[];
  /** Whether a continuation line is empty. */
  readonly hasEmptyLine: boolean;
}

/**
 * Reads a Dockerfile's bytes as lines, without their ends of line.
 *
 * @throws invalid-argument for more than the limits, and for text outside of comments that is not UTF-8
 */
export function readLines(bytes: Uint8Array): readonly string[] {
  if (bytes.byteLength > dockerfileBytesMax) {
    throw refuse(`Dockerfile of ${bytes.byteLength} bytes: at most ${dockerfileBytesMax} are read`);
  }
  let count = 1;
  for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, at + 1)) count += 1;
  if (count > linesMax) {
    throw refuse(`Dockerfile of ${count} lines: at most ${linesMax} are read`);
  }
  const lines = new TextDecoder("utf-8").decode(bytes).split("\n");
  checkLines(lines, bytes);
  return lines;
}

function checkLines(lines: readonly string[], bytes: Uint8Array): void {
  const isUtf8 = isValidUtf8(bytes);
  for (const [index, line] of lines.entries()) {
    const location = { startLine: index + 1, endLine: index + 1 };
    if (line.length * bytesPerUnitMax > lineBytesMax) {
      const sizeBytes = new TextEncoder().encode(line).byteLength;
      if (sizeBytes > lineBytesMax) {
        throw refuse(`dockerfile line greater than max allowed size of ${lineBytesMax}`, location);
      }
    }
    if (!isUtf8 && line.includes("\ufffd") && !isComment(line)) {
      throw refuse(
        `dockerfile parse error on line ${index + 1}: text that is not UTF-8 outside of a comment`,
        location,
      );
    }
  }
}

function isValidUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/** Walks a Dockerfile's instructions. */
export class LineReader {
  readonly #lines: readonly string[];
  readonly #escape: string;
  #next: number;

  /** @param options.from lines to pass over */
  constructor(
    lines: readonly string[],
    options: { readonly escape: string; readonly from: number },
  ) {
    this.#lines = lines;
    this.#escape = options.escape;
    this.#next = options.from;
  }

  /** Lines read so far. */
  get lineCount(): number {
    return this.#next;
  }

  /** The next instruction's text; undefined at the end. */
  next(): LogicalLine | undefined {
    let comments: string[] = [];
    while (this.#next < this.#lines.length) {
      const line = trimStart(trimLineEnd(this.#lines[this.#next] ?? ""));
      this.#next += 1;
      if (line.startsWith("#")) {
        const comment = trimSpace(line.slice(1));
        if (comment === "") comments = [];
        else comments.push(comment);
        continue;
      }
      const { text, isContinued } = this.#cutEscape(line);
      if (text === "" && !isContinued) continue;
      return this.#join(text, { isContinued, comments });
    }
    return undefined;
  }

  /** Takes the lines of a here-document; undefined when its end does not come. */
  takeHeredoc(mark: {
    readonly name: string;
    readonly hasTabsStripped: boolean;
  }): string | undefined {
    const start = this.#next;
    while (this.#next < this.#lines.length) {
      const line = trimLineEnd(this.#lines[this.#next] ?? "");
      this.#next += 1;
      const end = mark.hasTabsStripped ? line.replace(/^\t+/, "") : line;
      if (end !== mark.name) continue;
      const body = this.#lines.slice(start, this.#next - 1);
      return body.length === 0 ? "" : `${body.join("\n")}\n`;
    }
    if (this.#lines.at(-1) === "") this.#next -= 1;
    return undefined;
  }

  #join(
    first: string,
    options: { readonly isContinued: boolean; readonly comments: readonly string[] },
  ): LogicalLine {
    const startLine = this.#next;
    const parts = [first];
    let isContinued = options.isContinued;
    let hasEmptyLine = false;
    while (isContinued && this.#next < this.#lines.length) {
      const line = trimLineEnd(this.#lines[this.#next] ?? "");
      // What follows the last line end is no line.
      if (line === "" && this.#next === this.#lines.length - 1) break;
      this.#next += 1;
      if (isComment(line)) continue;
      if (trimStart(line) === "") {
        hasEmptyLine = true;
        continue;
      }
      const cut = this.#cutEscape(line);
      parts.push(cut.text);
      isContinued = cut.isContinued;
    }
    return {
      text: parts.join(""),
      location: { startLine, endLine: this.#next },
      comments: options.comments,
      hasEmptyLine,
    };
  }

  /** A line goes on when it ends with one escape, not with two or more. */
  #cutEscape(line: string): { readonly text: string; readonly isContinued: boolean } {
    let end = line.length;
    while (end > 0 && (line.charAt(end - 1) === " " || line.charAt(end - 1) === "\t")) end -= 1;
    const isEscape = line.charAt(end - 1) === this.#escape;
    if (!isEscape || line.charAt(end - 2) === this.#escape) {
      return { text: line, isContinued: false };
    }
    return { text: line.slice(0, end - 1), isContinued: true };
  }
}

function trimLineEnd(line: string): string {
  let end = line.length;
  while (line.charAt(end - 1) === "\r") end -= 1;
  return line.slice(0, end);
}

function isComment(line: string): boolean {
  let at = 0;
  while (at < line.length && isSpace(line.charAt(at))) at += 1;
  return line.charAt(at) === "#";
}
