import { describe, expect, test } from "bun:test";
import { indentJson } from "./json.ts";
import { goTime, humanDuration, listSize, shortId } from "./human.ts";
import { alignCells, ellipsis } from "./table.ts";

describe("alignCells()", () => {
  test("gives cells ten characters or more, with three between", () => {
    expect(alignCells("CONTAINER ID\tPORTS\tNAMES\nabc\t\tx")).toBe(
      "CONTAINER ID   PORTS     NAMES\nabc                      x",
    );
  });
  test("counts code points, not bytes", () => {
    expect(alignCells('"a…"\tx\nlonger-than-ten\ty')).toBe(
      '"a…"              x\nlonger-than-ten   y',
    );
  });
  test("begins a new column block after a line without that column", () => {
    expect(alignCells("a\tb\n\nlonger-than-ten\tb")).toBe("a         b\n\nlonger-than-ten   b");
  });
});

test("ellipsis() keeps the width", () => {
  expect(ellipsis("12345", 5)).toBe("12345");
  expect(ellipsis("123456", 5)).toBe("1234…");
  expect(ellipsis("123456", 1)).toBe("1");
});

test.each([
  [0, "0B"],
  [999, "999B"],
  [1000, "1kB"],
  [1_983_432, "1.98MB"],
  [123_456_789, "123MB"],
  [5e12, "5TB"],
])("listSize(%d) is %s", (size, text) => {
  expect(listSize(size)).toBe(text);
});

test.each([
  [0, "Less than a second"],
  [1, "1 second"],
  [59, "59 seconds"],
  [60, "About a minute"],
  [120, "2 minutes"],
  [3600, "About an hour"],
  [47 * 3600, "47 hours"],
  [48 * 3600, "2 days"],
  [14 * 86_400, "2 weeks"],
  [60 * 86_400, "2 months"],
  [800 * 86_400, "2 years"],
])("humanDuration(%d s) is %s", (seconds, text) => {
  expect(humanDuration(seconds * 1000)).toBe(text);
});

test("goTime() prints as Go does", () => {
  expect(goTime(0)).toMatch(/^19(70-01-01|69-12-31) \d\d:\d\d:\d\d [+-]\d{4} \S+$/);
});

test("shortId() drops the algorithm", () => {
  expect(shortId("sha256:0123456789abcdef")).toBe("0123456789ab");
});

test("indentJson() leaves numbers and escapes as they are", () => {
  const json = '[{"a":9223372036854771712,"b":"\\u003c\\"}","c":[],"d":{},"e":[1,{"f":null}]}]';
  expect(indentJson(json)).toBe(
    '[\n    {\n        "a": 9223372036854771712,\n        "b": "\\u003c\\"}",\n        "c": [],\n' +
      '        "d": {},\n        "e": [\n            1,\n            {\n                "f": null\n' +
      "            }\n        ]\n    }\n]",
  );
});
