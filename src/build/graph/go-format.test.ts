import { describe, expect, test } from "bun:test";
import { goDuration, goList, goQuoted, goQuotedList, goRune } from "./go-format.ts";

describe("Go's formats", () => {
  test.each([
    ["plain", '"plain"'],
    ['a "b" c', '"a \\"b\\" c"'],
    ["tab\tline\nback\\", '"tab\\tline\\nback\\\\"'],
    ["\u0000\u0002\u007f", '"\\x00\\x02\\x7f"'],
    ["é €", '"é €"'],
    ["\u200b", '"\\u200b"'],
    ["it's", '"it\'s"'],
  ])("goQuoted() writes %p as %p", (text, expected) => {
    expect(goQuoted(text)).toBe(expected);
  });

  test.each([
    [0, "'\\x00'"],
    [2, "'\\x02'"],
    [10, "'\\n'"],
    [39, "'\\''"],
    [65, "'A'"],
    [0xd800, "'\ufffd'"],
  ])("goRune() writes %p as %p", (code, expected) => {
    expect(goRune(code)).toBe(expected);
  });

  test("lists and durations are written as %v", () => {
    expect(goList(["a", "b c"])).toBe("[a b c]");
    expect(goQuotedList([])).toBe("[]");
    expect(goQuotedList(["a", "b c"])).toBe('["a" "b c"]');
    expect(goDuration(90_000_000_000)).toBe("1m30s");
    expect(goDuration(0)).toBe("0s");
  });
});
