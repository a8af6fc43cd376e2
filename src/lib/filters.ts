/**
 * Filters: what a listing is narrowed by. Values of one name are alternatives unless said
 * otherwise; names are combined.
 */
import { EngineError } from "./errors.ts";

/** Values by name, each value once, in the order given. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/** No filter at all. */
export const noFilters: Filters = new Map();

/**
 * Refuses the first filter whose name is not one of `accepted`.
 *
 * @throws invalid-argument "invalid filter 'x'"
 */
export function checkFilterNames(filters: Filters, accepted: readonly string[]): void {
  for (const name of filters.keys()) {
    if (!accepted.includes(name)) {
      throw new EngineError("invalid-argument", `invalid filter '${name}'`);
    }
  }
}

/**
 * Reads a filter that is true or false; undefined when it is not given.
 *
 * @throws invalid-argument for another value, or for both
 */
export function booleanFilter(filters: Filters, name: string): boolean | undefined {
  const values = filters.get(name);
  if (values === undefined || values.length === 0) return undefined;
  const [value] = values;
  if (values.length === 1 && (value === "1" || value === "true")) return true;
  if (values.length === 1 && (value === "0" || value === "false")) return false;
  throw new EngineError("invalid-argument", `invalid filter '${name}=[${values.join(" ")}]'`);
}

/**
 * Tells whether labels pass a label filter: every `key` is there, every `key=value` has that value.
 *
 * @param filters the values of `label`, or of `label!` with `negate`
 * @param options.negate pass only when none of them is there
 */
export function matchesLabels(
  labels: Readonly<Record<string, string>> | null | undefined,
  filters: readonly string[] | undefined,
  options: { readonly negate?: boolean } = {},
): boolean {
  const has = (filter: string): boolean => {
    const split = filter.indexOf("=");
    const key = split < 0 ? filter : filter.slice(0, split);
    if (labels === null || labels === undefined || !Object.hasOwn(labels, key)) return false;
    return split < 0 || labels[key] === filter.slice(split + 1);
  };
  if (filters === undefined) return true;
  return options.negate === true ? !filters.some(has) : filters.every(has);
}
