/** Filters as `--filter name=value` gives them. */
import { EngineError } from "../../lib/errors.ts";

/**
 * Reads all `--filter` values.
 *
 * @param options.flag how the flag is called in sentences; with `-f` when absent
 * @throws invalid-argument with Docker's sentence
 */
export function parseFilters(
  values: readonly string[],
  options: { readonly flag?: string } = {},
): Map<string, string[]> {
  const { flag = "-f, --filter" } = options;
  const filters = new Map<string, string[]>();
  for (const value of values) {
    if (value === "") continue;
    const split = value.indexOf("=");
    if (split < 0) {
      throw new EngineError(
        "invalid-argument",
        `invalid argument ${JSON.stringify(value)} for "${flag}" flag: ` +
          "bad format of filter (expected name=value)",
        { details: { isUsage: true } },
      );
    }
    const name = value.slice(0, split).trim().toLowerCase();
    const list = filters.get(name) ?? [];
    list.push(value.slice(split + 1).trim());
    filters.set(name, list);
  }
  return filters;
}
