/**
 * Patterns of .dockerignore: which paths of a folder a build does not see.
 *
 * A pattern is a path below the folder's root, with `*` and `?` inside of one name, `[a-z]`, `**` for
 * any number of names, and `\` before a character that means itself. A path is ignored when the last
 * pattern that matches it, or a folder it is in, has no `!`.
 *
 * @see moby/patternmatcher
 */
import { EngineError } from "../errors.ts";

/** Largest file of patterns that is read. */
const textCharsMax = 1024 * 1024;
const patternsMax = 10_000;
const patternCharsMax = 10_000;
/** Steps of matching one pattern with one path. */
const stepsMax = 10_000_000;
/** Folders whose matches are remembered. */
const rememberedMax = 10_000;

/** Decides on paths. They are relative, with `/`, without `.` and `..`. */
export interface IgnoreMatcher {
  /** Whether there is a pattern with `!`: something below an ignored folder may be wanted. */
  readonly hasExceptions: boolean;
  /** The patterns, cleaned, as they are applied. */
  readonly patterns: readonly string[];
  isIgnored(path: string): boolean;
  /** Whether a folder is ignored with all that is or could be in it: no need to look inside. */
  isIgnoredWhole(folder: string): boolean;
}

/**
 * Reads the patterns of an ignore file: one in a line, `#` in the first column for comments; spaces
 * around, `.` and a slash at either end make no difference.
 *
 * @throws invalid-argument for more than the limits
 */
export function parseIgnore(text: string): readonly string[] {
  if (text.length > textCharsMax) {
    throw refuse(`ignore file of ${text.length} characters: at most ${textCharsMax} are read`);
  }
  const patterns: string[] = [];
  for (const line of text.replace(/^\ufeff/, "").split("\n")) {
    if (line.startsWith("#")) continue;
    const trimmed = line.trim();
    if (trimmed === "") continue;
    const isException = trimmed.startsWith("!");
    const pattern = isException ? trimmed.slice(1).trim() : trimmed;
    const path = pattern === "" ? "" : cleanPath(pattern);
    const relative = path.length > 1 && path.startsWith("/") ? path.slice(1) : path;
    patterns.push(isException ? `!${relative}` : relative);
  }
  return patterns;
}

/**
 * Makes a matcher of patterns.
 *
 * @throws invalid-argument for a pattern that is none, as `[` without its end
 */
export function createMatcher(patterns: readonly string[]): IgnoreMatcher {
  if (patterns.length > patternsMax) {
    throw refuse(`${patterns.length} ignore patterns: at most ${patternsMax} are read`);
  }
  const rules = patterns.filter((each) => each.trim() !== "").map(compile);
  const hasExceptions = rules.some((rule) => rule.isException);
  const remembered = new Map<string, readonly boolean[]>();
  const isIgnored = (path: string): boolean => decide(rules, { path, remembered });
  return {
    hasExceptions,
    patterns: rules.map(({ isException, text }) => (isException ? `!${text}` : text)),
    isIgnored,
    isIgnoredWhole: (folder) =>
      isIgnored(folder) && !rules.some((rule) => rule.isException && mayMatchBelow(rule, folder)),
  };
}

/** Tells whether patterns ignore a path; for many paths, make a matcher once. */
export function matchIgnore(patterns: readonly string[], path: string): boolean {
  return createMatcher(patterns).isIgnored(path);
}

/** A part of a pattern: any text, any text in one name, names up to a slash, one of a class, a character. */
type Part =
  | "**"
  | "**/"
  | "*"
  | "?"
  | { readonly char: string }
  | { readonly isNegated: boolean; readonly ranges: readonly (readonly [string, string])[] };

interface Rule {
  readonly text: string;
  readonly isException: boolean;
  /** What the path is, for a pattern without wildcards. */
  readonly exact: string | undefined;
  /** What the path ends with, for `**` and then no wildcards. */
  readonly suffix: string | undefined;
  readonly parts: readonly Part[];
  /** The folder that all matches are in, as far as it has no wildcards: "a/b/". */
  readonly prefix: string;
}

/** For each rule, whether it matches a folder or one that the folder is in. */
type Remembered = Map<string, readonly boolean[]>;

function decide(
  rules: readonly Rule[],
  { path, remembered }: { readonly path: string; readonly remembered: Remembered },
): boolean {
  const cleaned = cleanPath(path);
  if (cleaned === "." || cleaned === "/") return false;
  const above = matchFolder(rules, { folder: folderOf(cleaned), remembered });
  let isIgnored = false;
  for (const [index, rule] of rules.entries()) {
    // A rule that would change nothing need not be looked at.
    if (rule.isException !== isIgnored) continue;
    if (above[index] === true || matches(rule, cleaned)) isIgnored = !rule.isException;
  }
  return isIgnored;
}

