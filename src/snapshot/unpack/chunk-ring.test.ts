import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { Worker } from "node:worker_threads";
import { ChunkTaker, ChunkWriter } from "./_chunk-ring.ts";

/** A writer in this thread, whose chunks are taken when it asks for more room than there is. */
function paired(take: (bytes: Uint8Array) => void): { writer: ChunkWriter; taker: ChunkTaker } {
  const taker = new ChunkTaker();
  const writer = new ChunkWriter(taker.ring, {
    give: (chunk) => queueMicrotask(() => taker.take(chunk.byteLength, take)),
  });
  return { writer, taker };
}

test("bytes come out as they went in, whatever their pieces", async () => {
  const whole = randomBytes(9_000_000);
  const parts: Buffer[] = [];
  const { writer } = paired((bytes) => parts.push(Buffer.from(bytes)));
  for (let at = 0, step = 1; at < whole.length; at += step, step = (step * 7 + 3) % 500_000) {
    writer.write(whole.subarray(at, at + step));
    await Promise.resolve();
  }
  writer.flush();
  await Promise.resolve();
  expect(Buffer.concat(parts).equals(whole)).toBe(true);
});

test("a part of a slot is given away by flush() alone, and an empty one never", async () => {
  const sizes: number[] = [];
  const { writer } = paired((bytes) => sizes.push(bytes.byteLength));
  writer.flush();
  writer.write(Buffer.from("abc"));
  await Promise.resolve();
  expect(sizes).toEqual([]);
  writer.flush();
  writer.flush();
  await Promise.resolve();
  expect(sizes).toEqual([3]);
});

test("a writer that waits for room gives up when it is stopped", async () => {
  const taker = new ChunkTaker();
  const program = `
    import { parentPort, workerData } from "node:worker_threads";
    import { ChunkWriter } from ${JSON.stringify(new URL("./_chunk-ring.ts", import.meta.url).pathname)};
    let count = 0;
    const writer = new ChunkWriter(workerData, { give: () => void (count += 1) });
    parentPort.postMessage("began");
    writer.write(new Uint8Array(100_000_000));
    parentPort.postMessage(count);
  `;
  const url = new URL(`data:text/javascript,${encodeURIComponent(program)}`);
  const worker = new Worker(url, { workerData: taker.ring });
  const said = new Promise<number>((resolve, reject) => {
    worker.on("message", (message: unknown) => {
      if (typeof message === "number") resolve(message);
      else setTimeout(() => taker.stop(), 100);
    });
    worker.on("error", reject);
  });
  expect(await said).toBe(16);
  await worker.terminate();
});
