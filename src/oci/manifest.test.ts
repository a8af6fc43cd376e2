import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EngineError } from "../lib/errors.ts";
import { digestOf } from "./digest.ts";
import {
  decodeIndex,
  decodeManifest,
  decodeManifestOrIndex,
  encodeIndex,
  encodeManifest,
  isIndex,
  manifestSizeMaxBytes,
} from "./manifest.ts";
import { dockerMediaTypes, ociMediaTypes } from "./media-types.ts";

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const descriptor = { mediaType: ociMediaTypes.config, digest: digestOf("c"), size: 2 };
const layer = { mediaType: ociMediaTypes.layerGzip, digest: digestOf("l"), size: 9 };
const manifest = {
  schemaVersion: 2,
  mediaType: ociMediaTypes.manifest,
  config: descriptor,
  layers: [layer],
  annotations: { a: "b", __proto__x: "y" },
};
const index = {
  schemaVersion: 2,
  mediaType: ociMediaTypes.index,
  manifests: [
    {
      ...descriptor,
      mediaType: ociMediaTypes.manifest,
      platform: { os: "linux", architecture: "aarch64", variant: "v8" },
    },
  ],
};

test("decodeManifest() reads OCI's and comes back the same", () => {
  const decoded = decodeManifest(bytes(manifest));
  expect(decoded).toEqual(manifest as typeof decoded);
  expect(decodeManifest(encodeManifest(decoded))).toEqual(decoded);
});

test("decodeManifest() tells the media type by the config when it is not said", () => {
  const { mediaType: _mediaType, ...silent } = manifest;
  expect(decodeManifest(bytes(silent)).mediaType).toBe(ociMediaTypes.manifest);
  const docker = { ...silent, config: { ...descriptor, mediaType: dockerMediaTypes.config } };
  expect(decodeManifest(bytes(docker)).mediaType).toBe(dockerMediaTypes.manifest);
});

test("decodeManifest() takes null for missing and ignores what it does not know", () => {
  const decoded = decodeManifest(
    bytes({ ...manifest, annotations: null, subject: null, novel: [1] }),
  );
  expect(decoded.annotations).toBeUndefined();
  expect("novel" in decoded).toBe(false);
});

test("decodeIndex() normalises platforms", () => {
  const decoded = decodeIndex(bytes(index));
  expect(decoded.manifests[0]?.platform).toEqual({ os: "linux", architecture: "arm64" });
  expect(decodeIndex(encodeIndex(decoded))).toEqual(decoded);
});

test("decodeManifestOrIndex() tells the two apart", () => {
  expect(isIndex(decodeManifestOrIndex(bytes(index)))).toBe(true);
  expect(isIndex(decodeManifestOrIndex(bytes(manifest)))).toBe(false);
  expect(isIndex(decodeManifestOrIndex(bytes({ ...index, mediaType: undefined })))).toBe(true);
});

test("an annotation named __proto__ is only an annotation", () => {
  const text = JSON.stringify(manifest).replace("__proto__x", "__proto__");
  const decoded = decodeManifest(Buffer.from(text));
  expect(Object.entries(decoded.annotations ?? {})).toContainEqual(["__proto__", "y"]);
});

describe("decodeManifest() refuses", () => {
  const rows: [string, unknown, string][] = [
    ["no object", [], "an object is wanted"],
    ["null", null, "an object is wanted"],
    ["schema 1", { ...manifest, schemaVersion: 1 }, "schemaVersion: 2 is wanted"],
    ["a text as a version", { ...manifest, schemaVersion: "2" }, "a whole number is wanted"],
    ["no config", { ...manifest, config: undefined }, "config: missing"],
    ["no layers", { ...manifest, layers: null }, "layers: missing"],
    ["layers that are no list", { ...manifest, layers: {} }, "layers: an array is wanted"],
    ["a layer that is no object", { ...manifest, layers: ["x"] }, "layers[0]: an object is wanted"],
    [
      "a negative size",
      { ...manifest, layers: [{ ...layer, size: -1 }] },
      "layers[0].size: negative",
    ],
    ["half a byte", { ...manifest, layers: [{ ...layer, size: 0.5 }] }, "a whole number is wanted"],
    ["a size beyond all", { ...manifest, layers: [{ ...layer, size: 1e300 }] }, "a whole number"],
    [
      "a digest that leaves",
      { ...manifest, config: { ...descriptor, digest: "sha256:../x" } },
      "not a digest",
    ],
    [
      "a media type that is none",
      { ...manifest, config: { ...descriptor, mediaType: "x" } },
      "not a media type",
    ],
    ["an index as well", { ...manifest, manifests: [] }, "a manifest has none"],
    [
      "the media type of an index",
      { ...manifest, mediaType: ociMediaTypes.index },
      "not that of a manifest",
    ],
    ["too many layers", { ...manifest, layers: Array(513).fill(layer) }, "more than 512 layers"],
    ["annotations that are no texts", { ...manifest, annotations: { a: 1 } }, "a string is wanted"],
  ];
  test.each(rows)("%s", (_title, value, sentence) => {
    expect(() => decodeManifest(bytes(value))).toThrow(sentence);
  });

  test("what is no JSON, no UTF-8, too large or too deep", () => {
    expect(() => decodeManifest(Buffer.from("{"))).toThrow("decode manifest: ");
    expect(() => decodeManifest(Buffer.from([0x7b, 0xff, 0x7d]))).toThrow("decode manifest: ");
    expect(() => decodeManifest(Buffer.alloc(manifestSizeMaxBytes + 1))).toThrow("more than");
    expect(() => decodeManifest(Buffer.from("[".repeat(100_000)))).toThrow("nested deeper than 64");
  });
});

describe("decodeIndex() refuses", () => {
  const rows: [string, unknown, string][] = [
    ["a manifest as well", { ...index, layers: [] }, "layers: an index has none"],
    ["a config", { ...index, config: descriptor }, "config: an index has none"],
    ["no manifests", { ...index, manifests: undefined }, "manifests: missing"],
    ["too many", { ...index, manifests: Array(1_025).fill(layer) }, "more than 1024 manifests"],
    [
      "the media type of a manifest",
      { ...index, mediaType: ociMediaTypes.manifest },
      "not that of an index",
    ],
  ];
  test.each(rows)("%s", (_title, value, sentence) => {
    expect(() => decodeIndex(bytes(value))).toThrow(sentence);
  });
});

test("any JSON is decoded or refused as invalid-argument", () => {
  const part = fc.constantFrom<unknown>(
    ...Object.values(manifest),
    null,
    {},
    [],
    "x",
    -1,
    2,
    descriptor,
    [layer],
  );
  const shapes = fc.record({
    schemaVersion: part,
    mediaType: part,
    config: part,
    layers: part,
    annotations: part,
  });
  const check = fc.property(
    fc.oneof(
      shapes,
      fc.json().map((text) => JSON.parse(text)),
    ),
    (value) => {
      try {
        decodeManifestOrIndex(bytes(value));
        return true;
      } catch (error) {
        return error instanceof EngineError && error.kind === "invalid-argument";
      }
    },
  );
  fc.assert(check, { seed: 51, numRuns: 1_000 });
});
