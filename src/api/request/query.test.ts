import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EngineError } from "../../lib/errors.ts";
import {
  boolValue,
  boolValueOrDefault,
  decodeFilters,
  decodeQuery,
  encodeFilters,
  filtersValue,
  imageFiltersValue,
  integerValue,
  queryLengthMax,
  queryValueCountMax,
  terminalSize,
  textValue,
  textValues,
  timestampValue,
} from "./query.ts";

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof EngineError && error.kind === "invalid-argument") return error.message;
    throw error;
  }
  return "accepted";
}

const query = (value: string): ReturnType<typeof decodeQuery> =>
  decodeQuery(`v=${encodeURIComponent(value)}`);

describe("decodeQuery()", () => {
  test.each([
    ["", []],
    ["a=1", [["a", ["1"]]]],
    [
      "a=1&a=2&b",
      [
        ["a", ["1", "2"]],
        ["b", [""]],
      ],
    ],
    ["a=b=c", [["a", ["b=c"]]]],
    ["a=b+c%20d%2Be", [["a", ["b c d+e"]]]],
    ["%61=%C3%BC", [["a", ["ü"]]]],
    ["&&a=&", [["a", [""]]]],
    ["a=%00", [["a", ["\0"]]]],
    ["__proto__=1", [["__proto__", ["1"]]]],
  ])("%p", (search, pairs) => {
    expect([...decodeQuery(search)]).toEqual(pairs as [string, string[]][]);
  });
  test.each([
    ["a=%", 'invalid URL escape "%"'],
    ["a=%zz1", 'invalid URL escape "%zz"'],
    ["a=%ff", "invalid URL escape not UTF-8"],
    ["a;b=1", "invalid semicolon separator in query"],
    [`a=${"x".repeat(queryLengthMax)}`, `query is longer than ${queryLengthMax} characters`],
    ["a&".repeat(queryValueCountMax), `query has more than ${queryValueCountMax} parameters`],
  ])("refuses %p", (search, message) => {
    expect(refusal(() => decodeQuery(search))).toBe(message);
  });
});

describe("values", () => {
  test.each(["", "0", "no", "No", "FALSE", "none", " 0 "])("%p is false", (value) => {
    expect(boolValue(query(value), "v")).toBe(false);
  });
  test.each(["1", "true", "yes", "x", "00", "-1"])("%p is true", (value) => {
    expect(boolValue(query(value), "v")).toBe(true);
  });
  test("a default holds only where nothing is given", () => {
    expect(boolValue(query("1"), "V")).toBe(false);
    expect(boolValueOrDefault(query("1"), "w", true)).toBe(true);
    expect(boolValueOrDefault(query(""), "v", true)).toBe(false);
    expect(boolValueOrDefault(query("1"), "v", false)).toBe(true);
  });
  test("texts are the first or all", () => {
    const several = decodeQuery("v=a&v=b");
    expect([textValue(several, "v"), textValue(several, "w")]).toEqual(["a", ""]);
    expect([textValues(several, "v"), textValues(several, "w")]).toEqual([["a", "b"], []]);
  });
  test.each([
    ["", undefined],
    ["0", 0],
    ["-0", 0],
    ["-1", -1],
    ["+10", 10],
    ["007", 7],
  ])("integer %p", (value, number) => {
    expect(integerValue(query(value), "v")).toBe(number);
  });
  test.each([
    ["x", 'strconv.Atoi: parsing "x": invalid syntax'],
    ["1.5", 'strconv.Atoi: parsing "1.5": invalid syntax'],
    [" 1", 'strconv.Atoi: parsing " 1": invalid syntax'],
    ["0x1", 'strconv.Atoi: parsing "0x1": invalid syntax'],
    ["99999999999999999999", 'strconv.Atoi: parsing "99999999999999999999": value out of range'],
  ])("integer %p is refused", (value, message) => {
    expect(refusal(() => integerValue(query(value), "v"))).toBe(message);
  });
});

describe("terminalSize()", () => {
  test("reads rows and columns", () => {
    expect(terminalSize(decodeQuery("h=24&w=80"))).toEqual({ height: 24, width: 80 });
    expect(terminalSize(decodeQuery("h=0&w=4294967295")).width).toBe(4294967295);
  });
  test.each([
    ["h=x&w=1", 'invalid resize height "x": invalid syntax'],
    ["h=1", 'invalid resize width "": invalid syntax'],
    ["h=-1&w=1", 'invalid resize height "-1": value out of range'],
    ["h=1&w=4294967296", 'invalid resize width "4294967296": value out of range'],
  ])("refuses %p", (search, message) => {
    expect(refusal(() => terminalSize(decodeQuery(search)))).toBe(message);
  });
});

