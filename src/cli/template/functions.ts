/** The functions of templates: Go's own and those that Docker adds. */
import { EngineError } from "../../lib/errors.ts";
import { formatGo, formatGoNumber, GoNil, isRecord, isTrue, jsonGo, quoteGo } from "./go-value.ts";

/** A function of a template. It throws invalid-argument with the reason alone. */
export type TemplateFunction = (...values: readonly unknown[]) => unknown;

/** Longest text that padding may make. */
const padMaxLength = 1_000_000;

/** All of them, by name. `and` and `or` are here for their name: the evaluator stops them early. */
export const templateFunctions: ReadonlyMap<string, TemplateFunction> = new Map<
  string,
  TemplateFunction
>([
  ["and", (...values) => values.find((value) => !isTrue(value)) ?? values.at(-1)],
  ["or", (...values) => values.find(isTrue) ?? values.at(-1)],
  ["not", (value) => !isTrue(value)],
  ["eq", (first, ...others) => others.some((other) => same(first, other))],
  ["ne", (left, right) => !same(left, right)],
  ["lt", (left, right) => compare(left, right) < 0],
  ["le", (left, right) => compare(left, right) <= 0],
  ["gt", (left, right) => compare(left, right) > 0],
  ["ge", (left, right) => compare(left, right) >= 0],
  ["len", length],
  ["index", (value, ...keys) => keys.reduce(index, value)],
  ["slice", slice],
  ["print", (...values) => print(values)],
  ["println", (...values) => `${values.map(formatGo).join(" ")}\n`],
  ["printf", (format, ...values) => printf(text(format), values)],
  ["json", jsonGo],
  ["lower", (value) => text(value).toLowerCase()],
  ["upper", (value) => text(value).toUpperCase()],
  [
    "title",
    (value) =>
      text(value).replace(
        /(^|[^\p{L}\p{N}_'])(\p{Ll})/gu,
        (_, before: string, letter: string) => before + letter.toUpperCase(),
      ),
  ],
  ["split", (value, separator) => text(value).split(text(separator))],
  ["join", (value, separator) => list(value).map(formatGo).join(text(separator))],
  ["pad", pad],
  ["truncate", (value, count) => [...text(value)].slice(0, integer(count)).join("")],
  ["html", (...values) => escapeHtml(print(values))],
  [
    "js",
    (...values) =>
      JSON.stringify(print(values))
        .slice(1, -1)
        .replace(/[<>&='"]/g, escapeCode),
  ],
  ["urlquery", (...values) => encodeURIComponent(print(values)).replace(/%20/g, "+")],
]);

/** The failure of a function's argument. */
export function argumentFault(problem: string): EngineError {
  return new EngineError("invalid-argument", problem, { details: { isFunction: true } });
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof GoNil || value === undefined || value === null) {
    if (value instanceof GoNil && value.text === "") return "";
    throw argumentFault("wrong type for value; expected string; got nil");
  }
  if (typeof value === "number")
    throw argumentFault("wrong type for value; expected string; got int");
  throw argumentFault(`wrong type for value; expected string; got ${typeof value}`);
}

function integer(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value)) return value;
  throw argumentFault("wrong type for value; expected int");
}

function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (value instanceof GoNil || value === null || value === undefined) return [];
  throw argumentFault("wrong type for value; expected []string");
}

function same(left: unknown, right: unknown): boolean {
  const plain = (value: unknown): unknown => {
    if (value instanceof GoNil || value === undefined) return null;
    return typeof value === "bigint" ? Number(value) : value;
  };
  return plain(left) === plain(right);
}

function compare(left: unknown, right: unknown): number {
  if (isNumeric(left) && isNumeric(right)) return left < right ? -1 : Number(left > right);
  if (typeof left === "string" && typeof right === "string")
    return left < right ? -1 : Number(left > right);
  throw argumentFault("incompatible types for comparison");
}

