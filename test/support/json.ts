/** Looking into answers whose shape is what the test is about. */
import assert from "node:assert/strict";

/** The value at a path, or undefined where the path ends early. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Reflect.get(current, key);
  }
  return current;
}

/** The string at a path. @throws an assertion error when it is none */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path);
  if (typeof found === "string") return found;
  return assert.fail(`${path.join(".")} is ${JSON.stringify(found)}, not a string`);
}

/** The number at a path. @throws an assertion error when it is none */
export function numberAt(value: unknown, ...path: readonly (string | number)[]): number {
  const found = at(value, ...path);
  if (typeof found === "number") return found;
  return assert.fail(`${path.join(".")} is ${JSON.stringify(found)}, not a number`);
}

/** The list at a path. @throws an assertion error when it is none */
export function listAt(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const found = at(value, ...path);
  if (Array.isArray(found)) return found;
  return assert.fail(`${path.join(".")} is ${JSON.stringify(found)}, not a list`);
}

/** Reads a text that holds one JSON document per line. */
export function parseLines(text: string): readonly unknown[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line): unknown => JSON.parse(line));
}
