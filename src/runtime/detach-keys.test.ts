import { expect, test } from "bun:test";
import { DetachMatcher, detachKeysDefault, parseDetachKeys } from "./detach-keys.ts";

for (const [text, keys] of [
  ["ctrl-p,ctrl-q", [16, 17]],
  ["ctrl-P", [16]],
  ["a", [97]],
  ["ctrl-a,a", [1, 97]],
  ["ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", [0, 27, 28, 29, 30, 31]],
  ["", []],
] as const) {
  test(`parseDetachKeys() reads ${JSON.stringify(text)}`, () => {
    expect(parseDetachKeys(text)).toEqual([...keys]);
  });
}

for (const text of ["ctrl-", "ctrl-1", "ab", "ctrl-ab", "a,,b", "ctrl-é", "é"]) {
  test(`parseDetachKeys() refuses ${JSON.stringify(text)}`, () => {
    expect(() => parseDetachKeys(text)).toThrow("Invalid detach keys");
  });
}

function typed(keys: readonly number[], chunks: readonly string[]): [string, boolean] {
  const matcher = new DetachMatcher(keys);
  let passed = "";
  for (const chunk of chunks) {
    const { pass, isDetached } = matcher.push(Buffer.from(chunk, "latin1"));
    passed += Buffer.from(pass).toString("latin1");
    if (isDetached) return [passed, true];
  }
  return [passed, false];
}

for (const [chunks, passed, isDetached] of [
  [["abc"], "abc", false],
  [["a\u0010\u0011b"], "a", true],
  [["a\u0010", "\u0011"], "a", true],
  [["\u0010x"], "\u0010x", false],
  [["\u0010", "x"], "\u0010x", false],
  [["\u0010\u0010\u0011"], "\u0010", true],
  [["\u0010"], "", false],
] as const) {
  test(`the default keys in ${JSON.stringify(chunks)}`, () => {
    expect(typed(detachKeysDefault, chunks)).toEqual([passed, isDetached]);
  });
}

test("keys that repeat themselves are found after a false begin", () => {
  const keys = parseDetachKeys("a,a,b");
  expect(typed(keys, ["aaab"])).toEqual(["a", true]);
  expect(typed(keys, ["aaxaab"])).toEqual(["aax", true]);
});

test("no keys: everything passes", () => {
  expect(typed([], ["\u0010\u0011"])).toEqual(["\u0010\u0011", false]);
});
