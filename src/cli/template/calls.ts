/** What the evaluator needs to call functions and walk over values. */
import { isKind, messageOf } from "../../lib/errors.ts";
import { formatGo, GoNil, isRecord } from "./go-value.ts";

const any = Number.POSITIVE_INFINITY;
/** How many arguments functions take. */
export const arity: Readonly<Record<string, readonly [number, number]>> = {
  not: [1, 1],
  eq: [2, any],
  ne: [2, 2],
  lt: [2, 2],
  le: [2, 2],
  gt: [2, 2],
  ge: [2, 2],
  len: [1, 1],
  index: [1, any],
  slice: [1, 4],
  printf: [1, any],
  json: [1, 1],
  lower: [1, 1],
  upper: [1, 1],
  title: [1, 1],
  split: [2, 2],
  join: [2, 2],
  pad: [3, 3],
  truncate: [2, 2],
};

/** A number of arguments in words. */
export function wantText([least, most]: readonly [number, number]): string {
  return least === most ? String(least) : `at least ${least}`;
}

/** What a value prints as by itself. */
export function shown(value: unknown): string {
  return value === undefined || value === null ? "<no value>" : formatGo(value);
}

/** Keys and members to walk over; undefined for what has none. */
export function entriesOf(value: unknown): readonly (readonly [unknown, unknown])[] | undefined {
  if (Array.isArray(value)) return value.map((member, at) => [at, member] as const);
  if (isRecord(value)) {
    return Object.keys(value)
      .sort()
      .map((key) => [key, value[key]] as const);
  }
  if (value instanceof GoNil || value === null || value === undefined) return [];
  if (typeof value === "number" && Number.isInteger(value) && value <= 1_000_000) {
    return Array.from({ length: Math.max(0, value) }, (_, at) => [at, at] as const);
  }
  return undefined;
}

/** Calls a row's method. */
export function callMethod(
  method: (...values: never[]) => unknown,
  values: readonly unknown[],
  fail: (reason: string) => never,
): unknown {
  try {
    return Reflect.apply(method, undefined, [...values]);
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
    return fail(messageOf(error));
  }
}

/** Tells whether a member is a method. */
export function isMethod(value: unknown): value is (...values: never[]) => unknown {
  return typeof value === "function";
}
