import type { Network } from "../api/network.ts";
import { EngineError } from "../lib/errors.ts";

const filterNames = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/**
 * Whether a network passes all filters; of one filter's values any will do, of labels all must.
 *
 * @throws invalid-argument with Docker's sentences
 */
export function createNetworkFilter(
  filters: ReadonlyMap<string, readonly string[]>,
): (network: Network) => boolean {
  for (const name of filters.keys()) {
    if (!filterNames.includes(name)) {
      throw new EngineError("invalid-argument", `invalid filter '${name}'`);
    }
  }
  const isDangling = danglingOf(filters.get("dangling") ?? []);
  for (const type of filters.get("type") ?? []) {
    if (type !== "builtin" && type !== "custom") {
      throw new EngineError("invalid-argument", `invalid filter: 'type'='${type}'`);
    }
  }
  const passes = (name: string, test: (value: string) => boolean): boolean => {
    const values = filters.get(name);
    return values === undefined || values.length === 0 || values.some(test);
  };
  return (network) =>
    passes("driver", (value) => value === network.Driver) &&
    passes("id", (value) => isMatch(network.Id, value)) &&
    passes("name", (value) => isMatch(network.Name, value)) &&
    passes("scope", (value) => value === network.Scope) &&
    passes("type", (value) => (value === "builtin") === isBuiltin(network)) &&
    (filters.get("label") ?? []).every((value) => hasLabel(network, value)) &&
    (isDangling === undefined || isDangling === isUnused(network));
}

/** Networks that exist always. */
export function isBuiltin(network: { readonly Name: string }): boolean {
  return ["bridge", "host", "none"].includes(network.Name);
}

function isUnused(network: Network): boolean {
  return !isBuiltin(network) && Object.keys(network.Containers).length === 0;
}

function danglingOf(values: readonly string[]): boolean | undefined {
  const [value] = values;
  if (value === undefined) return undefined;
  if (["1", "true"].includes(value.toLowerCase())) return true;
  if (["0", "false"].includes(value.toLowerCase())) return false;
  throw new EngineError("invalid-argument", `invalid filter 'dangling=[${values.join(" ")}]'`);
}

/** A part of the text, with `^` and `$` at their places; Docker takes whole regular expressions. */
function isMatch(text: string, pattern: string): boolean {
  const isStart = pattern.startsWith("^");
  const isEnd = pattern.endsWith("$");
  const part = pattern.slice(isStart ? 1 : 0, isEnd ? -1 : undefined);
  if (isStart && isEnd) return text === part;
  if (isStart) return text.startsWith(part);
  return isEnd ? text.endsWith(part) : text.includes(part);
}

function hasLabel(network: Network, wanted: string): boolean {
  const [key = "", ...rest] = wanted.split("=");
  const value = network.Labels?.[key];
  return value !== undefined && (rest.length === 0 || value === rest.join("="));
}
