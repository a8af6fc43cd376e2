import { describe, expect, test } from "bun:test";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import {
  type Compression,
  decompress,
  defaultExpansionLimits,
  detectCompression,
} from "./compression.ts";

const content = Buffer.from(
  Uint8Array.from({ length: 700_000 }, (_, index) => (index * 7919) >> 3),
);
const packed = {
  gzip: gzipSync(content),
  zstd: zstdCompressSync(content, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
} as const;
const kinds = ["gzip", "zstd"] as const;

async function unpack(
  source: Iterable<Uint8Array>,
  limits = defaultExpansionLimits,
): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(decompress(source, limits)));
}

function slices(bytes: Uint8Array, step: number): Uint8Array[] {
  const count = Math.ceil(bytes.length / step);
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * step, (index + 1) * step),
  );
}

test.each<[Compression, number[]]>([
  ["gzip", [0x1f, 0x8b, 8, 0]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["zstd", [0x5a, 0x2a, 0x4d, 0x18]],
  ["bzip2", [0x42, 0x5a, 0x68, 0x39]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
  ["none", [0x1f, 0x8b]],
  ["none", []],
  ["none", [0x61, 0x62]],
])("detectCompression() sees %s", (kind, bytes) => {
  expect(detectCompression(Uint8Array.from(bytes))).toBe(kind);
});

describe.each(kinds)("decompress() of %s", (kind) => {
  const bytes = packed[kind];

  test("gives the content, however it is cut", async () => {
    for (const step of [101, 4_096, bytes.length]) {
      expect((await unpack(slices(bytes, step))).equals(content)).toBe(true);
    }
  });

  test("reads members one after the other as one stream", async () => {
    const twice = Buffer.concat([bytes, bytes]);
    expect((await unpack([twice])).length).toBe(2 * content.length);
    expect((await unpack([bytes, bytes])).length).toBe(2 * content.length);
  });

  test("refuses a stream cut anywhere", async () => {
    for (const size of [10, 12, bytes.length >> 1, bytes.length - 5, bytes.length - 1]) {
      await expect(unpack([bytes.subarray(0, size)])).rejects.toMatchObject({
        kind: "invalid-argument",
        message: `unexpected end of ${kind} data`,
      });
    }
  });

  test("refuses rubbish behind the end", async () => {
    await expect(unpack([bytes, Buffer.from("rubbish")])).rejects.toThrow(`unpack ${kind} data`);
  });

  test("refuses damage", async () => {
    const damaged = Buffer.from(bytes);
    damaged.fill(0xff, damaged.length >> 1, (damaged.length >> 1) + 64);
    await expect(unpack([damaged])).rejects.toMatchObject({ kind: "invalid-argument" });
  });

  test("is bounded by size", async () => {
    const limits = { expandedSizeMaxBytes: 1_000, expansionRatioMax: 1_000 };
    await expect(unpack([bytes], limits)).rejects.toThrow("more than 1000 bytes unpacked");
  });

  test("is bounded by ratio once it is large", async () => {
    const zeros = Buffer.alloc(100 * 1024 ** 2);
    const bomb = kind === "gzip" ? gzipSync(zeros) : zstdCompressSync(zeros);
    const ratioFreeBytes = 64 * 1024 ** 2;
    const limits = { expandedSizeMaxBytes: 1e12, expansionRatioMax: 100, ratioFreeBytes };
    let outBytes = 0;
    const reading = (async () => {
      for await (const chunk of decompress([bomb], limits)) outBytes += chunk.length;
    })();
    await expect(reading).rejects.toThrow("expands more than 100 times");
    expect(outBytes).toBeLessThan(80 * 1024 ** 2);
  });
});

test("decompress() passes unpacked bytes and nothing on as they are", async () => {
  expect((await unpack([content])).equals(content)).toBe(true);
  expect((await unpack([])).length).toBe(0);
  expect((await unpack([Buffer.from("ab"), Buffer.from("c")])).toString()).toBe("abc");
});

describe.each(["bzip2", "xz"] as const)("decompress() of %s, by its program", (program) => {
  const has = Bun.which(program) !== null;
  if (!has) console.warn(`skipped: the program ${program} is not installed`);
  const pack = (bytes: Uint8Array): Buffer =>
    Buffer.from(Bun.spawnSync([program, "-1", "--compress", "--stdout"], { stdin: bytes }).stdout);

  test.skipIf(!has)("gives what was packed, in whatever pieces it comes", async () => {
    const bytes = pack(content);
    expect((await unpack([bytes])).equals(content)).toBe(true);
    expect((await unpack(slices(bytes, 777))).equals(content)).toBe(true);
    expect((await unpack([pack(Buffer.alloc(0))])).length).toBe(0);
  });

  test.skipIf(!has)("refuses what is cut or damaged", async () => {
    const bytes = pack(content);
    const damaged = Buffer.from(bytes).fill(0x5a, 200, 300);
    for (const bad of [bytes.subarray(0, bytes.length - 20), damaged]) {
      await expect(unpack([bad])).rejects.toMatchObject({
        kind: "invalid-argument",
        message: expect.stringContaining(`unpack ${program} data: `),
      });
    }
  });

  test.skipIf(!has)(
    "is bounded in size and ratio",
    async () => {
      const bomb = pack(Buffer.alloc(70 * 1024 ** 2));
      const limits = { expandedSizeMaxBytes: 1_000_000, expansionRatioMax: 600 };
      await expect(unpack([bomb], limits)).rejects.toThrow("more than 1000000 bytes unpacked");
      const strict = { ...defaultExpansionLimits, ratioFreeBytes: 64 * 1024 ** 2 };
      await expect(unpack([bomb], strict)).rejects.toThrow("expands more than 600 times");
    },
    20_000,
  );

  test.skipIf(!has)(
    "tells the failure of its source, and closes it when nobody reads on",
    async () => {
      const bytes = pack(content);
      let isClosed = false;
      async function* source(fails: boolean): AsyncGenerator<Uint8Array, void> {
        try {
          yield bytes.subarray(0, 100);
          if (fails) throw new TypeError("the line went dead");
          for (let at = 100; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
          for (;;) yield bytes;
        } finally {
          isClosed = true;
        }
      }
      await expect(Array.fromAsync(decompress(source(true)))).rejects.toThrow("the line went dead");
      isClosed = false;
      for await (const _chunk of decompress(source(false))) break;
      expect(isClosed).toBe(true);
    },
  );
});

test("decompress() closes its source when the consumer stops", async () => {
  let isClosed = false;
  async function* source(): AsyncGenerator<Uint8Array, void> {
    try {
      yield packed.gzip.subarray(0, 1_000);
      for (let at = 1_000; at < packed.gzip.length; at += 100) {
        yield packed.gzip.subarray(at, at + 100);
      }
    } finally {
      isClosed = true;
    }
  }
  for await (const _chunk of decompress(source())) break;
  expect(isClosed).toBe(true);
});

test("decompress() passes the source's own failure on", async () => {
  async function* source(): AsyncGenerator<Uint8Array, void> {
    yield packed.gzip.subarray(0, 1_000);
    throw new RangeError("connection lost");
  }
  await expect(Array.fromAsync(decompress(source()))).rejects.toThrow("connection lost");
});
