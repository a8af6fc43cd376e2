import { describe, expect, test } from "bun:test";
import { EngineError } from "../errors.ts";
import ignores from "../../../test/fixtures/dockerfile/ignores.json" with { type: "json" };
import { createMatcher, matchIgnore, parseIgnore } from "./ignore-patterns.ts";

/** Pattern, path, whether it is ignored: moby/patternmatcher's own table, and more. */
const table: readonly (readonly [string, string, boolean])[] = [
  ["**", "file", true],
  ["**", "file/", true],
  ["**/", "file", true],
  ["**/", "dir/file", true],
  ["**/**", "dir/file", true],
  ["dir/**", "dir/file", true],
  ["dir/**", "dir/dir2/file", true],
  ["**/dir", "dir", true],
  ["**/dir", "dir/file", true],
  ["**/dir2/*", "dir/dir2/file", true],
  ["**/dir2/**", "dir/dir2/dir3/file", true],
  ["**file", "file", true],
  ["**file", "dir/file", true],
  ["**file", "dir/afile", true],
  ["**file*", "dir/afile", false],
  ["**/file", "dir/dir/file", true],
  ["**/file*txt", "dir/dir/file.txt", true],
  ["**/file*.txt*", "dir/dir/file.txt", true],
  ["**/**/*.txt", "dir/dir/file.txt", true],
  ["**/**/*.txt2", "dir/dir/file.txt", false],
  ["**/*.txt", "file.txt", true],
  ["a**/*.txt", "a/file.txt", true],
  ["a**/*.txt", "a/dir/dir/file.txt", true],
  ["a/*.txt", "a/dir/file.txt", false],
  ["a/*.txt", "a/file.txt", true],
  ["a/*.txt**", "a/file.txt", true],
  ["a[b-d]e", "ae", false],
  ["a[b-d]e", "ace", true],
  ["a[^b-d]e", "aze", true],
  [".*", ".foo", true],
  [".*", "foo", false],
  ["abc.def", "abcZdef", false],
  ["abc?def", "abcZdef", true],
  ["abc?def", "abc/def", false],
  ["**/foo/bar", "dir/dir2/foo/bar", true],
  ["abc/**", "abc", false],
  ["abc/**", "abc/def/ghi", true],
  ["**/.foo", "bar.foo", false],
  ["a(b)c/def", "a(b)c/def", true],
  ["a.|)$(}+{bc", "a.|)$(}+{bc", true],
  ["dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true],
  ["a\\*b", "a*b", true],
  ["a\\*b", "axb", false],
  ["a\\\\", "a\\", true],
  ["*", "abc", true],
  ["*", "a/b", true],
  ["a*/b", "a/c/b", false],
  ["a*b*c*d*e*/f", "axbxcxdxexxx/f", true],
  ["a*b?c*x", "abxbbxdbxebxczzy", false],
  ["a[^a]b", "a☺b", true],
  ["[a-ζ]*", "α", true],
  ["[\\]a]", "]", true],
  ["[x\\-]", "-", true],
  ["a?b", "a☺b", true],
  ["node_modules", "node_modules/x/y", true],
  ["node_modules", "a/node_modules/x", false],
  ["./a/../b", "b/c", true],
  ["a/", "a", true],
  ["A", "a", false],
  [".", "a", false],
  ["*", ".", false],
];

describe("matchIgnore() follows Docker's pattern rules", () => {
  for (const [pattern, path, isIgnored] of table) {
    test(`${pattern} ${isIgnored ? "ignores" : "leaves"} ${path}`, () => {
      expect(matchIgnore([pattern], path)).toBe(isIgnored);
    });
  }
});

const several: readonly (readonly [readonly string[], string, boolean])[] = [
  [["!fileutils.go", "*.go"], "fileutils.go", true],
  [["*.go", "!fileutils.go"], "fileutils.go", false],
  [["docs", "!docs/README.md"], "docs/README.md", false],
  [["docs", "!docs/README.md"], "docs/other", true],
  [["docs/", "!docs/README.md"], "docs/README.md", false],
  [["docs/*", "!docs/README.md"], "docs/README.md", false],
  [["**", "!util/docker/web"], "util/docker/web/foo", false],
  [["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true],
  [["**", "!dist/*.whl"], "dist/a.whl", false],
  [["*", "!*.md", "README-secret.md"], "README-secret.md", true],
  [[], "a", false],
  [["", "  "], "a", false],
];

describe("matchIgnore() lets the last matching pattern decide", () => {
  for (const [patterns, path, isIgnored] of several) {
    test(`[${patterns.join(", ")}] ${isIgnored ? "ignores" : "leaves"} ${path}`, () => {
      expect(matchIgnore(patterns, path)).toBe(isIgnored);
    });
  }
});

describe("createMatcher() refuses what is no pattern", () => {
  const bad = ["[", "[^", "[^bc", "a[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "\\", "!", "!["];
  for (const pattern of [...bad, `${"a".repeat(20_000)}`]) {
    test(pattern.slice(0, 20), () => {
      expect(() => createMatcher([pattern])).toThrow(EngineError);
    });
  }

  test("too many patterns", () => {
    expect(() => createMatcher(Array.from({ length: 10_001 }, () => "a"))).toThrow(EngineError);
  });
});

describe("parseIgnore() reads a file as Docker does", () => {
  const files: readonly (readonly [string, readonly string[]])[] = [
    ["a\nb\n", ["a", "b"]],
    ["# comment\na\n", ["a"]],
    [" # no comment\n", ["# no comment"]],
    ["\ufeffa\n", ["a"]],
    ["\r\n a \r\n\r\n", ["a"]],
    ["/a/\n./b//c\n", ["a", "b/c"]],
    ["! /a\n!\n", ["!a", "!"]],
    ["/\n.\n", ["/", "."]],
    ["**/x\n", ["**/x"]],
    ["", []],
  ];
  for (const [text, patterns] of files) {
    test(JSON.stringify(text), () => {
      expect(parseIgnore(text)).toEqual(patterns);
    });
  }

  test("a file of two million characters is refused", () => {
    expect(() => parseIgnore("a\n".repeat(1_000_000))).toThrow("at most");
  });
});

interface Recorded {
  readonly name: string;
  readonly text: string;
  readonly left?: readonly string[];
  readonly failure?: string;
}

describe("what is left of a context is what Docker 28.5 leaves", () => {
  const all = (ignores as readonly Recorded[]).find(({ text }) => text === "")?.left ?? [];
  const found = (text: string): readonly string[] => {
    const matcher = createMatcher(parseIgnore(text));
    return all.filter((path) => !matcher.isIgnored(path)).toSorted();
  };
  for (const recorded of ignores as readonly Recorded[]) {
    test(recorded.name, () => {
      if (recorded.left === undefined) expect(() => found(recorded.text)).toThrow(EngineError);
      else expect(found(recorded.text)).toEqual([...recorded.left].toSorted());
    });
  }
});

describe("isIgnoredWhole() tells whether a folder may be passed over", () => {
  const folders: readonly (readonly [readonly string[], string, boolean])[] = [
    [["a"], "a", true],
    [["a"], "b", false],
    [["a", "!b"], "a", true],
    [["a", "!a/b/c"], "a", false],
    [["a", "!a/b/c"], "a/b", false],
    [["a", "!a/b/c"], "a/d", true],
    [["a", "!*.md"], "a", false],
    [["a", "!c/**/*.md"], "a", true],
    [["a", "!**/*.md"], "a", false],
    [["**", "!src/x*"], "src", false],
    [["**", "!src/x*"], "lib", true],
    [["**/node_modules"], "x/node_modules", true],
  ];
  for (const [patterns, folder, isWhole] of folders) {
    test(`[${patterns.join(", ")}] ${folder}: ${isWhole}`, () => {
      expect(createMatcher(patterns).isIgnoredWhole(folder)).toBe(isWhole);
    });
  }
});

test("a folder that is passed over holds no path that is wanted", () => {
  const names = ["a", "b", "ab", ".x"];
  let state = 7;
  const next = (bound: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 16) % bound;
  };
  const pick = (from: readonly string[]): string => from[next(from.length)] ?? "";
  const path = (): string =>
    Array.from({ length: 1 + next(3) }, () => pick(["*", "**", "?b", ...names])).join("/");
  for (let round = 0; round < 2_000; round += 1) {
    const patterns = Array.from({ length: 3 }, () => `${next(3) === 0 ? "!" : ""}${path()}`);
    const matcher = createMatcher(patterns);
    const folder = `${pick(names)}/${pick(names)}`;
    const inside = `${folder}/${pick(names)}/${pick(names)}`;
    if (!matcher.isIgnoredWhole(folder)) continue;
    expect([patterns, inside, matcher.isIgnored(inside)]).toEqual([patterns, inside, true]);
  }
});

test("patterns made to be slow are not", () => {
  const start = performance.now();
  const path = `${"a".repeat(4_000)}/${"a".repeat(90)}b`;
  for (const pattern of [`${"*a".repeat(200)}c`, "**/".repeat(300), `${"a*".repeat(300)}c`]) {
    matchIgnore([pattern], path);
  }
  expect(performance.now() - start).toBeLessThan(10_000);
}, 20_000);
