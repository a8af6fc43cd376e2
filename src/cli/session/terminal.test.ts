import { describe, expect, test } from "bun:test";
import { DetachWatch, parseDetachKeys } from "./terminal.ts";

test.each([
  ["", [16, 17]],
  ["ctrl-p,ctrl-q", [16, 17]],
  ["ctrl-@", [0]],
  ["ctrl-[,x", [27, 120]],
  ["a", [97]],
  ["ctrl-1", [16, 17]],
  ["nonsense", [16, 17]],
] as const)("parseDetachKeys(%j)", (text, bytes) => {
  expect([...parseDetachKeys(text)]).toEqual([...bytes]);
});

describe("DetachWatch", () => {
  const type = (...chunks: readonly string[]): { sent: string; detached: boolean } => {
    const watch = new DetachWatch(Uint8Array.of(16, 17));
    let sent = "";
    for (const chunk of chunks) {
      const { send, isDetach } = watch.push(Buffer.from(chunk));
      sent += Buffer.from(send).toString();
      if (isDetach) return { sent, detached: true };
    }
    return { sent, detached: false };
  };
  test.each([
    [["abc"], "abc", false],
    [["ab\x10\x11cd"], "ab", true],
    [["ab\x10", "\x11cd"], "ab", true],
    [["\x10a"], "\x10a", false],
    [["\x10\x10\x11"], "\x10", true],
    [["a\x11\x10"], "a\x11", false],
  ] as const)("%j", (chunks, sent, detached) => {
    expect(type(...chunks)).toEqual({ sent, detached });
  });
});
