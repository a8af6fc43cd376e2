/** Decoders of query strings: Docker's booleans, integers, moments and filters. */
import { EngineError } from "../../lib/errors.ts";
import { checkFilterNames, type Filters, noFilters } from "../../lib/filters.ts";
import { type TimeNs, zeroTimeNs } from "../../lib/time.ts";
import { compareVersions } from "../versions.ts";
import { isObject } from "./decode.ts";

/** Longest query string, in characters. */
export const queryLengthMax: number = 64 * 1024;

/** Most parameters of a query, and most values of all its filters. */
export const queryValueCountMax = 1000;

/** Decoded parameters by name, in the order given. Names are compared with case. */
export type Query = ReadonlyMap<string, readonly string[]>;

/**
 * Decodes a query string.
 *
 * @param search what follows the question mark, without it
 * @throws invalid-argument for bad percent-encoding, semicolons and too much of anything
 */
export function decodeQuery(search: string): Query {
  const query = new Map<string, string[]>();
  if (search === "") return query;
  if (search.length > queryLengthMax) {
    throw invalid(`query is longer than ${queryLengthMax} characters`);
  }
  const pairs = search.split("&");
  if (pairs.length > queryValueCountMax) {
    throw invalid(`query has more than ${queryValueCountMax} parameters`);
  }
  for (const pair of pairs) {
    if (pair === "") continue;
    if (pair.includes(";")) throw invalid("invalid semicolon separator in query");
    const split = pair.indexOf("=");
    const name = unescapeQuery(split < 0 ? pair : pair.slice(0, split));
    const value = split < 0 ? "" : unescapeQuery(pair.slice(split + 1));
    const values = query.get(name);
    if (values === undefined) query.set(name, [value]);
    else values.push(value);
  }
  return query;
}

/** The first value of a parameter; "" when it is not given. */
export function textValue(query: Query, name: string): string {
  return query.get(name)?.[0] ?? "";
}

/** All values of a parameter. */
export function textValues(query: Query, name: string): readonly string[] {
  return query.get(name) ?? [];
}

/** A boolean: "", "0", "no", "false" and "none" are false in any case, anything else is true. */
export function boolValue(query: Query, name: string): boolean {
  const value = textValue(query, name).trim().toLowerCase();
  return !["", "0", "no", "false", "none"].includes(value);
}

/** A boolean, or `absent` when the parameter is not given at all ("" given is false). */
export function boolValueOrDefault(query: Query, name: string, absent: boolean): boolean {
  return query.has(name) ? boolValue(query, name) : absent;
}

/**
 * A signed integer; undefined when it is not given or empty.
 *
 * @throws invalid-argument in the words of Go's strconv
 */
export function integerValue(query: Query, name: string): number | undefined {
  const value = textValue(query, name);
  if (value === "") return undefined;
  const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN;
  if (Number.isSafeInteger(number)) return number === 0 ? 0 : number;
  const problem = Number.isNaN(number) ? "invalid syntax" : "value out of range";
  throw invalid(`strconv.Atoi: parsing ${quote(value)}: ${problem}`);
}

/** Rows and columns of a terminal, from `h` and `w`; both must be given. */
export function terminalSize(query: Query): { readonly height: number; readonly width: number } {
  return {
    height: unsigned32(textValue(query, "h"), "height"),
    width: unsigned32(textValue(query, "w"), "width"),
  };
}

/**
 * A moment given as Unix seconds with up to nine decimals; undefined when not given.
 *
 * This is the form on the wire; the forms people type are turned into it by clients.
 *
 * @param options.zeroIsAbsent "0" means not given: `until` of the logs
 * @throws invalid-argument in the words of Go's strconv
 */
export function timestampValue(
  query: Query,
  name: string,
  options: { readonly zeroIsAbsent?: boolean } = {},
): TimeNs | undefined {
  const value = textValue(query, name);
  if (value === "" || (options.zeroIsAbsent === true && value === "0")) return undefined;
  const parts = /^([+-]?)(\d{1,12})(?:\.(\d{0,9}))?$/.exec(value);
  if (parts === null) throw invalid(`strconv.ParseInt: parsing ${quote(value)}: invalid syntax`);
  const [, sign, seconds = "0", fraction = ""] = parts;
  const moment = BigInt(seconds + fraction.padEnd(9, "0"));
  const limit = sign === "-" ? -zeroTimeNs : 2n ** 63n - 1n;
  if (moment > limit)
    throw invalid(`strconv.ParseInt: parsing ${quote(value)}: value out of range`);
  return sign === "-" ? -moment : moment;
}

