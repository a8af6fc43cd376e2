import { describe, expect, test } from "bun:test";
import { encodeByteString } from "../tar/tar-header.ts";
import { hasWildcard, parseGoPattern, PatternList, unescapePattern } from "./name-pattern.ts";

// Go, path/filepath/match_test.go.
const goMatches: readonly (readonly [string, string, boolean])[] = [
  ["abc", "abc", true],
  ["*", "abc", true],
  ["*c", "abc", true],
  ["a*", "a", true],
  ["a*", "abc", true],
  ["a*", "ab/c", false],
  ["a*/b", "abc/b", true],
  ["a*/b", "a/c/b", false],
  ["a*b*c*d*e*/f", "axbxcxdxe/f", true],
  ["a*b*c*d*e*/f", "axbxcxdxexxx/f", true],
  ["a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false],
  ["a*b*c*d*e*/f", "axbxcxdxexxx/fff", false],
  ["a*b?c*x", "abxbbxdbxebxczzx", true],
  ["a*b?c*x", "abxbbxdbxebxczzy", false],
  ["ab[c]", "abc", true],
  ["ab[b-d]", "abc", true],
  ["ab[e-g]", "abc", false],
  ["ab[^c]", "abc", false],
  ["ab[^b-d]", "abc", false],
  ["ab[^e-g]", "abc", true],
  ["a\\*b", "a*b", true],
  ["a\\*b", "ab", false],
  ["a?b", "a☺b", true],
  ["a[^a]b", "a☺b", true],
  ["a???b", "a☺b", false],
  ["a[^a][^a][^a]b", "a☺b", false],
  ["[a-ζ]*", "α", true],
  ["*[a-ζ]", "A", false],
  ["a?b", "a/b", false],
  ["a*b", "a/b", false],
  ["[\\]a]", "]", true],
  ["[\\-]", "-", true],
  ["[x\\-]", "x", true],
  ["[x\\-]", "-", true],
  ["[x\\-]", "z", false],
  ["[\\-x]", "a", false],
  ["*x", "xxx", true],
  ["**", "a/b", false],
  ["", "", true],
  ["", "x", false],
];
const goErrors = ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "a\\", "[a-b-c]"];

// moby/patternmatcher, patternmatcher_test.go.
const listMatches: readonly (readonly [string, string, boolean])[] = [
  ["**", "file", true],
  ["**", "file/", true],
  ["**/", "file", true],
  ["**", "/", true],
  ["**/", "dir/file", true],
  ["**/**", "dir/file", true],
  ["dir/**", "dir/file", true],
  ["dir/**", "dir/dir2/file", true],
  ["**/dir", "dir", true],
  ["**/dir", "dir/file", false],
  ["**/dir2/*", "dir/dir2/file", true],
  ["**/dir2/*", "dir/dir2/dir2/file", true],
  ["**/dir2/**", "dir/dir2/dir2/file", true],
  ["**file", "file", true],
  ["**file", "dir/file", true],
  ["**/file", "dir/dir/file", true],
  ["**/file*", "dir/dir/file.txt", true],
  ["**/file*txt", "dir/dir/file.txt", true],
  ["**/file*.txt*", "dir/dir/file.txt", true],
  ["**/**/*.txt", "dir/dir/file.txt", true],
  ["**/**/*.txt2", "dir/dir/file.txt", false],
  ["**/*.txt", "file.txt", true],
  ["a**/*.txt", "a/file.txt", true],
  ["a**/*.txt", "a/dir/dir/file.txt", true],
  ["a/*.txt", "a/dir/file.txt", false],
  ["a/**/*.txt", "a/file.txt", true],
  ["a[b-d]e", "ae", false],
  ["a[b-d]e", "ace", true],
  ["a[^b-d]e", "aze", true],
  [".*", ".foo", true],
  [".*", "foo", false],
  ["abc.def", "abcdef", false],
  ["abc?def", "abcZdef", true],
  ["a\\*b", "a*b", true],
  ["**/foo/bar", "dir/foo/bar", true],
  ["**/.foo", "test.foo", false],
  ["a(b)c/def", "a(b)c/def", true],
  ["a.|)$(}+{bc", "a.|)$(}+{bc", true],
  ["dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36-py3-none-any.whl", true],
  ["/foo/./bar/", "foo/bar", true],
];

