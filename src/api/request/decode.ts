/**
 * Decoders of JSON bodies with the semantics of Go's encoding/json.
 *
 * - unknown fields are ignored, names match without case, of two names that match the last wins
 * - an absent field and `null` are the zero value of its type
 * - a value of another type is refused with Go's sentence, naming the field
 *
 * A decoder is a function from any JSON value to a typed one. It is called also for an absent
 * field, with `undefined`. What it returns shares nothing with its input that a client could use
 * to reach a prototype: maps have none.
 *
 * One thing is stricter than Go: an integer must be exact in a JavaScript number (2^53).
 */
import { EngineError } from "../../lib/errors.ts";
import { findJsonFault } from "./_json-fault.ts";

/** Largest JSON body. Ten thousand environment variables of 400 bytes fit. */
export const bodySizeMaxBytes: number = 4 * 1024 * 1024;

/** Deepest nesting of arrays and objects; the deepest published type has eight levels. */
export const bodyDepthMax = 100;

/** Most elements of one array or map. */
export const elementCountMax = 100_000;

/** Longest string, in UTF-16 units. */
export const textLengthMax: number = 1024 * 1024;

/** Longest part of a client's own text that a message repeats. */
const quotedLengthMax = 128;

/** Where a value stands: the Go name of the body's type, and the fields from it. */
export interface Place {
  readonly root: string;
  readonly path: string;
}

/** Turns a JSON value (or the absence of one) into a `T`, or refuses it. */
export type Decoder<T> = (value: unknown, place: Place) => T;

/** One decoder per field; only a field that may be left out may decode to `undefined`. */
export type Fields<T> = {
  readonly [K in keyof T]-?: Record<never, never> extends Pick<T, K>
    ? Decoder<T[K] | undefined>
    : Decoder<T[K]>;
};

/** Text decoding as in Go: bad UTF-8 becomes U+FFFD, a byte order mark is a character. */
const utf8 = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/**
 * Reads the bytes of a body as one JSON value; undefined for a body of no bytes.
 *
 * @throws invalid-argument "invalid JSON: …", or "unexpected content after JSON"
 */
export function decodeJson(
  bytes: Uint8Array,
  options: { readonly sizeMaxBytes?: number } = {},
): unknown {
  const sizeMaxBytes = options.sizeMaxBytes ?? bodySizeMaxBytes;
  if (bytes.length === 0) return undefined;
  if (bytes.length > sizeMaxBytes) {
    throw invalidJson(`request body is larger than ${sizeMaxBytes} bytes`);
  }
  if (depthOf(bytes) > bodyDepthMax) throw invalidJson("exceeded max depth");
  const text = utf8.decode(bytes);
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    if (/^[ \t\r\n]*$/.test(text)) throw invalidJson("got EOF while reading request body");
    const fault = findJsonFault(text);
    if (fault !== "") throw invalidJson(fault);
    throw new EngineError("invalid-argument", "unexpected content after JSON");
  }
}

/**
 * Decodes a body that may be empty: no bytes are the zero value, as Docker reads most bodies.
 *
 * @param goType Go's name of the body's type, for messages
 */
export function decodeBody<T>(
  bytes: Uint8Array,
  options: { readonly goType: string; readonly decoder: Decoder<T> },
): T {
  return options.decoder(decodeJson(bytes), { root: options.goType, path: "" });
}

/** The refusal of a body that is not the JSON it should be. */
export function invalidJson(problem: string): EngineError {
  return new EngineError("invalid-argument", `invalid JSON: ${problem}`);
}

/** The refusal of a value of another type, in Go's words. */
export function wrongType(value: unknown, place: Place, goType: string): EngineError {
  const kind = describe(value);
  if (place.path === "") {
    return invalidJson(`json: cannot unmarshal ${kind} into Go value of type ${goType}`);
  }
  const root = place.root.slice(place.root.lastIndexOf(".") + 1);
  const field = shorten(`${root}${place.path}`);
  return invalidJson(
    `json: cannot unmarshal ${kind} into Go struct field ${field} of type ${goType}`,
  );
}

/** A string; "" when absent. */
export function text(goType = "string"): Decoder<string> {
  return (value, place) => {
    if (value === undefined || value === null) return "";
    if (typeof value !== "string") throw wrongType(value, place, goType);
    if (value.length > textLengthMax) throw tooLong(place, `${textLengthMax} characters`);
    return value.isWellFormed() ? value : value.toWellFormed();
  };
}

/** A boolean; false when absent. */
export const flag: Decoder<boolean> = (value, place) => {
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw wrongType(value, place, "bool");
  return value;
};

/** Go's integer types, as messages name them. */
export type GoInteger = "int" | "int64" | "time.Duration" | "uint" | "uint16" | "uint32" | "uint64";