/**
 * Decodes the parameter `filters`: `{"name":{"value":true}}`, or `{"name":["value"]}` as clients
 * before API 1.22 write it. "" and null are no filters.
 *
 * @param options.accepted names that may be used; all when omitted
 * @throws invalid-argument "invalid filter", or "invalid filter 'x'" for an unknown name
 */
export function filtersValue(
  query: Query,
  options: { readonly accepted?: readonly string[] } = {},
): Filters {
  const filters = decodeFilters(textValue(query, "filters"));
  if (options.accepted !== undefined) checkFilterNames(filters, options.accepted);
  return filters;
}

/** First version that ignores the parameter `filter` of a listing of images. */
const imageFilterUntil = "1.41";

/**
 * Decodes the filters of a listing of images: older clients give a pattern of names as `filter`.
 *
 * @throws as `filtersValue`
 * @see Engine API v1.40, ImageList
 */
export function imageFiltersValue(query: Query, version: string): Filters {
  const filters = filtersValue(query);
  const pattern = textValue(query, "filter");
  if (pattern === "" || compareVersions(version, imageFilterUntil) >= 0) return filters;
  const patterns = [...(filters.get("reference") ?? []), pattern];
  return new Map([...filters, ["reference", patterns]]);
}

/** Decodes the text of filters. @see filtersValue */
export function decodeFilters(text: string): Filters {
  if (text === "") return noFilters;
  const value = parseFilters(text);
  if (value === null) return noFilters;
  if (!isObject(value)) throw invalid("invalid filter");
  const names = Object.entries(value);
  const isLegacy = names.some(([, values]) => Array.isArray(values));
  const filters = new Map<string, readonly string[]>();
  let count = 0;
  for (const [name, values] of names) {
    const decoded = isLegacy ? legacyValues(values) : currentValues(values);
    count += decoded.length;
    if (count > queryValueCountMax) throw invalid("invalid filter: too many values");
    filters.set(name, [...new Set(decoded)]);
  }
  return filters;
}

/** Writes filters for the wire; "" when there are none. */
export function encodeFilters(filters: Filters): string {
  if (filters.size === 0) return "";
  const value = Array.from(filters, ([name, values]) => [
    name,
    Object.fromEntries(values.map((text) => [text, true])),
  ]);
  return JSON.stringify(Object.fromEntries(value));
}

function parseFilters(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new EngineError("invalid-argument", "invalid filter", { cause });
  }
}

function legacyValues(values: unknown): readonly string[] {
  if (values === null) return [];
  if (!Array.isArray(values) || !values.every((value: unknown) => typeof value === "string")) {
    throw invalid("invalid filter");
  }
  return values;
}

// Docker: a value counts even when it is mapped to false, seen in 28.5
function currentValues(values: unknown): readonly string[] {
  if (values === null) return [];
  if (!isObject(values)) throw invalid("invalid filter");
  const isSet = (member: unknown): boolean => member === null || typeof member === "boolean";
  if (!Object.values(values).every(isSet)) throw invalid("invalid filter");
  return Object.keys(values);
}

function unescapeQuery(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (cause) {
    if (!(cause instanceof URIError)) throw cause;
    const fault = /%(?![0-9A-Fa-f]{2}).{0,2}/.exec(text)?.[0];
    const problem = fault === undefined ? "not UTF-8" : quote(fault);
    throw new EngineError("invalid-argument", `invalid URL escape ${problem}`, { cause });
  }
}

function unsigned32(value: string, what: string): number {
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (number <= 0xffff_ffff) return number;
  const isNumber = /^[+-]?\d+$/.test(value);
  const problem = isNumber ? "value out of range" : "invalid syntax";
  throw invalid(`invalid resize ${what} ${quote(value)}: ${problem}`);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
