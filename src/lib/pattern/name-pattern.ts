/**
 * Patterns of names as Go and Docker write them: filepath.Match, and the lines of .dockerignore.
 *
 * Both run on one machine that keeps every position a pattern may be at, so that no pattern takes
 * more than its length times the name's. Names and patterns are byte strings; `?` and classes take
 * one UTF-8 character.
 *
 * @see Go, path/filepath.Match; moby/patternmatcher
 */
import { EngineError } from "../errors.ts";

/** Longest pattern. */
const patternMaxBytes = 4096;
/** Most patterns of one list. */
const patternsMax = 10_000;

type Token =
  | { readonly kind: "char"; readonly code: number }
  /** One character but `/`. */
  | { readonly kind: "any" }
  /** Any number of characters but `/`. */
  | { readonly kind: "star" }
  /** Anything, `/` included. */
  | { readonly kind: "rest" }
  /** Nothing, or what the `inside` behind it takes: anything that ends in `/`. */
  | { readonly kind: "folders" | "inside" }
  | {
      readonly kind: "class";
      readonly isNegated: boolean;
      readonly ranges: readonly (readonly [number, number])[];
    };

/** A pattern ready to be asked. */
export interface NamePattern {
  matches(name: string): boolean;
}

/** Whether filepath.Match would see more in it than a name. */
export function hasWildcard(pattern: string): boolean {
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at];
    if (char === "\\") at += 1;
    else if (char === "*" || char === "?" || char === "[") return true;
  }
  return false;
}

/** The name that a pattern without wildcards stands for. */
export function unescapePattern(pattern: string): string {
  return pattern.replace(/\\([\s\S])/g, "$1");
}

/**
 * A pattern of Go's filepath.Match; `*` and `?` never match `/`.
 *
 * @throws invalid-argument `syntax error in pattern`
 */
