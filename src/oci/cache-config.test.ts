import { describe, expect, test } from "bun:test";
import {
  type CacheConfig,
  decodeCacheConfig,
  decodeInlineCache,
  encodeCacheConfig,
  encodeInlineCache,
  inlineCacheField,
} from "./cache-config.ts";
import { digestOf } from "./digest.ts";
import { ociMediaTypes } from "./media-types.ts";

const layer = (name: string) => ({
  blob: digestOf(`blob ${name}`),
  diffId: digestOf(name),
  mediaType: ociMediaTypes.layerGzip,
  sizeBytes: 7,
});
const record = (name: string, number: number) => ({
  digest: digestOf(`key ${name}`),
  layer: number,
  createdNs: "1700000000123456789",
  inputs: [],
});
const cache: CacheConfig = {
  layers: [layer("a"), { ...layer("b"), parent: 0 }],
  records: [record("a", 0), record("b", 1)],
};
const bytesOf = (document: unknown) => Buffer.from(JSON.stringify(document));
const parsed = () => JSON.parse(Buffer.from(encodeCacheConfig(cache)).toString());

describe("cache config", () => {
  test("comes back as it was", () => {
    expect(decodeCacheConfig(encodeCacheConfig(cache))).toEqual(cache);
  });

  test("has the form that other builders read", () => {
    expect(parsed()).toEqual({
      layers: [
        {
          blob: digestOf("blob a"),
          parent: -1,
          annotations: { mediaType: ociMediaTypes.layerGzip, diffID: digestOf("a"), size: 7 },
        },
        {
          blob: digestOf("blob b"),
          parent: 0,
          annotations: { mediaType: ociMediaTypes.layerGzip, diffID: digestOf("b"), size: 7 },
        },
      ],
      records: [
        {
          layers: [{ layer: 0, createdAt: "2023-11-14T22:13:20.123456789Z" }],
          digest: digestOf("key a"),
        },
        {
          layers: [{ layer: 1, createdAt: "2023-11-14T22:13:20.123456789Z" }],
          digest: digestOf("key b"),
        },
      ],
    });
    const linked = { ...cache, records: [record("a", 0), { ...record("b", 1), inputs: [0] }] };
    const document = JSON.parse(Buffer.from(encodeCacheConfig(linked)).toString());
    expect(document.records[1].inputs).toEqual([[{ link: 0 }]]);
  });

  test("of an image comes back, and an image without one has none", () => {
    const field = encodeInlineCache(cache.records);
    const image = { architecture: "amd64", os: "linux", [inlineCacheField]: field };
    expect(decodeInlineCache(bytesOf(image))).toEqual(cache.records);
    expect(decodeInlineCache(Buffer.from("{}"))).toBeUndefined();
    const odd = { [inlineCacheField]: Buffer.from("{}").toString("base64") };
    expect(decodeInlineCache(bytesOf(odd))).toEqual([]);
  });

  test.each(["", "[]", "{", '{"layers":1}', '{"records":[1]}', '{"layers":[{"annotations":[]}]}'])(
    "refuses %j",
    (text) => {
      expect(() => decodeCacheConfig(Buffer.from(text))).toThrow();
    },
  );

  test("keeps the places of layers when one makes no sense", () => {
    for (const annotations of [{}, { diffID: "sha256:x", size: 1 }, { size: -1 }]) {
      const document = parsed();
      document.layers[0].annotations = annotations;
      const left = decodeCacheConfig(bytesOf(document));
      expect(left.layers).toEqual([layer("b")]);
      expect(left.records).toEqual([record("b", 0)]);
    }
  });

  test.each([
    { layers: [{ layer: 2, createdAt: "2020-01-01T00:00:00Z" }] },
    { layers: [{ layer: -1, createdAt: "2020-01-01T00:00:00Z" }] },
    { layers: [] },
    { layers: [{ layer: 0 }] },
    { layers: [{ layer: 0, createdAt: "now" }] },
    { layers: [{ layer: 0, createdAt: "1960-01-01T00:00:00Z" }] },
    { digest: "?" },
  ])("leaves out a record with %j", (change) => {
    const document = parsed();
    Object.assign(document.records[0], change);
    expect(decodeCacheConfig(bytesOf(document)).records).toEqual([record("b", 1)]);
  });

  test("takes no notice of records that go round in a circle", () => {
    const document = parsed();
    document.records[0].inputs = [[{ link: 1 }]];
    document.records[1].inputs = [[{ link: 0 }], [{ link: 99 }]];
    document.layers[0].parent = 1;
    expect(decodeCacheConfig(bytesOf(document)).records).toEqual(cache.records);
  });

  // Covers what JSON can say in these fields; not what is no JSON at all.
  test("of random changes is read or refused, and names no layer that is not there", () => {
    const seed = 20_250_101;
    let state = seed;
    const random = (below: number): number => {
      state = (state * 48_271) % 2_147_483_647;
      return state % below;
    };
    const odd = [
      null,
      -1,
      0,
      1,
      99,
      1e308,
      "",
      "sha256:",
      "x",
      [],
      [null],
      {},
      true,
      digestOf("o"),
    ];
    for (let round = 0; round < 3_000; round += 1) {
      const document = parsed();
      let place = document;
      for (let depth = random(5); depth >= 0; depth -= 1) {
        const keys = Object.keys(place);
        const key = keys[random(Math.max(keys.length, 1))] ?? "records";
        const below = place[key];
        if (depth > 0 && typeof below === "object" && below !== null) place = below;
        else place[key] = odd[random(odd.length)];
      }
      try {
        const { layers, records } = decodeCacheConfig(bytesOf(document));
        for (const { layer } of records)
          expect({ seed, round, has: layer in layers }.has).toBe(true);
      } catch (error) {
        expect({ seed, round, name: String(error) }.name).toMatch(/^EngineError/);
      }
    }
  });
});
