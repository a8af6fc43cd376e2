/** How Go's fmt prints values: histories of images are written that way. */
import { formatDuration } from "../../lib/time.ts";

const escapes: Readonly<Record<string, string>> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
};
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** `%v` of a list of strings. */
export function goList(texts: readonly string[]): string {
  return `[${texts.join(" ")}]`;
}

/** `%q` of a list of strings. */
export function goQuotedList(texts: readonly string[]): string {
  return `[${texts.map(goQuoted).join(" ")}]`;
}

/** `%q` of a string. */
export function goQuoted(text: string): string {
  return `"${escaped(text, '"')}"`;
}

/** `%q` of a number: the character of that code. */
export function goRune(code: number): string {
  const isCharacter = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  return `'${escaped(isCharacter ? String.fromCodePoint(code) : "\ufffd", "'")}'`;
}

/** `%v` of a duration. */
export function goDuration(ns: number): string {
  return formatDuration(ns);
}

function escaped(text: string, quote: string): string {
  return Array.from(text, (character) => {
    if (character === quote) return `\\${quote}`;
    const known = escapes[character];
    if (known !== undefined) return known;
    if (printable.test(character)) return character;
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x80) return `\\x${hex(code, 2)}`;
    return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
  }).join("");
}

function hex(code: number, width: number): string {
  return code.toString(16).padStart(width, "0");
}