function matchFolder(
  rules: readonly Rule[],
  { folder, remembered }: { readonly folder: string; readonly remembered: Remembered },
): readonly boolean[] {
  if (folder === "") return [];
  const known = remembered.get(folder);
  if (known !== undefined) return known;
  const above = matchFolder(rules, { folder: folderOf(folder), remembered });
  const matched = rules.map((rule, index) => above[index] === true || matches(rule, folder));
  if (remembered.size >= rememberedMax) remembered.clear();
  remembered.set(folder, matched);
  return matched;
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** Whether a rule could match something inside a folder; true when that is not certain. */
function mayMatchBelow(rule: Rule, folder: string): boolean {
  const inside = `${cleanPath(folder)}/`;
  if (rule.exact !== undefined) return rule.exact.startsWith(inside);
  return rule.prefix.startsWith(inside) || inside.startsWith(rule.prefix);
}

function compile(pattern: string): Rule {
  const cleaned = cleanPath(pattern.trim());
  const isException = cleaned.startsWith("!");
  const text = isException ? cleaned.slice(1) : cleaned;
  if (text === "") throw refuse('illegal exclusion pattern: "!"');
  if (text.length > patternCharsMax) {
    throw refuse(
      `ignore pattern of ${text.length} characters: at most ${patternCharsMax} are read`,
    );
  }
  const parts = parsePattern(text);
  const isExact = !/[*?[\\]/.test(text);
  const suffix = /^\*\*([^*?[\\]+)$/.exec(text)?.[1];
  const wild = text.search(/[*?[\\]/);
  const fixed = wild < 0 ? text : text.slice(0, wild);
  return {
    text,
    isException,
    exact: isExact ? text : undefined,
    suffix,
    parts,
    prefix: fixed.slice(0, fixed.lastIndexOf("/") + 1),
  };
}

function parsePattern(text: string): readonly Part[] {
  const chars = [...text];
  const parts: Part[] = [];
  for (let at = 0; at < chars.length; at += 1) {
    const char = chars[at] ?? "";
    if (char === "*" && chars[at + 1] === "*") {
      at += chars[at + 2] === "/" ? 2 : 1;
      // At the end it is everything; elsewhere it stands for whole names.
      parts.push(at + 1 >= chars.length ? "**" : "**/");
    } else if (char === "*" || char === "?") {
      parts.push(char);
    } else if (char === "[") {
      const set = parseClass(chars, at + 1, text);
      parts.push(set.part);
      at = set.end;
    } else if (char === "\\") {
      at += 1;
      if (at >= chars.length) throw badPattern(text);
      parts.push({ char: chars[at] ?? "" });
    } else {
      parts.push({ char });
    }
  }
  return parts;
}

function parseClass(
  chars: readonly string[],
  start: number,
  text: string,
): { readonly part: Part; readonly end: number } {
  const isNegated = chars[start] === "^";
  const ranges: (readonly [string, string])[] = [];
  let at = isNegated ? start + 1 : start;
  const take = (): string => {
    let char = chars[at];
    if (char === undefined || char === "-" || (char === "]" && ranges.length === 0)) {
      throw badPattern(text);
    }
    if (char === "\\") {
      at += 1;
      char = chars[at];
      if (char === undefined) throw badPattern(text);
    }
    at += 1;
    return char;
  };
  while (ranges.length === 0 || chars[at] !== "]") {
    if (at >= chars.length) throw badPattern(text);
    const low = take();
    let high = low;
    if (chars[at] === "-") {
      at += 1;
      high = chars[at] === "]" ? badRange(text) : take();
    }
    ranges.push([low, high]);
  }
  return { part: { isNegated, ranges }, end: at };
}

function badRange(text: string): never {
  throw badPattern(text);
}

function matches(rule: Rule, path: string): boolean {
  if (rule.exact !== undefined) return rule.exact === path;
  if (rule.suffix !== undefined) {
    // `**/foo` is foo itself too.
    const isWhole = rule.suffix.startsWith("/") && path === rule.suffix.slice(1);
    return isWhole || path.endsWith(rule.suffix);
  }
  if (rule.prefix !== "" && !path.startsWith(rule.prefix)) return false;
  return matchParts(rule.parts, [...path]);
}

/** A set of states, each how many parts have matched: no pattern takes more than the product. */
function matchParts(parts: readonly Part[], chars: readonly string[]): boolean {
  if (parts.length * chars.length > stepsMax) {
    throw refuse("ignore pattern and path are too long to be matched");
  }
  let states = new Set<number>();
  enter(states, parts, 0);
  for (const char of chars) {
    const next = new Set<number>();
    for (const state of states) {
      const part = parts[state];
      if (part === undefined) continue;
      if (part === "**" || part === "**/") {
        next.add(state);
        if (part === "**") enter(next, parts, state + 1);
        else if (char === "/") enter(next, parts, state + 1);
      } else if (part === "*") {
        if (char !== "/") enter(next, parts, state);
      } else if (accepts(part, char)) {
        enter(next, parts, state + 1);
      }
    }
    if (next.size === 0) return false;
    states = next;
  }
  return states.has(parts.length);
}

/** Any of these parts may stand for nothing. */
function enter(states: Set<number>, parts: readonly Part[], start: number): void {
  for (let state = start; ; state += 1) {
    states.add(state);
    const part = parts[state];
    if (part !== "**" && part !== "**/" && part !== "*") return;
  }
}

function accepts(part: Exclude<Part, "**" | "**/" | "*">, char: string): boolean {
  if (part === "?") return char !== "/";
  if ("char" in part) return part.char === char;
  const code = char.codePointAt(0) ?? 0;
  const isInside = part.ranges.some(
    ([low, high]) => code >= (low.codePointAt(0) ?? 0) && code <= (high.codePointAt(0) ?? 0),
  );
  return isInside !== part.isNegated;
}

/** Go's path.Clean. */
function cleanPath(path: string): string {
  const isRooted = path.startsWith("/");
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") names.push(name);
    else if (names.length > 0 && names.at(-1) !== "..") names.pop();
    else if (!isRooted) names.push(name);
  }
  return isRooted ? `/${names.join("/")}` : names.join("/") || ".";
}

function badPattern(text: string): EngineError {
  return refuse(`syntax error in pattern: ${JSON.stringify(text)}`);
}

function refuse(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
