/** Values as Go prints, quotes and marshals them. */
import { isPlain } from "../../lib/terminal-text.ts";

/** A nil that knows how it prints: `<nil>`, `[]`, `map[]`, `<no value>` or nothing. */
export class GoNil {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What is not there at all. */
export const noValue: GoNil = new GoNil("<no value>");

/** A value that is an object with named members. */
export type GoRecord = Readonly<Record<string, unknown>>;

/** Tells whether `value` has named members. */
export function isRecord(value: unknown): value is GoRecord {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof GoNil)
  );
}

/** Prints as `%v` does. */
export function formatGo(value: unknown): string {
  if (value === undefined || value === null) return "<nil>";
  if (value instanceof GoNil) return value.text;
  if (typeof value === "string") return value;
  if (typeof value === "number") return formatGoNumber(value);
  if (Array.isArray(value)) return `[${value.map(formatGo).join(" ")}]`;
  if (isRecord(value)) {
    const members = Object.keys(value)
      .sort()
      .map((key) => `${key}:${formatGo(value[key])}`);
    return `map[${members.join(" ")}]`;
  }
  if (typeof value === "boolean" || typeof value === "bigint") return value.toString();
  return "<nil>";
}

/** Prints a number as Go prints an integer, or a float64 with `%v`. */
export function formatGoNumber(value: number): string {
  if (Number.isInteger(value)) return BigInt(value).toString();
  const text = String(value);
  return text.replace(/e([+-])(\d)$/, "e$10$2");
}

/** Quotes as Go's strconv.Quote: printable text stays, the rest is escaped. */
export function quoteGo(text: string): string {
  if (isPlain(text) && !text.includes('"') && !text.includes("\\")) return `"${text}"`;
  const named: Readonly<Record<string, string>> = {
    "\x07": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
  };
  const body = text.replace(/["\\]|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (character) => {
    const known = named[character];
    if (known !== undefined) return known;
    const code = character.codePointAt(0) ?? 0;
    const digits = code.toString(16);
    if (code < 0x80) return `\\x${digits.padStart(2, "0")}`;
    return code <= 0xffff ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
  });
  return `"${body}"`;
}

/** Marshals as the `json` function does: keys in the order given, big integers whole. */
export function jsonGo(value: unknown): string {
  if (value === undefined || value === null || value instanceof GoNil) return "null";
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number")
    return Number.isInteger(value) ? BigInt(value).toString() : String(value);
  if (Array.isArray(value)) return `[${value.map(jsonGo).join(",")}]`;
  if (isRecord(value)) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined && typeof member !== "function")
      .map(([key, member]) => `${JSON.stringify(key)}:${jsonGo(member)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

/** Go's truth: false, 0, "", nil and empty collections are not. */
export function isTrue(value: unknown): boolean {
  if (value === undefined || value === null || value instanceof GoNil) return false;
  if (typeof value === "boolean") return value;
  if (typeof value === "number") return value !== 0;
  if (typeof value === "bigint") return value !== 0n;
  if (typeof value === "string") return value !== "";
  if (Array.isArray(value)) return value.length > 0;
  return !isRecord(value) || Object.keys(value).length > 0;
}
