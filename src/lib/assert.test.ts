import { expect, test } from "bun:test";
import { AssertionError, assert } from "./assert.ts";

test("assert() passes what holds and names the fact that does not", () => {
  assert(1, "one is true");
  expect(() => assert(0, "zero is true")).toThrow(AssertionError);
  expect(() => assert(undefined, "it is there")).toThrow("broken invariant: it is there");
});
