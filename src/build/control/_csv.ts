/** Lists in attributes: comma-separated, a part in double quotes may hold commas. */
import { findGoBool } from "../../lib/go-bool.ts";

/** Splits a line of CSV as Go's encoding/csv does for one record. */
export function splitCsv(text: string): readonly string[] {
  const parts: string[] = [];
  let part = "";
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] ?? "";
    if (isQuoted && character === '"' && text[at + 1] === '"') {
      part += '"';
      at += 1;
    } else if (character === '"' && (isQuoted || part === "")) isQuoted = !isQuoted;
    else if (character === "," && !isQuoted) {
      parts.push(part);
      part = "";
    } else part += character;
  }
  return [...parts, part];
}

/** `a=1,b=2` by key; a part without `=` has the value "". */
export function readPairs(text: string): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>();
  for (const part of text === "" ? [] : splitCsv(text)) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    pairs.set(key.trim(), equals < 0 ? "" : part.slice(equals + 1));
  }
  return pairs;
}

/** A truth value in Go's words; undefined for what is neither, and for nothing. */
export function readBool(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : findGoBool(text);
}
