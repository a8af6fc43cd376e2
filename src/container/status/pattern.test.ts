import { describe, expect, test } from "bun:test";
import { findPattern, parsePattern } from "./pattern.ts";

describe("parsePattern()", () => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ["web", "my-web-1", true],
    ["^web$", "web", true],
    ["^web$", "web1", false],
    ["^/?web-[0-9]+$", "/web-12", true],
    ["a|b", "xbx", true],
    ["(foo|bar){2}", "foobar", true],
    ["(foo|bar){2}", "foo", false],
    ["a.c", "abc", true],
    ["a\\.c", "abc", false],
    ["[^a-c]", "abc", false],
    ["[]x]", "]", true],
    ["\\d{2,3}$", "a12", true],
    ["\\w+\\s\\S", "ab c", true],
    ["", "anything", true],
    ["x*?y", "xxy", true],
    ["(?:a)(b)?$", "ab", true],
    ["{", "{", true],
    ["é+", "caféé", true],
  ];
  test.each([...rows])("%j on %j is %p", (pattern, text, expected) => {
    expect(parsePattern(pattern).matches(text)).toBe(expected);
  });

  test.each([
    "[",
    "(",
    "a)",
    "*",
    "a**",
    "[b-a]",
    "(?i)a",
    "\\",
    "a{5,2}",
    "a{101}",
    "\\q",
    "x".repeat(2000),
  ])("refuses %j", (pattern) => {
    expect(findPattern(pattern)).toBeUndefined();
  });

  test("agrees with the language's own on random patterns, and is never slow", () => {
    let seed = 4711;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    const pieces = ["a", "b", "c", ".", "(", ")", "|", "*", "+", "?", "[ab]", "^", "$", "{2}"];
    for (let round = 0; round < 3000; round += 1) {
      const source = Array.from(
        { length: 1 + random(7) },
        () => pieces[random(pieces.length)],
      ).join("");
      const text = Array.from({ length: random(6) }, () => "abc"[random(3)]).join("");
      const ours = findPattern(source);
      let theirs: RegExp | undefined;
      try {
        theirs = new RegExp(source);
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
      }
      if (ours === undefined || theirs === undefined) continue;
      expect([source, text, ours.matches(text)]).toEqual([source, text, theirs.test(text)]);
    }
    const started = performance.now();
    expect(parsePattern("(a+)+(a+)+(a|aa)+$").matches(`${"a".repeat(200)}!`)).toBe(false);
    expect(performance.now() - started).toBeLessThan(500);
  });
});