export function parseGoPattern(pattern: string): NamePattern {
  if (!/[*?[\\]/.test(pattern)) return { matches: (name) => name === pattern };
  const tokens = parseTokens(pattern, { hasGlobstar: false });
  return { matches: (name) => runTokens(tokens, name) };
}

/** What of a folder's patterns holds for all that is in it: pass it on to `PatternList.match`. */
export type ParentMatch = readonly boolean[];

/** What a list says of one name. */
export interface ListMatch {
  readonly isMatch: boolean;
  /** For the names in this folder. */
  readonly below: ParentMatch;
}

interface ListPattern extends NamePattern {
  readonly isException: boolean;
}

/** Patterns in order, as lines of .dockerignore: `**` is any number of folders, `!` an exception. */
export class PatternList {
  readonly #patterns: readonly ListPattern[];

  /** @throws invalid-argument for a malformed pattern, or too many */
  constructor(lines: readonly string[]) {
    if (lines.length > patternsMax) {
      throw new EngineError("invalid-argument", `patterns: more than ${patternsMax}`);
    }
    this.#patterns = lines.flatMap((line) => parseLine(line));
  }

  get isEmpty(): boolean {
    return this.#patterns.length === 0;
  }

  /** Whether something in a folder that matches may be excepted all the same. */
  get hasExceptions(): boolean {
    return this.#patterns.some((pattern) => pattern.isException);
  }

  /**
   * Asks for a name in a folder: the last pattern that fits decides. What fits the folder fits all in it.
   *
   * @param name relative, without a leading `/`
   * @param parent what `match` said of the folder; none at the top
   */
  match(name: string, parent: ParentMatch = []): ListMatch {
    let isMatch = false;
    const below: boolean[] = [];
    for (const [index, pattern] of this.#patterns.entries()) {
      const fromParent = parent[index] === true;
      // A pattern that could change nothing is not asked.
      const fits = fromParent || (pattern.isException === isMatch && pattern.matches(name));
      below.push(fits);
      if (fits) isMatch = !pattern.isException;
    }
    return { isMatch, below };
  }
}

function parseLine(line: string): ListPattern[] {
  let text = line.trim();
  if (text === "") return [];
  text = cleanPath(text);
  const isException = text.startsWith("!");
  if (isException) text = text.slice(1);
  if (text === "" || text.length > patternMaxBytes) throw syntaxError(line);
  // Docker: a pattern that begins with a slash is one from the root.
  if (text.startsWith("/") && text.length > 1) text = text.slice(1);
  return [{ isException, matches: listMatcher(text) }];
}

function listMatcher(pattern: string): (name: string) => boolean {
  const tokens = parseTokens(pattern, { hasGlobstar: true });
  if (!/[*?[\\]/.test(pattern)) return (name) => name === pattern;
  const suffix = pattern.slice(2);
  // Docker: `**name` is any name that ends so; seen in patternmatcher's suffixMatch.
  if (pattern.startsWith("**") && suffix !== "" && !/[*?[\]\\]/.test(suffix)) {
    return (name) => name.endsWith(suffix) || (suffix[0] === "/" && name === suffix.slice(1));
  }
  return (name) => runTokens(tokens, name);
}

/** Go's filepath.Clean, of a pattern; a `!` in front stays there. */
function cleanPath(path: string): string {
  const isException = path.startsWith("!");
  const text = isException ? path.slice(1).trim() : path;
  const isRooted = text.startsWith("/");
  const parts: string[] = [];
  for (const part of text.split("/")) {
    if (part === "" || part === ".") continue;
    const canPop = parts.length > 0 && parts.at(-1) !== "..";
    if (part !== "..") parts.push(part);
    else if (canPop) parts.pop();
    else if (!isRooted) parts.push(part);
  }
  const clean = `${isRooted ? "/" : ""}${parts.join("/")}`;
  return `${isException ? "!" : ""}${clean === "" && text !== "" ? "." : clean}`;
}

function parseTokens(pattern: string, form: { readonly hasGlobstar: boolean }): readonly Token[] {
  if (pattern.length > patternMaxBytes) throw syntaxError(pattern);
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; ) {
    const char = pattern[at];
    if (char === "*" && form.hasGlobstar && pattern[at + 1] === "*") {
      at += pattern[at + 2] === "/" ? 3 : 2;
      if (at >= pattern.length) tokens.push({ kind: "rest" });
      else tokens.push({ kind: "folders" }, { kind: "inside" });
    } else if (char === "*") {
      if (tokens.at(-1)?.kind !== "star") tokens.push({ kind: "star" });
      at += 1;
    } else if (char === "?") {
      tokens.push({ kind: "any" });
      at += 1;
    } else if (char === "[") at = parseClass(pattern, { at: at + 1, tokens });
    else {
      if (char === "\\") at += 1;
      if (at >= pattern.length) throw syntaxError(pattern);
      const rune = runeAt(pattern, at);
      tokens.push({ kind: "char", code: rune.code });
      at = rune.end;
    }
  }
  return tokens;
}

/** Reads a class from behind its `[`; gives the place behind its `]`. */
function parseClass(
  pattern: string,
  state: { readonly at: number; readonly tokens: Token[] },
): number {
  let { at } = state;
  const isNegated = pattern[at] === "^";
  if (isNegated) at += 1;
  const ranges: [number, number][] = [];
  for (;;) {
    if (pattern[at] === "]" && ranges.length > 0) break;
    const low = classRune(pattern, at);
    at = low.end;
    let high = low.code;
    if (pattern[at] === "-") {
      const end = classRune(pattern, at + 1);
      high = end.code;
      at = end.end;
    }
    ranges.push([low.code, high]);
  }
  state.tokens.push({ kind: "class", isNegated, ranges });
  return at + 1;
}

function classRune(pattern: string, from: number): Rune {
  let at = from;
  if (pattern[at] === "-" || pattern[at] === "]") throw syntaxError(pattern);
  if (pattern[at] === "\\") at += 1;
  if (at >= pattern.length) throw syntaxError(pattern);
  const rune = runeAt(pattern, at);
  if (rune.end >= pattern.length) throw syntaxError(pattern);
  return rune;
}

interface Rune {
  readonly code: number;
  /** Where the next one begins. */
  readonly end: number;
}

/** The UTF-8 character at a place of a byte string; a byte that begins none counts alone. */
function runeAt(bytes: string, at: number): Rune {
  const first = bytes.charCodeAt(at);
  if (first < 0xc2 || first > 0xf4) return { code: first, end: at + 1 };
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  let code = first & (0xff >> (length + 1));
  for (let index = 1; index < length; index += 1) {
    const next = bytes.charCodeAt(at + index);
    // Also at the end, where it is no number.
    if ((next & 0xc0) !== 0x80) return { code: first, end: at + 1 };
    code = (code << 6) | (next & 0x3f);
  }
  return { code, end: at + length };
}

/** Runs all ways through a pattern side by side. */
function runTokens(tokens: readonly Token[], name: string): boolean {
  let current: boolean[] = [];
  enter(tokens, current, 0);
  for (let at = 0; at < name.length; ) {
    const { code, end } = runeAt(name, at);
    const next: boolean[] = [];
    for (const [index, token] of tokens.entries()) {
      if (current[index] === true) step(tokens, next, { token, index, code });
    }
    if (next.length === 0) return false;
    current = next;
    at = end;
  }
  return current[tokens.length] === true;
}

/** Marks a place, and all that can be reached from it without a character. */
function enter(tokens: readonly Token[], places: boolean[], from: number): void {
  for (let at = from; places[at] !== true; at += 1) {
    places[at] = true;
    const kind = tokens[at]?.kind;
    if (kind === "folders") {
      places[at + 1] = true;
      at += 1;
    } else if (kind !== "star" && kind !== "rest") return;
  }
}

function step(
  tokens: readonly Token[],
  next: boolean[],
  at: { readonly token: Token; readonly index: number; readonly code: number },
): void {
  const { token, index, code } = at;
  const isSlash = code === 0x2f;
  switch (token.kind) {
    case "char":
      if (token.code === code) enter(tokens, next, index + 1);
      return;
    case "any":
      if (!isSlash) enter(tokens, next, index + 1);
      return;
    case "star":
      if (!isSlash) enter(tokens, next, index);
      return;
    case "rest":
      enter(tokens, next, index);
      return;
    case "folders":
      return;
    case "inside":
      next[index] = true;
      if (isSlash) enter(tokens, next, index + 1);
      return;
    case "class": {
      const isIn = token.ranges.some(([low, high]) => low <= code && code <= high);
      if (isIn !== token.isNegated) enter(tokens, next, index + 1);
    }
  }
}

function syntaxError(pattern: string): EngineError {
  return new EngineError("invalid-argument", "syntax error in pattern", {
    details: { pattern: pattern.slice(0, 256) },
  });
}
