import { describe, expect, test } from "bun:test";
import {
  type CacheLayer,
  decodeCacheConfig,
  decodeInlineCache,
  encodeCacheConfig,
  inlineCacheField,
} from "./cache-config.ts";
import { digestOf } from "./digest.ts";

const layer = (name: string, more: Partial<CacheLayer> = {}): CacheLayer => ({
  blob: digestOf(`blob ${name}`),
  diffId: digestOf(name),
  tarSizeBytes: 2048,
  sizeBytes: 7,
  createdNs: "1700000000000000000",
  ...more,
});

describe("cache config", () => {
  test("comes back as it was", () => {
    const config = new Map([
      [digestOf("key a"), layer("a")],
      [digestOf("key b"), layer("b", { epochS: 0 })],
    ]);
    expect(decodeCacheConfig(encodeCacheConfig(config))).toEqual(config);
  });

  test("an image's own comes back, and an image without one has none", () => {
    const config = new Map([[digestOf("key"), layer("a")]]);
    const field = Buffer.from(encodeCacheConfig(config)).toString("base64");
    const image = { architecture: "amd64", os: "linux", [inlineCacheField]: field };
    expect(decodeInlineCache(Buffer.from(JSON.stringify(image)))).toEqual(config);
    expect(decodeInlineCache(Buffer.from("{}"))).toBeUndefined();
  });

  test("leaves out records of other builders", () => {
    const document = {
      layers: [{ blob: digestOf("x"), parent: -1, annotations: {} }],
      records: [
        { digest: digestOf("k"), layers: [{ layer: 0, createdAt: "2020" }] },
        { digest: "?" },
      ],
    };
    expect(decodeCacheConfig(Buffer.from(JSON.stringify(document)))).toEqual(new Map());
  });

  test.each(["", "[]", "{", '{"layers":1}', '{"records":[1]}', '{"layers":[{"annotations":[]}]}'])(
    "refuses %j",
    (text) => {
      expect(() => decodeCacheConfig(Buffer.from(text))).toThrow();
    },
  );

  test.each([
    { "tug.size": "-1" },
    { "tug.tar-size": "1e9" },
    { "tug.created": "now" },
    { "containerd.io/uncompressed": "sha256:x" },
  ])("leaves out a layer with %j", (annotation) => {
    const bytes = encodeCacheConfig(new Map([[digestOf("key"), layer("a")]]));
    const document = JSON.parse(Buffer.from(bytes).toString());
    Object.assign(document.layers[0].annotations, annotation);
    expect(decodeCacheConfig(Buffer.from(JSON.stringify(document))).size).toBe(0);
  });
});
