import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { BlockingGunzip } from "./blocking-gunzip.ts";
import { decompressAs } from "./compression.ts";

const first = Buffer.from("the first member, which is somewhat longer than the second ".repeat(9));
const second = Buffer.from("second");
const one = gzipSync(first);
const two = Buffer.concat([one, gzipSync(second)]);

/** Unpacks in pieces of `step` bytes into buffers of `room` bytes. */
function unpack(packed: Uint8Array, { step, room }: { step: number; room: number }): Buffer {
  using gunzip = new BlockingGunzip();
  const parts: Buffer[] = [];
  for (let at = 0; at < packed.byteLength; at += step) {
    gunzip.push(packed.subarray(at, at + step));
    for (;;) {
      const out = Buffer.alloc(room);
      const madeBytes = gunzip.pull(out);
      parts.push(out.subarray(0, madeBytes));
      if (madeBytes < room) break;
    }
  }
  gunzip.end();
  return Buffer.concat(parts);
}

async function stream(packed: Uint8Array): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  const limits = { expandedSizeMaxBytes: 1_000_000, expansionRatioMax: 1000 };
  const source = (async function* () {
    yield packed;
  })();
  for await (const part of decompressAs("gzip", { source, limits })) parts.push(part);
  return Buffer.concat(parts);
}

const ways = [
  { step: 1, room: 1 },
  { step: 1, room: 4096 },
  { step: 7, room: 16 },
  { step: 100_000, room: 5 },
  { step: 100_000, room: 100_000 },
];
const flip = (bytes: Uint8Array, at: number): Buffer => {
  const copy = Buffer.from(bytes);
  const index = at < 0 ? copy.length + at : at;
  copy[index] = (copy[index] ?? 0) ^ 0xff;
  return copy;
};

describe("BlockingGunzip", () => {
  const accepted: readonly (readonly [string, Uint8Array, Uint8Array])[] = [
    ["one member", one, first],
    ["two members", two, Buffer.concat([first, second])],
    ["zeros behind the end", Buffer.concat([one, Buffer.alloc(700)]), first],
    ["zeros, and then anything", Buffer.concat([one, Buffer.alloc(7), second]), first],
    ["an empty member", gzipSync(""), Buffer.alloc(0)],
  ];
  test.each(accepted)("unpacks %s as the stream does", async (_name, packed, expected) => {
    for (const way of ways) expect(unpack(packed, way).equals(expected)).toBe(true);
    expect((await stream(packed)).equals(expected)).toBe(true);
  });

  const refused: readonly (readonly [string, Uint8Array])[] = [
    ["nothing", new Uint8Array(0)],
    ["a cut head", one.subarray(0, 5)],
    ["a cut end", one.subarray(0, -3)],
    ["a cut second member", two.subarray(0, -2)],
    ["a wrong checksum", flip(one, -6)],
    ["a wrong length", flip(one, -1)],
    ["a damaged block", flip(one, 14)],
    ["something else behind a member", Buffer.concat([one, second])],
    ["what is no gzip", Buffer.from("no gzip at all")],
  ];
  test.each(refused)("refuses %s with the sentence of the stream", async (_name, packed) => {
    const said = await stream(packed).then(
      () => "nothing",
      (error: unknown) => String(error),
    );
    expect(said).toContain("gzip data");
    for (const way of ways) expect(() => unpack(packed, way)).toThrow(said.replace(/^\w+: /, ""));
  });

  test("unpacks random data in random pieces (seeded)", () => {
    let seed = 20_260_101;
    const next = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let round = 0; round < 50; round += 1) {
      const plain = Buffer.from(Array.from({ length: next(40_000) }, () => next(1 + next(256))));
      const cut = next(plain.length + 1);
      const packed = Buffer.concat([
        gzipSync(plain.subarray(0, cut), { level: next(10) }),
        gzipSync(plain.subarray(cut), { level: next(10) }),
      ]);
      const way = { step: 1 + next(5000), room: 1 + next(9000) };
      expect(unpack(packed, way).equals(plain)).toBe(true);
    }
  });
});
