import { EngineError, messageOf } from "../lib/errors.ts";

/** Bounds of a document. */
export interface JsonLimits {
  readonly sizeMaxBytes: number;
  /** What the document is, for sentences: "decode <what>: …". */
  readonly what: string;
}

/** An object of JSON, not looked into. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Depth of nested objects and arrays; published documents have five. */
const depthMax = 64;
/** Entries of any list or map of a document. */
export const entriesMax = 10_000;

/**
 * Parses a JSON object, within bounds.
 *
 * @throws invalid-argument for what is too large, too deep, no UTF-8, no JSON or no object
 */
export function decodeDocument(bytes: Uint8Array, limits: JsonLimits): Fields {
  const value = decodeJson(bytes, limits);
  if (!isObject(value)) throw refused(limits.what, "an object is wanted");
  return new Fields(value, limits.what);
}

/** Parses JSON of any type, within bounds. */
export function decodeJson(bytes: Uint8Array, limits: JsonLimits): unknown {
  if (bytes.byteLength > limits.sizeMaxBytes) {
    throw refused(limits.what, `more than ${limits.sizeMaxBytes} bytes`);
  }
  checkDepth(bytes, limits.what);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch (error) {
    const isExpected = error instanceof SyntaxError || error instanceof TypeError;
    if (!isExpected) throw error;
    throw refused(limits.what, messageOf(error), error);
  }
}

/** Encodes a document in the order of its keys, without spaces. */
export function encodeDocument(document: object): Uint8Array {
  return Buffer.from(JSON.stringify(document), "utf8");
}

/** Tells whether a value is a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The fields of an object; each getter checks the type and says where it is wrong. */
export class Fields {
  readonly #object: JsonObject;
  /** Where the object stands: "image config.rootfs". */
  readonly where: string;

  constructor(object: JsonObject, where: string) {
    this.#object = object;
    this.where = where;
  }

  /** The field as it is; undefined for what is missing or null, as Go reads it. */
  raw(key: string): unknown {
    return Object.hasOwn(this.#object, key) ? (this.#object[key] ?? undefined) : undefined;
  }

  /** The names of all fields that are not null. */
  keys(): readonly string[] {
    const names = Object.keys(this.#object).filter((key) => this.has(key));
    if (names.length > entriesMax) throw refused(this.where, `more than ${entriesMax} entries`);
    return names;
  }

  /** Whether the field is there and not null. */
  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** A text, or undefined. */
  text(key: string): string | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === "string") return value;
    return this.refuse(key, "a string is wanted");
  }

  /** A text that must be there. */
  mustText(key: string): string {
    return this.text(key) ?? this.refuse(key, "missing");
  }

  /** A flag, or undefined. */
  flag(key: string): boolean | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === "boolean") return value;
    return this.refuse(key, "a boolean is wanted");
  }

  /** A whole number that a double holds exactly, or undefined. */
  integer(key: string): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isSafeInteger(value)) return value;
    return this.refuse(key, "a whole number is wanted");
  }

  /** A list of texts, or undefined. */
  texts(key: string): readonly string[] | undefined {
    return this.list(key)?.map((item, index) => {
      if (typeof item === "string") return item;
      return this.refuse(`${key}[${index}]`, "a string is wanted");
    });
  }

  /** A list of anything, or undefined. */
  list(key: string): readonly unknown[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return this.refuse(key, "an array is wanted");
    if (value.length > entriesMax) return this.refuse(key, `more than ${entriesMax} entries`);
    return value as readonly unknown[];
  }

  /** A list of objects, or undefined. */
  objects(key: string): readonly Fields[] | undefined {
    return this.list(key)?.map((item, index) => {
      if (isObject(item)) return new Fields(item, `${this.where}.${key}[${index}]`);
      return this.refuse(`${key}[${index}]`, "an object is wanted");
    });
  }

  /** An object, or undefined. */
  object(key: string): Fields | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (isObject(value)) return new Fields(value, `${this.where}.${key}`);
    return this.refuse(key, "an object is wanted");
  }

  /** A map of texts, or undefined. */
  textMap(key: string): Readonly<Record<string, string>> | undefined {
    return this.#map(key, (value, name) => {
      if (typeof value === "string") return value;
      return this.refuse(`${key}[${JSON.stringify(name)}]`, "a string is wanted");
    });
  }

  /** A map used as a set: each value is an object without meaning. */
  keySet(key: string): Readonly<Record<string, Record<string, never>>> | undefined {
    return this.#map(key, (value, name) => {
      if (value === null || isObject(value)) return {};
      return this.refuse(`${key}[${JSON.stringify(name)}]`, "an object is wanted");
    });
  }

  /** Ends the decoding with a sentence about a field. */
  refuse(key: string, problem: string): never {
    throw refused(`${this.where}.${key}`, problem);
  }

  #map<T>(
    key: string,
    decode: (value: unknown, name: string) => T,
  ): Readonly<Record<string, T>> | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!isObject(value)) return this.refuse(key, "an object is wanted");
    const entries = Object.entries(value);
    if (entries.length > entriesMax) this.refuse(key, `more than ${entriesMax} entries`);
    return Object.fromEntries(entries.map(([name, item]) => [name, decode(item, name)]));
  }
}

/** A record without the fields that are undefined. */
export function compact<T extends object>(record: T): Compact<T> {
  const present = Object.entries(record).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present) as Compact<T>;
}

/** `T` with each field that may be undefined made optional. */
export type Compact<T> = {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K];
} & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

function checkDepth(bytes: Uint8Array, what: string): void {
  let depth = 0;
  let isText = false;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index];
    if (isText) {
      if (byte === 0x5c) index += 1;
      else if (byte === 0x22) isText = false;
    } else if (byte === 0x22) isText = true;
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > depthMax) throw refused(what, `nested deeper than ${depthMax}`);
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
}

function refused(where: string, problem: string, cause?: unknown): EngineError {
  return new EngineError("invalid-argument", `decode ${where}: ${problem}`, { cause });
}
