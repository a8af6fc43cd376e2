/**
 * Regular expressions that others write: matched in time linear in the text, however they are made.
 *
 * The subset of RE2 that filters are written in: characters, `.`, classes with ranges and `\d \w \s`
 * and their opposites, groups, `|`, `* + ? {m,n}`, `^ $`. Thompson's construction; no backtracking.
 */
import { EngineError } from "../../lib/errors.ts";

/** Longest pattern. */
export const patternMaxLength = 1000;
const repeatMax = 100;
const nodeCountMax = 20_000;

type Test = (character: string) => boolean;

/** One state: a test to pass, an anchor, a fork, or the end. */
type Node =
  | { readonly kind: "test"; readonly test: Test; next: number }
  | { readonly kind: "start" | "end"; next: number }
  | { readonly kind: "fork"; next: number; other: number }
  | { readonly kind: "match" };

/** A tree, from which the states are made. */
type Tree =
  | { readonly kind: "test"; readonly test: Test }
  | { readonly kind: "start" | "end" }
  | { readonly kind: "sequence" | "choice"; readonly parts: readonly Tree[] }
  | { readonly kind: "repeat"; readonly part: Tree; readonly min: number; readonly max: number };

/** A pattern, ready to be asked. */
export interface Pattern {
  /** Whether it matches anywhere in the text. */
  matches(text: string): boolean;
}

/** Reads a pattern; undefined when it is none. */
export function findPattern(source: string): Pattern | undefined {
  try {
    return parsePattern(source);
  } catch (error) {
    if (error instanceof EngineError && error.kind === "invalid-argument") return undefined;
    throw error;
  }
}

/** Reads a pattern. @throws invalid-argument */
export function parsePattern(source: string): Pattern {
  if (source.length > patternMaxLength) throw refused(source.slice(0, 20), "too long");
  const tree = new PatternReader(source).read();
  const nodes: Node[] = [];
  const match = add(nodes, { kind: "match" });
  const start = build(nodes, tree, match);
  return { matches: (text) => run(nodes, start, text) };
}

function run(nodes: readonly Node[], start: number, text: string): boolean {
  let current = new Set<number>();
  const characters = [...text];
  for (let index = 0; index <= characters.length; index += 1) {
    const place = { isStart: index === 0, isEnd: index === characters.length };
    const closed = new Set<number>();
    for (const node of [...current, start]) follow(nodes, { node, closed, place });
    const next = new Set<number>();
    for (const index_ of closed) {
      const node = nodes[index_];
      if (node?.kind === "match") return true;
      const character = characters[index];
      if (node?.kind === "test" && character !== undefined && node.test(character)) {
        next.add(node.next);
      }
    }
    current = next;
  }
  return false;
}

/** Adds all states that are reached without a character. */
function follow(
  nodes: readonly Node[],
  from: {
    readonly node: number;
    readonly closed: Set<number>;
    readonly place: { readonly isStart: boolean; readonly isEnd: boolean };
  },
): void {
  const pending = [from.node];
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    if (from.closed.has(index)) continue;
    from.closed.add(index);
    const node = nodes[index];
    if (node?.kind === "fork") pending.push(node.next, node.other);
    if (node?.kind === "start" && from.place.isStart) pending.push(node.next);
    if (node?.kind === "end" && from.place.isEnd) pending.push(node.next);
  }
}

function add(nodes: Node[], node: Node): number {
  if (nodes.length >= nodeCountMax) throw refused("", "expression is too large");
  return nodes.push(node) - 1;
}

/** Makes the states of a tree that go on to `next`; returns the first. */
function build(nodes: Node[], tree: Tree, next: number): number {
  switch (tree.kind) {
    case "test":
      return add(nodes, { kind: "test", test: tree.test, next });
    case "start":
    case "end":
      return add(nodes, { kind: tree.kind, next });
    case "sequence":
      return tree.parts.reduceRight((after, part) => build(nodes, part, after), next);
    case "choice":
      return tree.parts
        .map((part) => build(nodes, part, next))
        .reduceRight((other, first) => add(nodes, { kind: "fork", next: first, other }));
    case "repeat":
      return buildRepeat(nodes, tree, next);
  }
}

function buildRepeat(nodes: Node[], tree: Extract<Tree, { kind: "repeat" }>, next: number): number {
  const { part, min, max } = tree;
  let start = next;
  if (max === Number.POSITIVE_INFINITY) {
    const fork: Node = { kind: "fork", next, other: next };
    start = add(nodes, fork);
    fork.other = build(nodes, part, start);
  } else {
    for (let count = min; count < max; count += 1) {
      start = add(nodes, { kind: "fork", next, other: build(nodes, part, start) });
    }
  }
  for (let count = 0; count < min; count += 1) start = build(nodes, part, start);
  return start;
}

