/** Turns blocks of json-file records into the bytes that a client of `logs` is sent. */
import type { LogStream } from "./json-records.ts";

const newline = 0x0a;
const backslash = 0x5c;
const quote = 0x22;
const frameHeadBytes = 8;
/** `{"log":"` */
const headBytes = 8;
const head = Buffer.from('{"log":"');
/** What follows the text of a whole line: `\n","stream":"stdout","time":"…30…"}` and a line end. */
const middle = Buffer.from('\\n","stream":"stdout","time":"');
const timeBytes = 30;
const tailBytes = middle.length + timeBytes + 3;
/** Where the stream's name differs: the last three letters. */
const streamAt = Buffer.from('\\n","stream":"std').length;
const letterO = 0x6f;
const letterE = 0x65;

/** Which records, and how they are told. */
export interface RenderOptions {
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly timestamps: boolean;
  readonly details: boolean;
  /** In frames of Docker's stdcopy; else bytes alone. */
  readonly frame: boolean;
  /** RFC 3339 with nine digits, so that texts sort as moments do. */
  readonly since?: string;
  readonly until?: string;
}

/** What a record says. */
interface LogRecord {
  readonly log: Buffer;
  readonly stream: LogStream;
  readonly time: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Renders records; `hasPassedUntil` tells that nothing more will come. */
export class LogRenderer {
  readonly #options: RenderOptions;
  #output = Buffer.allocUnsafe(256 * 1024);
  #length = 0;
  #skippedCount = 0;
  #hasPassedUntil = false;
  #lastTime = "";

  constructor(options: RenderOptions) {
    this.#options = options;
  }

  get hasPassedUntil(): boolean {
    return this.#hasPassedUntil;
  }

  /** Records that were no records: damaged or half written. */
  get skippedCount(): number {
    return this.#skippedCount;
  }

  /** The time of the last record seen, told or not. */
  get lastTime(): string {
    return this.#lastTime;
  }

