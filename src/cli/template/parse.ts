/** Reads a template into its tree. */
import { assert } from "../../lib/assert.ts";
import type { Command, Node, Operand, Pipeline } from "./syntax.ts";
import { templateFault } from "./syntax.ts";
import { unquote } from "./unquote.ts";
import { cut, type Piece, placeOf, type Token } from "./tokens.ts";

/** Deepest nesting of blocks and parentheses. */
const depthMax = 100;
const keywords = new Set(["if", "else", "end", "range", "with", "break", "continue"]);
const unsupported = new Set(["define", "block", "template"]);

/**
 * Reads `source`.
 *
 * @param functions names that may be called
 * @throws invalid-argument with Go's sentence
 */
export function parseTemplate(source: string, functions: ReadonlySet<string>): readonly Node[] {
  const reader = new Reader(source, functions);
  const { nodes, end } = reader.block({ depth: 0, isLoop: false });
  if (end !== undefined) {
    throw templateFault(reader.line(end.start), `unexpected {{${end.word}}}`);
  }
  return nodes;
}

interface BlockEnd {
  readonly word: "else" | "end";
  readonly start: number;
  readonly rest: readonly Token[];
}

interface BlockContext {
  readonly depth: number;
  readonly isLoop: boolean;
}

class Reader {
  readonly #source: string;
  readonly #pieces: readonly Piece[];
  readonly #functions: ReadonlySet<string>;
  #at = 0;
  #variables: string[] = ["$"];

  constructor(source: string, functions: ReadonlySet<string>) {
    this.#source = source;
    this.#pieces = cut(source);
    this.#functions = functions;
  }