describe("parseGoPattern()", () => {
  test.each(goMatches)("%p on %p: %p", (pattern, name, isMatch) => {
    const go = parseGoPattern(encodeByteString(pattern));
    expect(go.matches(encodeByteString(name))).toBe(isMatch);
  });

  test.each(goErrors)("refuses %p", (pattern) => {
    expect(() => parseGoPattern(pattern)).toThrow("syntax error in pattern");
  });

  test("needs no more than a moment for the worst of patterns", () => {
    const pattern = parseGoPattern(`${"a*".repeat(100)}b`);
    const startedMs = performance.now();
    expect(pattern.matches("a".repeat(2000))).toBe(false);
    expect(performance.now() - startedMs).toBeLessThan(500);
  });
});

describe("PatternList", () => {
  test.each(listMatches)("%p on %p: %p", (pattern, name, isMatch) => {
    expect(new PatternList([pattern]).match(name).isMatch).toBe(isMatch);
  });

  test.each([
    [["*", "!b"], "b", false],
    [["!b", "*"], "b", true],
    [["a", "!a", "a"], "a", true],
    [["  a  "], "a", true],
    [["", "   "], "a", false],
    [["!/a", "/a"], "a", true],
    [["./a/../b/"], "b", true],
  ] as const)("%p on %p: the last that fits decides", (lines, name, isMatch) => {
    expect(new PatternList(lines).match(name).isMatch).toBe(isMatch);
  });

  test("carries what fits a folder on to all that is in it", () => {
    const list = new PatternList(["a", "!a/keep"]);
    const folder = list.match("a");
    expect(folder.isMatch).toBe(true);
    expect(list.match("a/other", folder.below).isMatch).toBe(true);
    expect(list.match("a/keep", folder.below).isMatch).toBe(false);
    expect(list.match("b/keep").isMatch).toBe(false);
  });

  test.each(["!", "[", "a/[", "\\"])("refuses %p", (line) => {
    expect(() => new PatternList([line])).toThrow("syntax error in pattern");
  });

  test("agrees with a slow reading of the same patterns", () => {
    // Covers star, any, folders, rest and characters; not classes.
    let seed = 20_240_917;
    const random = (count: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return (seed >> 8) % count;
    };
    const pick = (parts: readonly string[], count: number): string =>
      Array.from({ length: random(count) + 1 }, () => parts[random(parts.length)]).join("");
    for (let round = 0; round < 4000; round += 1) {
      const pattern = `x${pick(["a", "b", "/", "*", "?", "**", "**/"], 6)}`;
      if (/\/\/|\/$|\*\*\*/.test(pattern)) continue;
      const name = `x${pick(["a", "b", "/"], 7)}`;
      expect(`${pattern} ${name} ${new PatternList([pattern]).match(name).isMatch}`).toBe(
        `${pattern} ${name} ${slowly(pattern).test(name)}`,
      );
    }
  });
});

function slowly(pattern: string): RegExp {
  const source = pattern.replace(/\*\*\/?$|\*\*\/?|\*|\?/g, (part, at: number) => {
    if (part.startsWith("**")) return at + part.length === pattern.length ? ".*" : "(.*/)?";
    return part === "*" ? "[^/]*" : "[^/]";
  });
  return new RegExp(`^${source}$`);
}

test("hasWildcard() sees what is not escaped", () => {
  expect(["a", "a\\*", "a\\[b"].map(hasWildcard)).toEqual([false, false, false]);
  expect(["*", "a?", "[a]", "\\\\*"].map(hasWildcard)).toEqual([true, true, true, true]);
  expect(unescapePattern("a\\*b\\\\")).toBe("a*b\\");
});
