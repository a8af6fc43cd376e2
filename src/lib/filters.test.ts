import { describe, expect, test } from "bun:test";
import { booleanFilter, checkFilterNames, matchesLabels, noFilters } from "./filters.ts";

describe("checkFilterNames()", () => {
  test("accepts known names and refuses the first other one", () => {
    expect(() => checkFilterNames(noFilters, [])).not.toThrow();
    expect(() => checkFilterNames(new Map([["label", ["a"]]]), ["label"])).not.toThrow();
    const filters = new Map([
      ["label", ["a"]],
      ["zz", []],
    ]);
    expect(() => checkFilterNames(filters, ["label"])).toThrow("invalid filter 'zz'");
  });
});

describe("booleanFilter()", () => {
  test.each([
    [["1"], true],
    [["true"], true],
    [["0"], false],
    [["false"], false],
    [[], undefined],
  ])("%p is %p", (values, result) => {
    expect(booleanFilter(new Map([["dangling", values]]), "dangling")).toBe(result);
  });
  test("no filter is neither", () => {
    expect(booleanFilter(noFilters, "dangling")).toBeUndefined();
  });
  test.each([[["x"]], [["True"]], [["true", "false"]], [[""]]])("%p is refused", (values) => {
    expect(() => booleanFilter(new Map([["dangling", values]]), "dangling")).toThrow(
      `invalid filter 'dangling=[${values.join(" ")}]'`,
    );
  });
});

describe("matchesLabels()", () => {
  const labels = { a: "1", "b.c": "x=y", empty: "" };
  test.each([
    [undefined, true],
    [[], true],
    [["a"], true],
    [["a=1", "b.c=x=y"], true],
    [["empty="], true],
    [["a=2"], false],
    [["a", "nope"], false],
    [["toString"], false],
    [["A"], false],
  ])("%p", (filters, result) => {
    expect(matchesLabels(labels, filters)).toBe(result);
  });
  test("negated, none may be there", () => {
    expect(matchesLabels(labels, ["a=2", "nope"], { negate: true })).toBe(true);
    expect(matchesLabels(labels, ["nope", "a"], { negate: true })).toBe(false);
    expect(matchesLabels(null, ["a"], { negate: true })).toBe(true);
  });
  test("no labels match no filter but the empty one", () => {
    expect(matchesLabels(null, ["a"])).toBe(false);
    expect(matchesLabels(undefined, undefined)).toBe(true);
  });
});
