import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { gather } from "./gather.ts";

async function* chunks(...parts: readonly (string | number | Error)[]) {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    if (typeof part === "number") await Bun.sleep(part);
    else yield Buffer.from(part);
  }
}

async function lengths(source: AsyncIterable<Uint8Array>): Promise<number[]> {
  const found: number[] = [];
  for await (const chunk of source) found.push(chunk.byteLength);
  return found;
}

const small = { batchBytes: 10, waitMaxMs: 30 };

describe("gather()", () => {
  test("fills batches across chunks, and passes the rest on at the end", async () => {
    const source = chunks("abcd", "efgh", "ijkl", "m", "", "nopqrstuvwxyz0123456789");
    const batches: string[] = [];
    for await (const chunk of gather(source, small)) batches.push(Buffer.from(chunk).toString());
    expect(batches).toEqual(["abcdefghij", "klmnopqrst", "uvwxyz0123", "456789"]);
  });

  test("gives nothing for nothing", async () => {
    expect(await lengths(gather(chunks(), small))).toEqual([]);
    expect(await lengths(gather(chunks("", ""), small))).toEqual([]);
    expect(await lengths(gather([], small))).toEqual([]);
  });

  test("takes a plain list, too", async () => {
    expect(await lengths(gather([new Uint8Array(25)], small))).toEqual([10, 10, 5]);
  });

  test("does not wait for a source that pauses", async () => {
    expect(await lengths(gather(chunks("abc", 1, "de", 120, "f"), small))).toEqual([5, 1]);
  });

  test("passes on what has come before the source failed, and then its failure", async () => {
    const found: number[] = [];
    const work = async (): Promise<void> => {
      for await (const chunk of gather(chunks("abc", new Error("reset")), small)) {
        found.push(chunk.byteLength);
      }
    };
    await expect(work()).rejects.toThrow("reset");
    expect(found).toEqual([3]);
  });

  test("closes the source when its consumer stops", async () => {
    let isClosed = false;
    const source = (async function* () {
      try {
        for (;;) yield Buffer.alloc(7);
      } finally {
        isClosed = true;
      }
    })();
    for await (const _ of gather(source, small)) break;
    expect(isClosed).toBe(true);
  });

  test("does not wait for a source that pauses when its consumer stops either", async () => {
    const answer = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const source = (async function* () {
      try {
        yield Buffer.alloc(3);
        await answer.promise;
        yield Buffer.alloc(3);
      } finally {
        closed.resolve();
      }
    })();
    for await (const chunk of gather(source, small)) {
      expect(chunk.byteLength).toBe(3);
      break;
    }
    answer.resolve();
    await closed.promise;
  });

  test("passes any bytes on as they are (seeded sizes)", async () => {
    const whole = randomBytes(100_000);
    const source = (async function* () {
      for (let at = 0, step = 1; at < whole.length; at += step, step = (step * 5 + 7) % 3000) {
        yield whole.subarray(at, at + step);
      }
    })();
    const parts: Buffer[] = [];
    for await (const chunk of gather(source, { batchBytes: 4096 })) parts.push(Buffer.from(chunk));
    expect(Buffer.concat(parts).equals(whole)).toBe(true);
  });
});