class PatternReader {
  readonly #characters: readonly string[];
  readonly #source: string;
  #index = 0;

  constructor(source: string) {
    this.#source = source;
    this.#characters = [...source];
  }

  read(): Tree {
    const tree = this.#choice();
    if (this.#peek() !== undefined) throw this.#refused("unexpected )");
    return tree;
  }

  #peek(): string | undefined {
    return this.#characters[this.#index];
  }

  #take(): string {
    const character = this.#characters[this.#index];
    if (character === undefined) throw this.#refused("missing end");
    this.#index += 1;
    return character;
  }

  #isNext(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#index += 1;
    return true;
  }

  #choice(): Tree {
    const parts = [this.#sequence()];
    while (this.#isNext("|")) parts.push(this.#sequence());
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : { kind: "choice", parts };
  }

  #sequence(): Tree {
    const parts: Tree[] = [];
    for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
      if (next === "|" || next === ")") break;
      parts.push(this.#repeated());
    }
    return { kind: "sequence", parts };
  }

  #repeated(): Tree {
    const part = this.#atom();
    const bounds = this.#bounds();
    if (bounds === undefined) return part;
    // Laziness changes what is matched, not whether.
    this.#isNext("?");
    if (this.#bounds() !== undefined) throw this.#refused("repeated repetition");
    return { kind: "repeat", part, ...bounds };
  }

  #bounds(): { min: number; max: number } | undefined {
    if (this.#isNext("*")) return { min: 0, max: Number.POSITIVE_INFINITY };
    if (this.#isNext("+")) return { min: 1, max: Number.POSITIVE_INFINITY };
    if (this.#isNext("?")) return { min: 0, max: 1 };
    const rest = this.#characters.slice(this.#index, this.#index + 10).join("");
    const found = /^\{(\d{1,3})(,(\d{0,3}))?\}/.exec(rest);
    if (found === null) return undefined;
    this.#index += found[0].length;
    const min = Number(found[1]);
    const open = found[3] === "" ? Number.POSITIVE_INFINITY : Number(found[3]);
    const max = found[2] === undefined ? min : open;
    if (min > repeatMax || max < min || (Number.isFinite(max) && max > repeatMax)) {
      throw this.#refused("bad repetition");
    }
    return { min, max };
  }

  #atom(): Tree {
    const character = this.#take();
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return { kind: "test", test: this.#class() };
      case ".":
        return { kind: "test", test: (one) => one !== "\n" };
      case "^":
        return { kind: "start" };
      case "$":
        return { kind: "end" };
      case "\\":
        return { kind: "test", test: this.#escape() };
      case "*":
      case "+":
      case "?":
        throw this.#refused("missing argument to repetition operator");
      default:
        return { kind: "test", test: (one) => one === character };
    }
  }

  #group(): Tree {
    if (this.#isNext("?") && !this.#isNext(":")) throw this.#refused("group flags");
    const tree = this.#choice();
    if (!this.#isNext(")")) throw this.#refused("missing closing )");
    return tree;
  }

  #escape(): Test {
    const character = this.#take();
    const known = classOf(character);
    if (known !== undefined) return known;
    if (/[A-Za-z0-9]/.test(character)) {
      const plain = { n: "\n", t: "\t", r: "\r" }[character];
      if (plain === undefined) throw this.#refused(`escape \\${character}`);
      return (one) => one === plain;
    }
    return (one) => one === character;
  }

  #class(): Test {
    const isNegated = this.#isNext("^");
    const tests: Test[] = [];
    for (let isFirst = true; isFirst || this.#peek() !== "]"; isFirst = false) {
      tests.push(this.#classMember());
    }
    this.#take();
    return (one) => tests.some((test) => test(one)) !== isNegated;
  }

  #classMember(): Test {
    const first = this.#take();
    if (first === "\\") return this.#escape();
    const isRange = this.#peek() === "-" && this.#characters[this.#index + 1] !== "]";
    if (!isRange) return (one) => one === first;
    this.#take();
    const taken = this.#take();
    const last = taken === "\\" ? this.#take() : taken;
    if (last < first) throw this.#refused("bad range");
    return (one) => one >= first && one <= last;
  }

  #refused(problem: string): EngineError {
    return refused(this.#source, problem);
  }
}

function classOf(letter: string): Test | undefined {
  const classes: Readonly<Record<string, RegExp>> = {
    d: /^[0-9]$/,
    D: /^[^0-9]$/s,
    w: /^[0-9A-Za-z_]$/,
    W: /^[^0-9A-Za-z_]$/s,
    s: /^[\t\n\f\r ]$/,
    S: /^[^\t\n\f\r ]$/s,
  };
  const known = classes[letter];
  return known === undefined ? undefined : (one) => known.test(one);
}

function refused(source: string, problem: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `error parsing regexp: ${problem}: ${JSON.stringify(source)}`,
  );
}
