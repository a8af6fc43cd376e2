import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "../../oci/digest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { exportLocalCache, importLocalCache, noStores, openLayoutContext } from "./build-stores.ts";
import { bindInLayout, findInLayout } from "./image-layout.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "layout-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const manifest = (name: string) => ({
  mediaType: ociMediaTypes.manifest,
  digest: digestOf(name),
  size: 3,
});

test("a name is found where it was put last, beside the others", () => {
  expect(findInLayout(folder, "latest")).toBeUndefined();
  bindInLayout(folder, { descriptor: manifest("a"), names: [{ tag: "1", name: "x:1" }] });
  bindInLayout(folder, { descriptor: manifest("b"), names: [{ tag: "2" }] });
  bindInLayout(folder, { descriptor: manifest("c"), names: [{ tag: "1" }] });
  expect(findInLayout(folder, "1")?.digest).toBe(digestOf("c"));
  expect(findInLayout(folder, "2")?.digest).toBe(digestOf("b"));
  expect(findInLayout(folder, "x:1")).toBeUndefined();
  expect(findInLayout(folder, "3")).toBeUndefined();
  expect(readdirSync(folder).toSorted()).toEqual(["index.json", "oci-layout"]);
});

test("the only thing of a layout needs no name", () => {
  bindInLayout(folder, { descriptor: manifest("a"), names: [] });
  expect(findInLayout(folder, "any")?.digest).toBe(digestOf("a"));
  bindInLayout(folder, { descriptor: manifest("b"), names: [{ tag: "b" }] });
  expect(findInLayout(folder, "any")).toBeUndefined();
});

test("an index that is none is refused, and left as it is", () => {
  writeFileSync(join(folder, "index.json"), "[]");
  expect(() => findInLayout(folder, "x")).toThrow();
  expect(() => bindInLayout(folder, { descriptor: manifest("a"), names: [] })).toThrow();
  expect(readFileSync(join(folder, "index.json"), "utf8")).toBe("[]");
});

test("contexts name the folder, the tag and the digest", () => {
  bindInLayout(folder, { descriptor: manifest("a"), names: [{ tag: "latest" }] });
  bindInLayout(folder, { descriptor: manifest("b"), names: [{ tag: "v1.2" }] });
  const stores = noStores();
  const given = digestOf("given");
  for (const [value, tag, digest] of [
    [`oci-layout://${folder}`, "latest", digestOf("a")],
    [`oci-layout://${folder}:v1.2`, "v1.2", digestOf("b")],
    [`oci-layout://${folder}:v1.2@${given}`, "v1.2", given],
    [`oci-layout://${folder}@${given}`, "latest", given],
  ] as const) {
    const context = openLayoutContext(value, stores);
    const [, id = ""] = /^oci-layout:\/\/(\w+):/.exec(context) ?? [];
    expect(context).toBe(`oci-layout://${id}:${tag}@${digest}`);
    expect(stores.folders.get(`oci:${id}`)).toEqual({ path: folder, isWritable: false });
  }
  expect(() => openLayoutContext(`oci-layout://${folder}:no`, stores)).toThrow('no tag "no"');
});

test("local caches are offered, and named when they are written", () => {
  const stores = noStores();
  const warnings: string[] = [];
  const to = { stores, warn: (sentence: string) => void warnings.push(sentence) };
  const from = { type: "local", attrs: new Map([["src", folder]]) };
  expect(importLocalCache(from, to)).toBeUndefined();
  expect(warnings).toHaveLength(1);
  exportLocalCache({ type: "local", attrs: new Map([["dest", folder]]) }, stores);
  const made = new Map([["cache.manifest", JSON.stringify(manifest("cache"))]]);
  for (const conclude of stores.conclude) conclude(made);
  expect(importLocalCache(from, to)?.attrs.get("digest")).toBe(digestOf("cache"));
  // What is written to may be read as well, not the other way round.
  expect(stores.folders.get(`local:${folder}`)?.isWritable).toBe(true);
  for (const type of ["src", "dest"]) {
    const none = { type: "local", attrs: new Map<string, string>() };
    const settle = () =>
      type === "src" ? importLocalCache(none, to) : exportLocalCache(none, stores);
    expect(settle).toThrow(`requires ${type}`);
  }
});
