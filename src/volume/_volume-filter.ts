import type { Volume } from "../api/volume.ts";
import { EngineError } from "../lib/errors.ts";
import { findGoBool } from "../lib/go-bool.ts";
import { booleanFilter, checkFilterNames, type Filters, matchesLabels } from "../lib/filters.ts";

const patternSizeMaxChars = 256;
const repeatCountMax = 2;

/**
 * Makes the test that a listing applies to each volume.
 *
 * @throws invalid-argument for a filter that volumes do not have, or a value that it cannot take
 */
export function createListFilter(
  filters: Filters,
  isDangling: (name: string) => boolean,
): (volume: Volume) => boolean {
  checkFilterNames(filters, ["dangling", "driver", "label", "name"]);
  const dangling = booleanFilter(filters, "dangling");
  const drivers = filters.get("driver") ?? [];
  const names = (filters.get("name") ?? []).map(namePattern);
  return (volume) =>
    (dangling === undefined || dangling === isDangling(volume.Name)) &&
    (drivers.length === 0 || drivers.includes(volume.Driver)) &&
    matchesLabels(volume.Labels, filters.get("label")) &&
    (names.length === 0 || names.some((matches) => matches(volume.Name)));
}

/**
 * Makes the test that tells which dangling volumes a prune takes.
 *
 * @throws invalid-argument for a filter that a prune does not have, or a value that it cannot take
 */
export function createPruneFilter(
  filters: Filters,
  anonymousLabel: string,
): (volume: Volume) => boolean {
  checkFilterNames(filters, ["all", "label", "label!"]);
  const takesNamed = allFilter(filters.get("all") ?? []);
  return (volume) =>
    (takesNamed || Object.hasOwn(volume.Labels ?? {}, anonymousLabel)) &&
    matchesLabels(volume.Labels, filters.get("label")) &&
    matchesLabels(volume.Labels, filters.get("label!"), { negate: true });
}

function allFilter(values: readonly string[]): boolean {
  const [value, ...others] = values;
  if (value === undefined) return false;
  if (others.length > 0) {
    throw new EngineError("invalid-argument", "invalid filter 'all': only one value is allowed");
  }
  const isAll = findGoBool(value);
  if (isAll !== undefined) return isAll;
  throw new EngineError(
    "invalid-argument",
    `invalid filter 'all': strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`,
  );
}

/** A part of the name, or a simple pattern: names are short and patterns too, so that none is slow. */
function namePattern(text: string): (name: string) => boolean {
  if (/^[\w.-]*$/.test(text) && !text.includes(".")) return (name) => name.includes(text);
  if (text.length > patternSizeMaxChars) return () => false;
  // Repeated groups and many repeats are what makes a backtracking pattern slow.
  const repeatCount = text.replaceAll(/[^*+{]/g, "").length;
  if (/[)}][*+{?]/.test(text) || repeatCount > repeatCountMax) return (name) => name === text;
  try {
    const pattern = new RegExp(text);
    return (name) => pattern.test(name);
  } catch (error) {
    if (error instanceof SyntaxError) return (name) => name === text;
    throw error;
  }
}