describe("timestampValue()", () => {
  test.each([
    ["", undefined],
    ["0", 0n],
    ["1", 1_000_000_000n],
    ["1.5", 1_500_000_000n],
    ["1.000000001", 1_000_000_001n],
    ["-1.5", -1_500_000_000n],
    ["1795265973.608102943", 1_795_265_973_608_102_943n],
  ])("%p", (value, moment) => {
    expect(timestampValue(query(value), "v")).toBe(moment);
  });
  test("zero may mean that there is none", () => {
    expect(timestampValue(query("0"), "v", { zeroIsAbsent: true })).toBeUndefined();
  });
  test.each(["x", "1.x", "1.-5", "1.0000000001", ".5", "1e3", "9999999999999"])(
    "refuses %p",
    (value) => {
      expect(refusal(() => timestampValue(query(value), "v"))).toContain("strconv.ParseInt");
    },
  );
  test("refuses what 64 bits of nanoseconds do not hold", () => {
    expect(refusal(() => timestampValue(query("99999999999"), "v"))).toContain("out of range");
    expect(refusal(() => timestampValue(query("-99999999999"), "v"))).toContain("out of range");
  });
});

describe("filters", () => {
  test.each([
    ["", []],
    ["null", []],
    ["{}", []],
    ['{"label":{"a":true,"b":true}}', [["label", ["a", "b"]]]],
    ['{"label":["a","b","a"]}', [["label", ["a", "b"]]]],
    ['{"status":{"running":false}}', [["status", ["running"]]]],
    [
      '{"label":null,"name":["x"]}',
      [
        ["label", []],
        ["name", ["x"]],
      ],
    ],
    ['{"__proto__":["x"]}', [["__proto__", ["x"]]]],
  ])("%p", (text, pairs) => {
    expect([...decodeFilters(text)]).toEqual(pairs as [string, string[]][]);
  });
  test.each([
    "{",
    "[]",
    '"x"',
    '{"a":1}',
    '{"a":"b"}',
    '{"a":[1]}',
    '{"a":{"b":1}}',
    '{"label":["a"],"name":{"x":true}}',
    '{"label":["a"]} x',
  ])("%p is no filter", (text) => {
    expect(refusal(() => decodeFilters(text))).toBe("invalid filter");
  });
  test("unknown names are refused by name", () => {
    const given = decodeQuery(`filters=${encodeURIComponent('{"a":["b"]}')}`);
    expect(refusal(() => filtersValue(given, { accepted: ["label"] }))).toBe("invalid filter 'a'");
    expect(filtersValue(given).get("a")).toEqual(["b"]);
  });

  test("the pattern of names of older clients is one more of its kind", () => {
    const filters = encodeURIComponent('{"reference":["a"],"label":["b"]}');
    const query = decodeQuery(`filter=busy*&filters=${filters}`);
    const old = new Map(Object.entries({ reference: ["a", "busy*"], label: ["b"] }));
    expect(imageFiltersValue(query, "1.40")).toEqual(old);
    expect(imageFiltersValue(query, "1.41")).toEqual(filtersValue(query));
    expect(imageFiltersValue(decodeQuery("filter="), "1.24").size).toBe(0);
    expect(imageFiltersValue(decodeQuery("filter=x"), "1.24").get("reference")).toEqual(["x"]);
  });
  test("the number of values is bounded", () => {
    const many = Array.from({ length: queryValueCountMax + 1 }, (_, index) => `${index}x`);
    expect(refusal(() => decodeFilters(JSON.stringify({ id: many })))).toContain("too many");
  });
});

describe("fuzz", () => {
  test("filters come back from the wire as they were sent", () => {
    const values = fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.dictionary(fc.string(), values), (named) => {
        const filters = new Map(Object.entries(named));
        const sent = decodeQuery(`filters=${encodeURIComponent(encodeFilters(filters))}`);
        const sorted = (map: ReadonlyMap<string, readonly string[]>): unknown =>
          Array.from(map, ([name, members]) => [name, members.toSorted()]);
        expect(sorted(filtersValue(sent))).toEqual(sorted(filters));
      }),
      { numRuns: 300 },
    );
  });
  test("any text is a query or is refused", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (search) => {
        refusal(() => filtersValue(decodeQuery(search)));
        refusal(() => decodeFilters(search));
        refusal(() => timestampValue(query(search), "v"));
      }),
      { numRuns: 500 },
    );
  });
});
