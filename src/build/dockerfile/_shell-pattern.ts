/**
 * Patterns of `${x#pattern}` and `${x/pattern/text}`: `*` and `?`, no brackets.
 *
 * Matched by a set of states, so that no pattern takes more than its length times the value's.
 */
import { patternStepsMax } from "./limits.ts";
import { refuse } from "./refusal.ts";

/** One part of a pattern: any characters, one, or this one. */
type Part = "*" | "?" | { readonly char: string };

interface Found {
  readonly start: number;
  readonly end: number;
}

/** Removes the shortest (or longest) beginning that matches. */
export function trimPrefix(pattern: string, value: string, isGreedy: boolean): string {
  const chars = [...value];
  const found = find(parsePattern(pattern), chars, { from: 0, isAnchored: true, isGreedy });
  return found === undefined ? value : chars.slice(found.end).join("");
}

/** Removes the shortest (or longest) end that matches. */
export function trimSuffix(pattern: string, value: string, isGreedy: boolean): string {
  const chars = [...value].reverse();
  const parts = parsePattern(reversePattern(pattern), pattern);
  const found = find(parts, chars, { from: 0, isAnchored: true, isGreedy });
  return found === undefined ? value : chars.slice(found.end).reverse().join("");
}

/** Replaces the first match, or all; a match is as long as it can be. */
export function replacePattern(
  pattern: string,
  value: string,
  options: { readonly replacement: string; readonly isAll: boolean },
): string {
  const parts = parsePattern(pattern);
  const chars = [...value];
  const output: string[] = [];
  let done = 0;
  let from = 0;
  while (from <= chars.length) {
    const found = find(parts, chars, { from, isAnchored: false, isGreedy: true });
    if (found === undefined) break;
    const touchesLast = found.end === done && found.start > 0 && found.start === found.end;
    output.push(chars.slice(done, found.start).join(""));
    if (!touchesLast) output.push(options.replacement);
    done = found.end;
    if (!options.isAll) break;
    from = found.end > from ? found.end : from + 1;
  }
  output.push(chars.slice(done).join(""));
  return output.join("");
}

function parsePattern(pattern: string, shown: string = pattern): readonly Part[] {
  const parts: Part[] = [];
  const chars = [...pattern];
  for (let index = 0; index < chars.length; index += 1) {
    const char = chars[index] ?? "";
    if (char === "*" || char === "?") {
      if (char === "?" || parts.at(-1) !== "*") parts.push(char);
      continue;
    }
    if (char !== "\\") {
      parts.push({ char });
      continue;
    }
    index += 1;
    const escaped = chars[index] ?? "\ufffd";
    if (!["}", "/", "*", "?", "\\"].includes(escaped)) {
      throw refuse(`invalid pattern (${shown}) in substitution: invalid escape '\\${escaped}'`);
    }
    parts.push({ char: escaped });
  }
  return parts;
}

/** Turns a pattern around and leaves each escape before what it escapes. */
function reversePattern(pattern: string): string {
  const units: string[] = [];
  const chars = [...pattern];
  for (let index = 0; index < chars.length; index += 1) {
    const char = chars[index] ?? "";
    if (char === "\\" && index < chars.length - 1) {
      units.push(char + (chars[index + 1] ?? ""));
      index += 1;
    } else {
      units.push(char);
    }
  }
  return units.reverse().join("");
}

/**
 * Finds the leftmost match from `from`, as short or as long as it can be.
 *
 * A state is how many parts have matched; with it goes the leftmost start that leads there.
 */
function find(
  parts: readonly Part[],
  chars: readonly string[],
  options: { readonly from: number; readonly isAnchored: boolean; readonly isGreedy: boolean },
): Found | undefined {
  if ((parts.length + 1) * (chars.length - options.from + 1) > patternStepsMax) {
    throw refuse("pattern and value are too long to be matched in substitution");
  }
  let states = new Map<number, number>();
  let best: Found | undefined;
  for (let at = options.from; ; at += 1) {
    const mayStart = best === undefined && (at === options.from || !options.isAnchored);
    if (mayStart) enter(states, parts, { state: 0, start: at });
    const accepted = states.get(parts.length);
    if (accepted !== undefined && (best === undefined || accepted <= best.start)) {
      best = { start: accepted, end: at };
      if (!options.isGreedy) return best;
    }
    if (at >= chars.length || (states.size === 0 && (best !== undefined || options.isAnchored))) {
      return best;
    }
    states = step(states, parts, { char: chars[at] ?? "", startMax: best?.start });
  }
}

function step(
  states: ReadonlyMap<number, number>,
  parts: readonly Part[],
  input: { readonly char: string; readonly startMax: number | undefined },
): Map<number, number> {
  const next = new Map<number, number>();
  for (const [state, start] of states) {
    if (input.startMax !== undefined && start > input.startMax) continue;
    const part = parts[state];
    // Docker: neither wildcard matches a line's end, seen in 28.5.
    if (part === "*" && input.char !== "\n") enter(next, parts, { state, start });
    const isOne = part === "?" && input.char !== "\n";
    const isSame = typeof part === "object" && part.char === input.char;
    if (isOne || isSame) enter(next, parts, { state: state + 1, start });
  }
  return next;
}

function enter(
  states: Map<number, number>,
  parts: readonly Part[],
  thread: { readonly state: number; readonly start: number },
): void {
  let state = thread.state;
  for (;;) {
    const known = states.get(state);
    if (known === undefined || known > thread.start) states.set(state, thread.start);
    if (parts[state] !== "*") return;
    state += 1;
  }
}