/** Ranges of Go's integers, cut to what a JavaScript number holds exactly. */
const integerRanges: Readonly<Record<GoInteger, readonly [min: number, max: number]>> = {
  int: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  "time.Duration": [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint: [0, Number.MAX_SAFE_INTEGER],
  uint16: [0, 0xffff],
  uint32: [0, 0xffff_ffff],
  uint64: [0, Number.MAX_SAFE_INTEGER],
};

/** An integer of a Go type; 0 when absent. */
export function integer(goType: GoInteger): Decoder<number> {
  const [min, max] = integerRanges[goType];
  return (value, place) => {
    if (value === undefined || value === null) return 0;
    if (typeof value !== "number") throw wrongType(value, place, goType);
    if (!Number.isInteger(value) || value < min || value > max) {
      const field = shorten(`${place.root.slice(place.root.lastIndexOf(".") + 1)}${place.path}`);
      throw invalidJson(
        `json: cannot unmarshal number ${value} into Go struct field ${field} of type ${goType}`,
      );
    }
    return value === 0 ? 0 : value;
  };
}

/** A slice; null when absent. */
export function list<T>(item: Decoder<T>, goType: string): Decoder<readonly T[] | null> {
  return (value, place) => {
    if (value === undefined || value === null) return null;
    if (!Array.isArray(value)) throw wrongType(value, place, goType);
    if (value.length > elementCountMax) throw tooLong(place, `${elementCountMax} elements`);
    return value.map((element: unknown, index) =>
      item(element, { root: place.root, path: `${place.path}.${index}` }),
    );
  };
}

/** A slice of strings; null when absent. */
export const texts: Decoder<readonly string[] | null> = list(text(), "[]string");

/**
 * A command: a slice of strings, or one string standing for a slice of one.
 *
 * @see moby api/types/strslice
 */
export const command: Decoder<readonly string[] | null> = (value, place) => {
  if (typeof value === "string") return [text()(value, place)];
  const top = { root: place.root, path: "" };
  if (value === undefined || value === null) return null;
  if (!Array.isArray(value)) throw wrongType(value, top, "string");
  if (!value.every((word: unknown) => typeof word === "string" || word === null)) {
    throw wrongType(value, top, "string");
  }
  return texts(value, place);
};

/** A map; null when absent. It has no prototype, so every key a client sends is only a key. */
export function map<T>(
  item: Decoder<T>,
  goType: string,
): Decoder<Readonly<Record<string, T>> | null> {
  return (value, place) => {
    if (value === undefined || value === null) return null;
    if (!isObject(value)) throw wrongType(value, place, goType);
    const entries = Object.entries(value);
    if (entries.length > elementCountMax) throw tooLong(place, `${elementCountMax} entries`);
    const decoded: Record<string, T> = Object.create(null);
    for (const [key, element] of entries) {
      decoded[key.toWellFormed()] = item(element, {
        root: place.root,
        path: `${place.path}.${key}`,
      });
    }
    return decoded;
  };
}

/** A map of strings; null when absent. */
export const textMap: Decoder<Readonly<Record<string, string>> | null> = map(
  text(),
  "map[string]string",
);

/** A set: a map whose values are objects of no interest; null when absent. */
export function textSet(
  goType: string,
): Decoder<Readonly<Record<string, Readonly<Record<never, never>>>> | null> {
  return map((value, place) => {
    if (value !== null && !isObject(value)) throw wrongType(value, place, "struct {}");
    return {};
  }, goType);
}

/** A struct; all its fields have their zero values when it is absent. */
export function struct<T>(fields: Fields<T>, goType: string): Decoder<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  const byLowerName = new Map(names.map((name) => [name.toLowerCase(), name]));
  return (value, place) => {
    if (value !== undefined && value !== null && !isObject(value)) {
      throw wrongType(value, place, goType);
    }
    const given = new Map<string, unknown>();
    for (const [key, element] of Object.entries(value ?? {})) {
      const name = Object.hasOwn(fields, key) ? key : byLowerName.get(key.toLowerCase());
      if (name !== undefined) given.set(name, element);
    }
    const decoded: Record<string, unknown> = {};
    for (const name of names) {
      const field = fields[name](given.get(name), {
        root: place.root,
        path: `${place.path}.${name}`,
      });
      if (field !== undefined) decoded[name] = field;
    }
    return decoded as T;
  };
}

/** A pointer: null when absent, else what `decoder` makes of it. */
export function pointer<T>(decoder: Decoder<T>): Decoder<T | null> {
  return (value, place) => (value === undefined || value === null ? null : decoder(value, place));
}

/** A pointer that is left out when nil (`*T` with omitempty). */
export function optional<T>(decoder: Decoder<T>): Decoder<T | undefined> {
  return (value, place) =>
    value === undefined || value === null ? undefined : decoder(value, place);
}

/** A field that is left out when empty (omitempty): null, "", 0, false, no elements. */
export function omitEmpty<T>(decoder: Decoder<T>): Decoder<NonNullable<T> | undefined> {
  return (value, place) => {
    const decoded = decoder(value, place);
    if (decoded === null || decoded === undefined) return undefined;
    if (decoded === "" || decoded === 0 || decoded === false) return undefined;
    if (Array.isArray(decoded) && decoded.length === 0) return undefined;
    if (isObject(decoded) && Object.keys(decoded).length === 0) return undefined;
    return decoded;
  };
}

/** Any value as it came; for fields that are refused, or read, elsewhere. */
export const raw: Decoder<unknown> = (value) => value;

/** Tells whether a JSON value is an object (a record, not an array or null). */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function tooLong(place: Place, most: string): EngineError {
  return invalidJson(`field ${shorten(place.path.slice(1))} has more than ${most}`);
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  return typeof value;
}

function shorten(path: string): string {
  return path.length > quotedLengthMax ? `${path.slice(0, quotedLengthMax)}…` : path;
}

/** Counts the deepest nesting of brackets outside strings; right for every valid JSON text. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let isInText = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (isInText) {
      if (byte === 0x5c) at += 1;
      else if (byte === 0x22) isInText = false;
    } else if (byte === 0x22) isInText = true;
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
  return deepest;
}