  /** Renders a block of whole records. The result is the caller's. */
  render(block: Buffer): Buffer {
    this.#reserve(block.length * 2);
    let start = 0;
    while (start < block.length && !this.#hasPassedUntil) {
      const end = this.#fast(block, start);
      start = end > 0 ? end : this.#slow(block, start);
    }
    const rendered = Buffer.from(this.#output.subarray(0, this.#length));
    this.#length = 0;
    return rendered;
  }

  /** A line without escapes or attributes, by bytes alone. @returns its end; 0 when it is another */
  #fast(block: Buffer, start: number): number {
    if (this.#options.details) return 0;
    const escapeAt = block.indexOf(backslash, start + headBytes);
    if (escapeAt < 0) return 0;
    const end = escapeAt + tailBytes;
    if (end > block.length || !isPlainRecord(block, start, escapeAt)) return 0;
    const options = this.#options;
    const isStdout = block[escapeAt + streamAt] === letterO;
    const timeStart = escapeAt + middle.length;
    if (options.since !== undefined || options.until !== undefined) {
      if (!this.#isInTime(block.toString("latin1", timeStart, timeStart + timeBytes))) return end;
    }
    if (!(isStdout ? options.stdout : options.stderr)) return end;
    const textBytes = escapeAt - start - headBytes + 1;
    const stampBytes = options.timestamps ? timeBytes + 1 : 0;
    this.#reserve(frameHeadBytes + stampBytes + textBytes + (block.length - start));
    const output = this.#output;
    let at = this.#length;
    if (options.frame) at = writeHead(output, at, { isStdout, sizeBytes: stampBytes + textBytes });
    if (stampBytes > 0) {
      block.copy(output, at, timeStart, timeStart + timeBytes);
      output[at + timeBytes] = 0x20;
      at += stampBytes;
    }
    block.copy(output, at, start + headBytes, escapeAt);
    at += textBytes;
    output[at - 1] = newline;
    this.#length = at;
    return end;
  }

  /** Any record. @returns its end */
  #slow(block: Buffer, start: number): number {
    const found = block.indexOf(newline, start);
    const end = found < 0 ? block.length : found + 1;
    const record = decodeRecord(block.toString("utf8", start, end));
    if (record === undefined) {
      if (end - start > 1) this.#skippedCount += 1;
      return end;
    }
    const options = this.#options;
    this.#lastTime = record.time;
    if (!this.#isInTime(padded(record.time))) return end;
    if (!options[record.stream]) return end;
    const details = options.details ? `${detailsOf(record.attributes)} ` : "";
    const stamp = options.timestamps ? `${padded(record.time)} ` : "";
    const prefix = Buffer.from(stamp + details);
    const sizeBytes = prefix.length + record.log.length;
    this.#reserve(frameHeadBytes + sizeBytes + (block.length - start));
    let at = this.#length;
    const isStdout = record.stream === "stdout";
    if (options.frame) at = writeHead(this.#output, at, { isStdout, sizeBytes });
    this.#output.set(prefix, at);
    this.#output.set(record.log, at + prefix.length);
    this.#length = at + sizeBytes;
    return end;
  }

  #isInTime(time: string): boolean {
    const { since, until } = this.#options;
    if (until !== undefined && time > until) {
      this.#hasPassedUntil = true;
      return false;
    }
    return since === undefined || time >= since;
  }

  #reserve(sizeBytes: number): void {
    const needed = this.#length + sizeBytes;
    if (needed <= this.#output.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#output.length * 2));
    this.#output.copy(grown, 0, 0, this.#length);
    this.#output = grown;
  }
}

function isPlainRecord(block: Buffer, start: number, escapeAt: number): boolean {
  for (let index = 0; index < headBytes; index += 1) {
    if (block[start + index] !== head[index]) return false;
  }
  for (let index = 0; index < middle.length; index += 1) {
    if (index >= streamAt && index < streamAt + 3) continue;
    if (block[escapeAt + index] !== middle[index]) return false;
  }
  const letter = block[escapeAt + streamAt];
  if (letter !== letterO && letter !== letterE) return false;
  const end = escapeAt + middle.length + timeBytes;
  const isWhole = block[end] === quote && block[end + 1] === 0x7d && block[end + 2] === newline;
  // A quote before the escapeAt would end the text before it.
  if (!isWhole) return false;
  const firstQuote = block.indexOf(quote, start + headBytes);
  return firstQuote === escapeAt + 2;
}

function writeHead(
  output: Buffer,
  at: number,
  frame: { readonly isStdout: boolean; readonly sizeBytes: number },
): number {
  output[at] = frame.isStdout ? 1 : 2;
  output[at + 1] = 0;
  output[at + 2] = 0;
  output[at + 3] = 0;
  output[at + 4] = frame.sizeBytes >>> 24;
  output[at + 5] = (frame.sizeBytes >>> 16) & 0xff;
  output[at + 6] = (frame.sizeBytes >>> 8) & 0xff;
  output[at + 7] = frame.sizeBytes & 0xff;
  return at + frameHeadBytes;
}

function decodeRecord(line: string): LogRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  const { log, stream, time, raw, attrs } = fields as Record<
    "log" | "stream" | "time" | "raw" | "attrs",
    unknown
  >;
  if (typeof time !== "string" || (stream !== "stdout" && stream !== "stderr")) return undefined;
  return {
    log: typeof raw === "string" ? Buffer.from(raw, "base64") : Buffer.from(String(log ?? "")),
    stream,
    time,
    attributes:
      typeof attrs === "object" && attrs !== null ? (attrs as Record<string, string>) : {},
  };
}

/** Docker: `key=value` joined by commas, in the order of keys, seen in 28.5. */
function detailsOf(attributes: Readonly<Record<string, string>>): string {
  return Object.keys(attributes)
    .sort()
    .map((key) => `${encodeURIComponent(key)}=${encodeURIComponent(attributes[key] ?? "")}`)
    .join(",");
}

/** The time with all nine digits: other writers leave zeros at the end out. */
export function padded(time: string): string {
  const [, whole, fraction = ""] = /^(.{19})(?:\.(\d+))?Z$/.exec(time) ?? [];
  return whole === undefined ? time : `${whole}.${fraction.padEnd(9, "0").slice(0, 9)}Z`;
}