function isNumeric(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

function length(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (isRecord(value)) return Object.keys(value).length;
  if (value instanceof GoNil && /^(\[\]|map\[\])?$/.test(value.text)) return 0;
  throw argumentFault(
    `len of type ${value instanceof GoNil || value === null ? "nil" : typeof value}`,
  );
}

function index(value: unknown, key: unknown): unknown {
  if (Array.isArray(value)) {
    if (typeof key !== "number")
      throw argumentFault(`cannot index slice/array with type ${typeof key}`);
    if (key < 0 || key >= value.length) throw argumentFault(`index out of range: ${key}`);
    return value[key];
  }
  if (isRecord(value)) {
    const name = formatGo(key);
    return Object.hasOwn(value, name) ? value[name] : new GoNil("");
  }
  if (value instanceof GoNil && value.text === "map[]") return new GoNil("");
  if (value instanceof GoNil && value.text === "[]")
    throw argumentFault(`index out of range: ${formatGo(key)}`);
  if (typeof value === "string" && typeof key === "number") {
    const byte = Buffer.from(value)[key];
    if (byte === undefined) throw argumentFault(`index out of range: ${key}`);
    return byte;
  }
  if (value === null || value === undefined || value instanceof GoNil)
    throw argumentFault("index of untyped nil");
  throw argumentFault(`can't index item of type ${typeof value}`);
}

function slice(value: unknown, from: unknown = 0, to?: unknown): unknown {
  if (typeof value !== "string" && !Array.isArray(value)) throw argumentFault("can't slice item");
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  const start = integer(from);
  const end = to === undefined ? bytes.length : integer(to);
  if (start < 0 || end > bytes.length)
    throw argumentFault(`index out of range: ${Math.max(start, end)}`);
  if (start > end) throw argumentFault(`invalid slice index: ${start} > ${end}`);
  return typeof value === "string"
    ? Buffer.from(value).toString("utf8", start, end)
    : value.slice(start, end);
}

/** Spaces stand between operands when neither is a string. */
function print(values: readonly unknown[]): string {
  let result = "";
  for (const [at, value] of values.entries()) {
    const before = values[at - 1];
    if (at > 0 && typeof value !== "string" && typeof before !== "string") result += " ";
    result += formatGo(value);
  }
  return result;
}

function pad(value: unknown, prefix: unknown, suffix: unknown): string {
  const source = text(value);
  const [before, after] = [integer(prefix), integer(suffix)];
  if (source === "") return "";
  if (before < 0 || after < 0 || before + after > padMaxLength)
    throw argumentFault("padding is out of range");
  return " ".repeat(before) + source + " ".repeat(after);
}

/** @see Go, package fmt: the verbs v s q d x X t f e g c U b o and %% with flags and width */
function printf(format: string, values: readonly unknown[]): string {
  let next = 0;
  const result = format.replace(
    /%([-+# 0]*)(\d{1,4})?(?:\.(\d{1,3}))?([a-zA-Z%])|%$/g,
    (
      whole,
      flags: string,
      width: string | undefined,
      precision: string | undefined,
      verb: string,
    ) => {
      if (verb === "%") return "%";
      if (verb === undefined) return "%!(NOVERB)";
      if (next >= values.length) return `%!${verb}(MISSING)`;
      const value = values[next];
      next += 1;
      return padded(formatVerb({ verb, value, flags, precision, whole }), { flags, width });
    },
  );
  if (next >= values.length) return result;
  const extra = values.slice(next).map((value) => `${typeName(value)}=${formatGo(value)}`);
  return `${result}%!(EXTRA ${extra.join(", ")})`;
}

interface Verb {
  readonly verb: string;
  readonly value: unknown;
  readonly flags: string;
  readonly precision: string | undefined;
  readonly whole: string;
}

function formatVerb({ verb, value, flags, precision }: Verb): string {
  const digits = precision === undefined ? undefined : Number(precision);
  const isInteger =
    typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
  const sign = (shown: string): string =>
    flags.includes("+") && !shown.startsWith("-") ? `+${shown}` : shown;
  const bad = `%!${verb}(${typeName(value)}=${formatGo(value)})`;
  switch (verb) {
    case "v":
      return formatGo(value);
    case "s": {
      if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean")
        return bad;
      return digits === undefined
        ? formatGo(value)
        : [...formatGo(value)].slice(0, digits).join("");
    }
    case "q":
      return Array.isArray(value)
        ? `[${value.map((one) => quoteGo(formatGo(one))).join(" ")}]`
        : quoteGo(formatGo(value));
    case "d":
      return isInteger ? sign(value.toString()) : bad;
    case "x":
    case "X": {
      const hex = isInteger
        ? value.toString(16)
        : typeof value === "string"
          ? Buffer.from(value).toString("hex")
          : undefined;
      if (hex === undefined) return bad;
      return verb === "X" ? hex.toUpperCase() : hex;
    }
    case "t":
      return typeof value === "boolean" ? String(value) : bad;
    case "f":
      return typeof value === "number" ? sign(value.toFixed(digits ?? 6)) : bad;
    case "g":
      return typeof value === "number" ? sign(formatGoNumber(value)) : bad;
    case "b":
    case "o":
      return isInteger ? value.toString(verb === "b" ? 2 : 8) : bad;
    case "c":
      return isInteger ? String.fromCodePoint(Number(value)) : bad;
    case "T":
      return typeName(value);
    default:
      return bad;
  }
}

function padded(
  shown: string,
  options: { readonly flags: string; readonly width: string | undefined },
): string {
  const width = Number(options.width ?? "0");
  const missing = width - [...shown].length;
  if (missing <= 0) return shown;
  if (options.flags.includes("-")) return shown + " ".repeat(missing);
  return (options.flags.includes("0") ? "0" : " ").repeat(missing) + shown;
}

function typeName(value: unknown): string {
  if (typeof value === "string") return "string";
  if (typeof value === "number" || typeof value === "bigint") return "int";
  if (typeof value === "boolean") return "bool";
  if (Array.isArray(value)) return "[]interface {}";
  return isRecord(value) ? "map[string]interface {}" : "<nil>";
}

const htmlEntities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&#34;",
  "'": "&#39;",
  "\0": "\uFFFD",
};

function escapeHtml(value: string): string {
  return value.replace(/[&<>"'\0]/g, (character) => htmlEntities[character] ?? character);
}

function escapeCode(character: string): string {
  return `\\u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
