import { EngineError } from "../../lib/errors.ts";
import { refuse } from "./refusal.ts";
import { lexWord, type LexerOptions } from "./_word-lexer.ts";
import { heredocsMax } from "./limits.ts";

/** How a here-document is announced: `<<EOF`, `<<-EOF`, `<<"EOF"`, `3<<EOF`. */
export interface HeredocMark {
  readonly name: string;
  readonly isExpanded: boolean;
  readonly hasTabsStripped: boolean;
}

const plain: LexerOptions = {
  escape: "\\",
  lookup: () => undefined,
  keepsUndefined: true,
  charsMax: Number.MAX_SAFE_INTEGER,
};
const raw: LexerOptions = { ...plain, keepsQuotes: true, keepsEscapes: true };
const markPattern = /^\d*<<(-?)([^<]+)$/;

/** Finds the here-documents that a line announces, in order. @throws for more than the limit */
export function findHeredocMarks(line: string): readonly HeredocMark[] {
  if (!line.includes("<<")) return [];
  const marks: HeredocMark[] = [];
  for (const word of wordsOf(line, raw)) {
    const mark = parseMark(word);
    if (mark !== undefined) marks.push(mark);
    if (marks.length > heredocsMax) {
      throw refuse(`more than ${heredocsMax} here-documents in one instruction`);
    }
  }
  return marks;
}

/** Reads a word as a here-document's mark; undefined when it is none. */
export function findHeredocMark(word: string): HeredocMark | undefined {
  try {
    return parseMark(word);
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
}

/** Removes the tabs that `<<-` removes. */
export function stripTabs(content: string): string {
  return content.replace(/^\t+/gm, "");
}

function parseMark(word: string): HeredocMark | undefined {
  const match = markPattern.exec(word);
  if (match === null) return undefined;
  const rest = match[2] ?? "";
  const [name, ...more] = lexWord(rest, plain).words;
  // Docker: quotes keep the content from being expanded, an escape does not, seen in 28.5.
  const [written] = lexWord(rest, { ...plain, keepsQuotes: true }).words;
  if (name === undefined || more.length > 0) return undefined;
  return { name, isExpanded: name === written, hasTabsStripped: match[1] === "-" };
}

/** A line that cannot be cut, as for an open quote, announces nothing. */
function wordsOf(line: string, options: LexerOptions): readonly string[] {
  try {
    return lexWord(line, options).words;
  } catch (error) {
    if (error instanceof EngineError) return [];
    throw error;
  }
}
