import { expect, test } from "bun:test";
import { readTar, readTarFiles, tarEntries } from "./tar-entries.ts";
import { encodeTar } from "./tar-writer.ts";

const bytes = encodeTar([
  { header: { name: "a" }, content: "first" },
  { header: { name: "d/", type: "directory" } },
  { header: { name: "b" }, content: "x".repeat(5_000) },
  { header: { name: "c" }, content: "third" },
]);
const limits = { sizeMaxBytes: 1e6 };

function* slices(step: number): Generator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

test("tarEntries() gives each entry with its content, read or not", async () => {
  for (const step of [100, 512, bytes.length]) {
    const seen: string[] = [];
    for await (const { header, content } of tarEntries(slices(step), limits)) {
      if (header.name === "b") {
        for await (const _part of content) break;
        continue;
      }
      const text = Buffer.concat(await Array.fromAsync(content)).toString();
      seen.push(`${header.name}=${text}`);
    }
    expect(seen).toEqual(["a=first", "d/=", "c=third"]);
  }
});

test("tarEntries() reads no further than it is asked, and closes its source", async () => {
  let given = 0;
  let isClosed = false;
  function* source(): Generator<Uint8Array, void> {
    try {
      for (const slice of slices(512)) {
        given += 1;
        yield slice;
      }
    } finally {
      isClosed = true;
    }
  }
  for await (const _entry of tarEntries(source(), limits)) break;
  expect(isClosed).toBe(true);
  // The rest of the entry that was given up is skipped at most.
  expect(given).toBeLessThan(5);
});

test("tarEntries() refuses a cut archive", async () => {
  const reading = Array.fromAsync(tarEntries([bytes.subarray(0, 3_000)], limits));
  await expect(reading).rejects.toThrow("unexpected end of the archive");
});

test("readTarFiles() gives the files it was asked for", async () => {
  const files = await readTarFiles(slices(300), {
    select: (header) => header.name !== "b",
    limits: { ...limits, fileMaxBytes: 100 },
  });
  expect([...files].map(([name, content]) => [name, Buffer.from(content).toString()])).toEqual([
    ["a", "first"],
    ["c", "third"],
  ]);
});

test("readTarFiles() refuses a file that is too large", async () => {
  const reading = readTarFiles(slices(300), {
    select: () => true,
    limits: { ...limits, fileMaxBytes: 100 },
  });
  await expect(reading).rejects.toThrow('tar entry "b": larger than 100 bytes');
});

test("readTar() stops when the signal fires, and passes the handler's failure on", async () => {
  const handler = { entry: () => "skip" as const };
  const signal = AbortSignal.abort();
  await expect(readTar(slices(300), { handler, limits, signal })).rejects.toThrow("canceled");
  const broken = {
    entry(): never {
      throw new RangeError("disk full");
    },
  };
  await expect(readTar(slices(300), { handler: broken, limits })).rejects.toThrow("disk full");
});
