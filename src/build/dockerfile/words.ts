/** How an instruction's text falls into its name, flags and words. */
import { isSpace, quote, splitBlanks, trimSpace } from "./go-text.ts";
import { refuse } from "./refusal.ts";
import { flagsMax, wordsMax } from "./limits.ts";

/** An instruction as far as every instruction is alike. */
export interface Command {
  /** As written. */
  readonly name: string;
  readonly flags: readonly string[];
  /** What follows the flags. */
  readonly rest: string;
}

/** A key with a value; `isLegacy` when a space stands between. */
export interface Pair {
  readonly key: string;
  readonly value: string;
  readonly isLegacy: boolean;
}

/** Cuts an instruction into name, flags and the rest. */
export function splitCommand(line: string): Command {
  const [name = "", args] = splitBlanks(trimSpace(line), 2);
  if (args === undefined) return { name, flags: [], rest: "" };
  const { flags, restAt } = readFlags(args);
  return { name, flags, rest: trimSpace(args.slice(restAt)) };
}

function readFlags(line: string): { readonly flags: string[]; readonly restAt: number } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isSpace(line.charAt(at))) at += 1;
    if (!line.startsWith("--", at)) return { flags, restAt: at };
    const word = readFlag(line, at);
    at = word.end;
    if (word.text === "--") return { flags, restAt: at };
    flags.push(word.text);
    if (flags.length > flagsMax) throw refuse(`more than ${flagsMax} flags in one instruction`);
  }
}

/** One flag, without its quotes and escapes. */
function readFlag(line: string, start: number): { readonly text: string; readonly end: number } {
  let text = "";
  let mark = "";
  let at = start;
  for (; at < line.length; at += 1) {
    let char = line.charAt(at);
    if (mark === "" && isSpace(char)) break;
    if (mark === "" ? char === "'" || char === '"' : char === mark) {
      mark = mark === "" ? char : "";
      continue;
    }
    if (char === "\\") {
      at += 1;
      char = line.charAt(at);
    }
    text += char;
  }
  return { text, end: at };
}

/** Cuts at spaces outside of quotes; quotes and escapes stay. */
export function splitWords(text: string, escapeMark: string): readonly string[] {
  const words: string[] = [];
  let start = -1;
  let mark = "";
  const finish = (end: number): void => {
    if (end > start) words.push(text.slice(start, end));
    if (words.length > wordsMax) throw refuse(`more than ${wordsMax} words in one instruction`);
    start = -1;
  };
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (start < 0) {
      if (isSpace(char)) continue;
      start = at;
    }
    if (char === escapeMark && mark !== "'") {
      // An escape that ends the text goes; any other stays with what it escapes.
      if (at + 1 >= text.length) {
        finish(at);
        return words;
      }
      at += 1;
    } else if (mark !== "") {
      if (char === mark) mark = "";
    } else if (char === "'" || char === '"') {
      mark = char;
    } else if (isSpace(char)) {
      finish(at);
    }
  }
  if (start >= 0) finish(text.length);
  return words;
}

/** Cuts at blanks, whatever is quoted. */
export function splitPlain(text: string): readonly string[] {
  if (text === "") return [];
  const words = splitBlanks(text);
  if (words.length > wordsMax) throw refuse(`more than ${wordsMax} words in one instruction`);
  return words;
}

/** Reads `a=b c="d e"`, or `a b c` as one key with the rest for value. */
export function splitPairs(
  text: string,
  options: { readonly name: string; readonly escape: string },
): readonly Pair[] {
  const words = splitWords(text, options.escape);
  const [first] = words;
  if (first === undefined) return [];
  if (!first.includes("=")) {
    const [key = "", value] = splitBlanks(text, 2);
    if (value === undefined) throw refuse(`${options.name} must have two arguments`);
    return [{ key, value, isLegacy: true }];
  }
  return words.map((word) => {
    const at = word.indexOf("=");
    if (at >= 0) return { key: word.slice(0, at), value: word.slice(at + 1), isLegacy: false };
    throw refuse(`Syntax error - can't find = in ${quote(word)}. Must be of the form: name=value`);
  });
}

/** Reads a JSON list of texts; undefined when it is none. @throws when not all are texts */
export function findJsonList(text: string): readonly string[] | undefined {
  const trimmed = trimSpace(text);
  if (!trimmed.startsWith("[") || !trimmed.endsWith("]")) return undefined;
  const list = parseJson(trimmed);
  if (!Array.isArray(list)) return undefined;
  if (list.length > wordsMax) throw refuse(`more than ${wordsMax} words in one instruction`);
  const texts = list.filter((item): item is string => typeof item === "string");
  if (texts.length === list.length) return texts.map((each) => each.toWellFormed());
  throw refuse("when using JSON array syntax, arrays must be comprised of strings only");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // Nested too deep for the parser's stack: no list of texts either.
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}
