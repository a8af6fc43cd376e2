import { expect, test } from "bun:test";
import fc from "fast-check";
import { escapeControls } from "./terminal-text.ts";

test.each([
  ["plain text, ünïcödé, 容器 🚢", "plain text, ünïcödé, 容器 🚢"],
  ["\u001b[31mred\u001b[0m", "\\x1b[31mred\\x1b[0m"],
  ["\u001b]0;title\u0007", "\\x1b]0;title\\x07"],
  ["a\nb\tc\r", "a\\x0ab\\x09c\\x0d"],
  ["\u009b2J", "\\x9b2J"],
  ["\u007f", "\\x7f"],
  ["safe\u202egnp.exe", "safe\\u202egnp.exe"],
  ["\u2066x\u2069", "\\u2066x\\u2069"],
  ["\ufeffbom", "\\ufeffbom"],
  ["\ud800 half", "\\ud800 half"],
  ["\u{e0041}", "\\u{e0041}"],
  ["👨‍👩‍👧", "👨‍👩‍👧"],
])("escapeControls(%j)", (text, escaped) => {
  expect(escapeControls(text)).toBe(escaped);
});

test("escapeControls() leaves alone what it is told to keep", () => {
  expect(escapeControls("a\n\tb\u001b", { keep: "\n\t" })).toBe("a\n\tb\\x1b");
});

test("escapeControls() leaves no control character in any text", () => {
  const check = fc.property(
    fc.string({ unit: "binary" }),
    // oxlint-disable-next-line no-control-regex -- control characters are the subject
    (text) => !/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(escapeControls(text)),
  );
  fc.assert(check, { seed: 21, numRuns: 500 });
});
