/** Cuts a template into text and the tokens of its actions. */
import { type Place, templateFault } from "./syntax.ts";

/** What a token is. */
export type TokenKind =
  | "field"
  | "variable"
  | "identifier"
  | "number"
  | "string"
  | "char"
  | "symbol"
  | "space";

/** One token of an action. */
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** Offset in the template. */
  readonly start: number;
}

/** Text, or the tokens between `{{` and `}}`. */
export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "action"; readonly tokens: readonly Token[]; readonly start: number };

const space = /[ \t\r\n]/;
const patterns: readonly (readonly [TokenKind, RegExp])[] = [
  ["space", /[ \t\r\n]+/y],
  ["string", /"(?:[^"\\\n]|\\.)*"|`[^`]*`/y],
  ["char", /'(?:[^'\\\n]|\\.)+'/y],
  [
    "number",
    /[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)/y,
  ],
  ["field", /\.[\p{L}_][\p{L}\p{N}_]*/uy],
  ["variable", /\$[\p{L}\p{N}_]*/uy],
  ["identifier", /[\p{L}_][\p{L}\p{N}_]*/uy],
  ["symbol", /:=|[=|(),.]/y],
];

/** Cuts `source`. @throws invalid-argument with Go's sentence */
export function cut(source: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimsNext = false;
  while (at <= source.length) {
    const open = source.indexOf("{{", at);
    let text = source.slice(at, open < 0 ? source.length : open);
    if (trimsNext) text = text.replace(/^[ \t\r\n]+/, "");
    if (open >= 0 && source[open + 2] === "-" && space.test(source[open + 3] ?? "")) {
      text = text.replace(/[ \t\r\n]+$/, "");
    }
    if (text !== "") pieces.push({ kind: "text", text });
    if (open < 0) break;
    const action = cutAction(source, open);
    if (action.tokens !== undefined) {
      pieces.push({ kind: "action", tokens: action.tokens, start: open });
    }
    trimsNext = action.trimsNext;
    at = action.end;
  }
  return pieces;
}

/** Where an offset is, in Go's counting. */
export function placeOf(source: string, offset: number): Place {
  const before = source.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: Buffer.byteLength(before.slice(before.lastIndexOf("\n") + 1)) };
}

interface CutAction {
  /** Undefined for a comment. */
  readonly tokens: readonly Token[] | undefined;
  readonly trimsNext: boolean;
  readonly end: number;
}

function cutAction(source: string, open: number): CutAction {
  const line = placeOf(source, open).line;
  const isTrimmed = source[open + 2] === "-" && space.test(source[open + 3] ?? "");
  let at = open + (isTrimmed ? 3 : 2);
  const comment = /[ \t\r\n]*\/\*[\s\S]*?\*\/(\s+-)?\}\}/y;
  comment.lastIndex = at;
  const match = comment.exec(source);
  if (match !== null) {
    return { tokens: undefined, trimsNext: match[1] !== undefined, end: comment.lastIndex };
  }
  const tokens: Token[] = [];
  for (;;) {
    if (source.startsWith("}}", at)) return { tokens, trimsNext: false, end: at + 2 };
    const trim = /[ \t\r\n]+-\}\}/y;
    trim.lastIndex = at;
    if (trim.test(source)) return { tokens, trimsNext: true, end: trim.lastIndex };
    if (at >= source.length) throw templateFault(line, "unclosed action");
    const token = cutToken(source, at, line);
    tokens.push(token);
    at += token.text.length;
  }
}

function cutToken(source: string, at: number, line: number): Token {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    if (text === undefined) continue;
    if (kind === "number" && /^[\p{L}_]/u.test(source.slice(at + text.length))) {
      throw templateFault(
        line,
        `bad number syntax: ${JSON.stringify(`${text}${source[at + text.length] ?? ""}`)}`,
      );
    }
    return { kind, text, start: at };
  }
  const character = source[at] ?? "";
  if (character === '"') throw templateFault(line, "unterminated quoted string");
  if (character === "`") throw templateFault(line, "unterminated raw quoted string");
  if (character === "'") throw templateFault(line, "unterminated character constant");
  const code = (source.codePointAt(at) ?? 0).toString(16).toUpperCase().padStart(4, "0");
  throw templateFault(line, `unexpected bad character U+${code} in action`);
}