  line(offset: number): number {
    return placeOf(this.#source, offset).line;
  }

  block(context: BlockContext): { readonly nodes: readonly Node[]; readonly end?: BlockEnd } {
    if (context.depth > depthMax) throw templateFault(1, "exceeded maximum depth");
    const nodes: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#at];
      this.#at += 1;
      if (piece === undefined) return { nodes };
      if (piece.kind === "text") {
        nodes.push(piece);
        continue;
      }
      const [first, ...rest] = trimmed(piece.tokens);
      const word = first?.kind === "identifier" ? first.text : "";
      if (unsupported.has(word)) {
        throw templateFault(this.line(piece.start), `{{${word}}} is not there yet`);
      }
      if (!keywords.has(word)) {
        nodes.push({
          kind: "action",
          pipeline: this.#pipeline(piece.tokens, piece.start, "command"),
        });
      } else if (word === "end" || word === "else") {
        if (word === "end" && trimmed(rest).length > 0) {
          throw templateFault(this.line(piece.start), `unexpected ${describe(rest[0])} in end`);
        }
        return { nodes, end: { word, start: piece.start, rest } };
      } else if (word === "break" || word === "continue") {
        if (!context.isLoop) {
          throw templateFault(this.line(piece.start), `{{${word}}} outside {{range}}`);
        }
        nodes.push({ kind: word });
      } else {
        assert(word === "if" || word === "range" || word === "with", "a block's keyword");
        nodes.push(this.#control(word, { tokens: rest, start: piece.start, context }));
      }
    }
  }

  #control(
    kind: "if" | "range" | "with",
    input: {
      readonly tokens: readonly Token[];
      readonly start: number;
      readonly context: BlockContext;
    },
  ): Node {
    const { tokens, start, context } = input;
    const known = this.#variables.length;
    const pipeline = this.#pipeline(tokens, start, kind);
    const inner = { depth: context.depth + 1, isLoop: context.isLoop || kind === "range" };
    const body = this.block(inner);
    let otherwise: readonly Node[] = [];
    let end = body.end;
    if (end?.word === "else") {
      const [next, ...rest] = trimmed(end.rest);
      const chained = next?.text === "if" || next?.text === "with" ? next.text : undefined;
      if (chained !== undefined && kind !== "range") {
        const nested = { tokens: rest, start: end.start, context: inner };
        otherwise = [this.#control(chained, nested)];
        this.#variables.length = known;
        return { kind, pipeline, body: body.nodes, otherwise };
      }
      if (next !== undefined) {
        throw templateFault(this.line(end.start), `unexpected ${describe(next)} in else`);
      }
      const second = this.block({ ...inner, isLoop: context.isLoop });
      otherwise = second.nodes;
      end = second.end;
      if (end?.word === "else")
        throw templateFault(this.line(end.start), "expected end; found {{else}}");
    }
    if (end === undefined) throw templateFault(this.line(this.#source.length), "unexpected EOF");
    this.#variables.length = known;
    return { kind, pipeline, body: body.nodes, otherwise };
  }

  #pipeline(tokens: readonly Token[], start: number, what: string): Pipeline {
    const line = this.line(start);
    const list = trimmed(tokens);
    const { variables, isAssignment, rest } = this.#declaration(list, { line, what });
    const commands: Command[] = [];
    for (const part of splitAt(rest, "|")) {
      const words = trimmed(part);
      if (words.length === 0) {
        throw templateFault(
          line,
          commands.length === 0 ? `missing value for ${what}` : "missing value for command",
        );
      }
      commands.push(this.#command(words, { line, isFirst: commands.length === 0 }));
    }
    if (!isAssignment) this.#variables.push(...variables);
    return { variables, isAssignment, commands };
  }

  #declaration(
    tokens: readonly Token[],
    input: { readonly line: number; readonly what: string },
  ): { variables: readonly string[]; isAssignment: boolean; rest: readonly Token[] } {
    const none = { variables: [], isAssignment: false, rest: tokens };
    const bare = tokens.filter((token) => token.kind !== "space");
    if (bare[0]?.kind !== "variable") return none;
    let count = 1;
    if (bare[1]?.text === "," && bare[2]?.kind === "variable") count = 3;
    const operator = bare[count]?.text;
    if (operator !== ":=" && operator !== "=") return none;
    if (count === 3 && input.what !== "range") {
      throw templateFault(input.line, `too many declarations in ${input.what}`);
    }
    const variables = bare
      .slice(0, count)
      .filter((token) => token.kind === "variable")
      .map((token) => token.text);
    if (operator === "=") {
      for (const name of variables) this.#requireVariable(name, input.line);
    }
    const operatorAt = tokens.findIndex((token) => token.text === operator);
    return { variables, isAssignment: operator === "=", rest: tokens.slice(operatorAt + 1) };
  }

  #command(
    tokens: readonly Token[],
    input: { readonly line: number; readonly isFirst: boolean },
  ): Command {
    const operands: Operand[] = [];
    let at = 0;
    while (at < tokens.length) {
      if (tokens[at]?.kind === "space") {
        at += 1;
        continue;
      }
      const taken = this.#operand(tokens, at, input.line);
      operands.push(taken.operand);
      at = taken.next;
      const after = tokens[at];
      if (after !== undefined && after.kind !== "space") {
        throw templateFault(input.line, `unexpected ${describe(after)} in operand`);
      }
    }
    const [first] = operands;
    assert(first !== undefined, "a command has an operand");
    if (
      !input.isFirst &&
      first.kind !== "function" &&
      first.kind !== "field" &&
      first.kind !== "variable" &&
      first.kind !== "group"
    ) {
      const shown = first.kind === "literal" ? first.text : first.kind === "nil" ? "nil" : ".";
      throw templateFault(input.line, `non executable command in pipeline stage 2: ${shown}`);
    }
    const start = tokens[0]?.start ?? 0;
    const last = tokens.at(-1);
    const end = last === undefined ? start : last.start + last.text.length;
    return {
      operands,
      place: placeOf(this.#source, start),
      text: this.#source.slice(start, end).trim(),
    };
  }

  #operand(
    tokens: readonly Token[],
    at: number,
    line: number,
  ): { readonly operand: Operand; readonly next: number } {
    const token = tokens[at];
    assert(token !== undefined, "an operand begins with a token");
    if (token.text === "(") return this.#group(tokens, at, line);
    if (token.kind === "field" || token.kind === "variable") {
      const own = token.kind === "field" ? [token.text.slice(1)] : [];
      const chain = fieldsFrom(tokens, at + 1);
      const names = [...own, ...chain.names];
      const second = chain.names.length > 0 ? (tokens[at + 1]?.start ?? token.start) : token.start;
      const place = placeOf(this.#source, second);
      if (token.kind === "field")
        return { operand: { kind: "field", names, place }, next: chain.next };
      this.#requireVariable(token.text, line);
      return { operand: { kind: "variable", name: token.text, names, place }, next: chain.next };
    }
    return { operand: this.#atom(token, line), next: at + 1 };
  }

  #atom(token: Token, line: number): Operand {
    const { kind, text } = token;
    if (text === ".") return { kind: "dot" };
    if (kind === "number")
      return { kind: "literal", value: Number(text.replaceAll("_", "")), text };
    if (kind === "string" || kind === "char") {
      const value = unquote(text);
      if (value === undefined) throw templateFault(line, "invalid syntax");
      return { kind: "literal", value: kind === "char" ? value.codePointAt(0) : value, text };
    }
    if (text === "true" || text === "false")
      return { kind: "literal", value: text === "true", text };
    if (text === "nil") return { kind: "nil" };
    if (kind === "identifier" && !keywords.has(text)) {
      if (!this.#functions.has(text))
        throw templateFault(line, `function ${JSON.stringify(text)} not defined`);
      return { kind: "function", name: text, place: placeOf(this.#source, token.start) };
    }
    throw templateFault(line, `unexpected ${describe(token)} in operand`);
  }

  #group(
    tokens: readonly Token[],
    at: number,
    line: number,
  ): { readonly operand: Operand; readonly next: number } {
    let depth = 0;
    let close = at;
    for (; close < tokens.length; close += 1) {
      if (tokens[close]?.text === "(") depth += 1;
      if (tokens[close]?.text === ")") depth -= 1;
      if (depth > depthMax) throw templateFault(line, "exceeded maximum depth");
      if (depth === 0) break;
    }
    if (depth !== 0) throw templateFault(line, "unclosed left paren");
    const start = tokens[at]?.start ?? 0;
    const pipeline = this.#pipeline(tokens.slice(at + 1, close), start, "parenthesized pipeline");
    const chain = fieldsFrom(tokens, close + 1);
    const place = placeOf(this.#source, start + 1);
    return { operand: { kind: "group", pipeline, names: chain.names, place }, next: chain.next };
  }

  #requireVariable(name: string, line: number): void {
    if (!this.#variables.includes(name))
      throw templateFault(line, `undefined variable ${JSON.stringify(name)}`);
  }
}

function fieldsFrom(
  tokens: readonly Token[],
  at: number,
): { readonly names: readonly string[]; readonly next: number } {
  const names: string[] = [];
  let next = at;
  for (let token = tokens[next]; token?.kind === "field"; token = tokens[next]) {
    names.push(token.text.slice(1));
    next += 1;
  }
  return { names, next };
}

function splitAt(tokens: readonly Token[], symbol: string): readonly (readonly Token[])[] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (token.text === "(") depth += 1;
    if (token.text === ")") depth -= 1;
    if (depth === 0 && token.kind === "symbol" && token.text === symbol) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts;
}

function trimmed(tokens: readonly Token[]): readonly Token[] {
  const first = tokens.findIndex((token) => token.kind !== "space");
  const last = tokens.findLastIndex((token) => token.kind !== "space");
  return first < 0 ? [] : tokens.slice(first, last + 1);
}

function describe(token: Token | undefined): string {
  return token === undefined ? "EOF" : `${JSON.stringify(token.text)}`;
}
