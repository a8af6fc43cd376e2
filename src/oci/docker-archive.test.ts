import { expect, test } from "bun:test";
import { digestOf } from "./digest.ts";
import {
  decodeArchiveManifest,
  decodeRepositories,
  encodeArchiveManifest,
  encodeRepositories,
} from "./docker-archive.ts";

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const image = {
  Config: "blobs/sha256/c",
  RepoTags: ["a:1"],
  Layers: ["blobs/sha256/l", "x/layer.tar"],
};

test("decodeArchiveManifest() reads what encodeArchiveManifest() writes", () => {
  const source = { mediaType: "a/b", digest: digestOf("x"), size: 3 };
  const images = [image, { ...image, LayerSources: { [digestOf("d")]: source } }];
  expect(decodeArchiveManifest(encodeArchiveManifest(images))).toEqual(images);
});

test("decodeArchiveManifest() takes null lists, as Docker writes them for untagged images", () => {
  const decoded = decodeArchiveManifest(bytes([{ Config: "c", RepoTags: null, Layers: null }]));
  expect(decoded).toEqual([{ Config: "c", RepoTags: [], Layers: [] }]);
});

test.each([
  ["an object", {}, "an array"],
  ["a list of texts", ["x"], "manifest.json[0]: an object is wanted"],
  ["no config", [{ Layers: [] }], "Config: missing"],
  ["an absolute path", [{ ...image, Config: "/etc/shadow" }], "Config: not a path in the archive"],
  ["a path that leaves", [{ ...image, Layers: ["a/../../b"] }], "Layers[0]: not a path"],
  ["an empty path", [{ ...image, Layers: [""] }], "Layers[0]: not a path"],
  ["layers that are a text", [{ ...image, Layers: "l" }], "Layers: an array is wanted"],
])("decodeArchiveManifest() refuses %s", (_title, value, sentence) => {
  expect(() => decodeArchiveManifest(bytes(value))).toThrow(sentence);
});

test("repositories come back the same, and wrong ones are refused", () => {
  const repositories = { a: { latest: "id", "1": "id" }, "b/c": { x: "y" } };
  expect(decodeRepositories(encodeRepositories(repositories))).toEqual(repositories);
  expect(() => decodeRepositories(bytes({ a: "x" }))).toThrow(
    "repositories.a: an object is wanted",
  );
  expect(() => decodeRepositories(bytes([]))).toThrow("an object is wanted");
});
