/** Parser directives: comments at the very beginning that say how a Dockerfile is read. */
import { findGoBool } from "../../lib/go-bool.ts";
import { quote, trimSpace, trimStart } from "./go-text.ts";
import { refuse } from "./refusal.ts";
import type { Directives } from "./instruction.ts";

type Check = NonNullable<Directives["check"]>;
type Name = "syntax" | "escape" | "check";

/** Lines that may be directives: three of them and a first line of `#!`, and one that ends them. */
const linesMax = 5;

/** Directives, and how many lines at the beginning hold them. */
export interface ParsedDirectives {
  readonly directives: Directives;
  readonly lineCount: number;
}

/**
 * Reads the directives; the first line that is none ends them, so that a later one is a comment.
 *
 * @throws invalid-argument for one given twice and for a value that has no meaning
 */
export function parseDirectives(lines: readonly string[]): ParsedDirectives {
  // Docker: blanks before `#` hide syntax and check, a first line of `#!` hides escape, seen in 28.5.
  const head = lines.slice(0, linesMax);
  const { found: early, lineCount } = readDirectives(head.map(trimStart));
  const { found: late } = readDirectives(head[0]?.startsWith("#!") ? head.slice(1) : head);
  const syntax = late.get("syntax");
  const check = late.get("check");
  const directives: Directives = {
    escape: early.get("escape") === "`" ? "`" : "\\",
    ...(syntax === undefined ? {} : { syntax }),
    ...(check === undefined ? {} : { check: parseCheck(firstWord(check)) }),
  };
  return { directives, lineCount };
}

function readDirectives(lines: readonly string[]): {
  readonly found: ReadonlyMap<Name, string>;
  readonly lineCount: number;
} {
  const found = new Map<Name, string>();
  for (const [index, line] of lines.entries()) {
    const directive = findDirective(line);
    if (directive === undefined) break;
    const location = { startLine: index + 1, endLine: index + 1 };
    if (found.has(directive.name)) {
      throw refuse(`only one ${directive.name} parser directive can be used`, location);
    }
    if (directive.name === "escape" && directive.value !== "\\" && directive.value !== "`") {
      throw refuse(`invalid escape token '${directive.value}' does not match \` or \\`, location);
    }
    found.set(directive.name, directive.value);
  }
  return { found, lineCount: found.size };
}

/**
 * Reads `skip=RuleA,RuleB;error=true;experimental=all`, as `# check=` and the build argument
 * BUILDKIT_DOCKERFILE_CHECK have it.
 *
 * @throws invalid-argument for an option that has no meaning
 */
export function parseCheck(text: string): Check {
  let skip: readonly string[] = [];
  let experimental: readonly string[] = [];
  let isError = false;
  if (trimSpace(text) === "") return { skip, experimental, isError };
  for (const part of trimSpace(text).split(";")) {
    const at = part.indexOf("=");
    if (at < 0) throw refused(`invalid check option ${quote(part)}`);
    const key = trimSpace(part.slice(0, at));
    const value = trimSpace(part.slice(at + 1));
    if (key === "skip") skip = splitList(value);
    else if (key === "experimental") experimental = splitList(value);
    else if (key === "error") isError = parseError(part, value);
    else throw refused(`invalid check option ${quote(key)}`);
  }
  return { skip, experimental, isError };
}

function findDirective(line: string): { readonly name: Name; readonly value: string } | undefined {
  if (!line.startsWith("#")) return undefined;
  const body = trimStart(line.slice(1));
  const name = /^([a-zA-Z][a-zA-Z0-9]*)\s*=/.exec(body.slice(0, 100));
  const lower = (name?.[1] ?? "").toLowerCase();
  const value = trimSpace(body.slice(name?.[0].length ?? 0));
  if (lower !== "syntax" && lower !== "escape" && lower !== "check") return undefined;
  return value === "" ? undefined : { name: lower, value };
}

/** Docker: what follows a blank in `# check=` is dropped, seen in 28.5. */
function firstWord(text: string): string {
  const blank = text.indexOf(" ");
  return blank < 0 ? text : text.slice(0, blank);
}

function splitList(value: string): readonly string[] {
  return value.split(",").map(trimSpace);
}

function parseError(part: string, value: string): boolean {
  const answer = findGoBool(value);
  if (answer !== undefined) return answer;
  throw refused(
    `failed to parse check option ${quote(part)}: strconv.ParseBool: parsing ${quote(value)}: invalid syntax`,
  );
}

function refused(sentence: string): Error {
  return refuse(`failed to parse check options: ${sentence}`);
}
