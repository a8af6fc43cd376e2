import { expect, test } from "bun:test";
import { exactSize, limitSize, readAll, toReadableStream, withProgress } from "./stream-limit.ts";

const chunks = (...sizes: number[]): Uint8Array[] => sizes.map((size) => new Uint8Array(size));

test("limitSize() passes all up to the bound", async () => {
  const limit = { sizeMaxBytes: 10, what: "read body" };
  expect((await readAll(limitSize(chunks(4, 6), limit), limit)).length).toBe(10);
});

test("limitSize() refuses the byte after the bound", async () => {
  const limit = { sizeMaxBytes: 10, what: "read body" };
  await expect(readAll(chunks(4, 6, 1), limit)).rejects.toMatchObject({
    kind: "invalid-argument",
    message: "read body: more than 10 bytes",
  });
});

test.each([
  [[3, 3], "expected 10 bytes, got 6"],
  [[6, 6], "expected 10 bytes, got more"],
  [[], "expected 10 bytes, got 0"],
])("exactSize() refuses %p", async (sizes, sentence) => {
  const source = exactSize(chunks(...sizes), { sizeBytes: 10, what: "fetch blob" });
  await expect(Array.fromAsync(source)).rejects.toThrow(`fetch blob: ${sentence}`);
});

test("withProgress() tells what has passed", async () => {
  const seen: number[] = [];
  await Array.fromAsync(withProgress(chunks(1, 2, 3), (bytes) => seen.push(bytes)));
  expect(seen).toEqual([1, 3, 6]);
});

test("toReadableStream() closes its source when it is canceled", async () => {
  let isClosed = false;
  async function* source(): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) yield new Uint8Array(1);
    } finally {
      isClosed = true;
    }
  }
  const reader = toReadableStream(source()).getReader();
  expect((await reader.read()).value).toEqual(new Uint8Array(1));
  await reader.cancel();
  expect(isClosed).toBe(true);
});
