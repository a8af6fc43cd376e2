import { describe, expect, test } from "bun:test";
import { editDistance, suggest } from "./suggest.ts";

test.each([
  ["", "", 0],
  ["a", "", 1],
  ["abc", "abc", 0],
  ["abc", "acb", 1],
  ["kitten", "sitting", 3],
] as const)("editDistance(%j, %j) is %d", (left, right, distance) => {
  expect(editDistance(left, right)).toBe(distance);
  expect(editDistance(right, left)).toBe(distance);
});

describe("suggest()", () => {
  const names = [
    "images",
    "image",
    "inspect",
    "restart",
    "run",
    "ps",
    "rm",
    "volume",
    "volumes-from",
  ];
  test.each([
    ["imag", ["image", "images"]],
    ["restart-policy", ["restart"]],
    ["rnu", ["run"]],
    ["insepct", ["inspect"]],
    ["zzzzz", []],
    ["x", []],
  ] as const)("%s means %j", (word, meant) => {
    expect(suggest(word, names)).toEqual([...meant]);
  });
});
