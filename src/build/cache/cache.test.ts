import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContentStore } from "../../content/content-store.ts";
import { openContentStore } from "../../content/local-content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import { createLeases } from "../../metadata/leases.ts";
import {
  cacheConfigType,
  encodeCacheConfig,
  encodeInlineCache,
  inlineCacheField,
} from "../../oci/cache-config.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { encodeIndex, encodeManifest } from "../../oci/manifest.ts";
import { dockerMediaTypes, ociMediaTypes } from "../../oci/media-types.ts";
import type { BuildRequest, CachePlace, ClientContent } from "../build-service.ts";
import type { BuildWork } from "../environment.ts";
import { Progress } from "../progress/progress.ts";
import type { MadeLayer } from "../step.ts";
import { openCacheStore } from "./cache-store.ts";
import { readCache } from "./read-cache.ts";
import type { RemoteCacheOptions } from "./remote-caches.ts";
import { inlineRecords, writeCache } from "./write-cache.ts";

const root = mkdtempSync(join(tmpdir(), "cache-test-"));
const content: ContentStore = await openContentStore({ root, logger: silentLogger });
afterAll(() => rmSync(root, { recursive: true }));

/** A folder of a client's, in memory. */
class MemoryFolder implements ClientContent {
  readonly blobs = new Map<Digest, Uint8Array>();

  async sizeOf(digest: Digest): Promise<number | undefined> {
    return await Promise.resolve(this.blobs.get(digest)?.length);
  }

  async *open(digest: Digest): AsyncGenerator<Uint8Array> {
    const bytes = this.blobs.get(digest);
    if (bytes === undefined) throw new EngineError("not-found", `no ${digest}`);
    yield await Promise.resolve(bytes);
  }

  async put(
    { digest }: Pick<Descriptor, "digest">,
    open: (offset: number) => ReadableStream<Uint8Array>,
  ): Promise<void> {
    this.blobs.set(digest, Buffer.from(await new Response(open(0)).arrayBuffer()));
  }

  add(bytes: Uint8Array, mediaType: string): Descriptor {
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }
}

const documentOf = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));
const chain = (...diffIds: readonly Digest[]): Digest =>
  diffIds.reduce((below, diffId) => digestOf(`${below} ${diffId}`));
const diffs = ["one", "two", "three"].map((name) => digestOf(name));
const [one, two, three] = diffs as [Digest, Digest, Digest];
const made = (diffId: Digest, chainId: Digest): MadeLayer => ({
  diffId,
  chainId,
  tarSizeBytes: 1024,
  sizeBytes: 3,
  createdNs: "1700000000000000001",
});
/** Two steps upon each other, and one beside them. */
const layers = new Map([
  [digestOf("key one"), made(one, one)],
  [digestOf("key two"), made(two, chain(one, two))],
  [digestOf("key three"), made(three, three)],
]);

/** What writes and reads, with a client that has one folder. */
function parts(folder: MemoryFolder): {
  readonly options: RemoteCacheOptions;
  readonly use: BuildWork;
  readonly events: object[];
} {
  const events: object[] = [];
  const parents = new Map([[chain(one, two), one]]);
  const options: Partial<Record<keyof RemoteCacheOptions, unknown>> = {
    content,
    leases: createLeases(),
    logger: silentLogger,
    snapshots: { find: (key: Digest) => ({ parent: parents.get(key) }) },
    images: {
      packLayer: async (
        { diffId }: { diffId: Digest },
        { packing }: { packing: "gzip" | "zstd" | "uncompressed" },
      ) => {
        const { digest, sizeBytes } = await content.put(Buffer.from(`${packing} ${diffId}`));
        const mediaType = {
          gzip: ociMediaTypes.layerGzip,
          zstd: ociMediaTypes.layerZstd,
          uncompressed: ociMediaTypes.layer,
        }[packing];
        return { digest, sizeBytes, mediaType };
      },
    },
  };
  const client = { contentStore: (id: string) => (id === "local:/c" ? folder : undefined) };
  const use = {
    request: { client } as unknown as BuildRequest,
    progress: new Progress((event) => events.push(event)),
    signal: new AbortController().signal,
    leaseId: "lease",
  };
  return { options: options as unknown as RemoteCacheOptions, use, events };
}

const placeOf = (attributes: Readonly<Record<string, string>>): CachePlace => ({
  type: "local",
  mode: "max",
  attributes: { src: "/c", dest: "/c", ...attributes },
});

async function write(folder: MemoryFolder, attributes: Readonly<Record<string, string>> = {}) {
  const { options, use } = parts(folder);
  const metadata = await writeCache(options, use, { place: placeOf(attributes), layers });
  return JSON.parse(metadata["cache.manifest"] ?? "{}") as Descriptor;
}

async function read(folder: MemoryFolder, digest: string) {
  const { options, use } = parts(folder);
  const storeOptions = { ...options, client: use.request.client, signal: use.signal };
  const store = await openCacheStore(storeOptions, placeOf({ digest }), "from");
  return await readCache(store, { content, hold: () => undefined });
}

test.each([
  [{}, ociMediaTypes.manifest, ociMediaTypes.layerGzip],
  [{ compression: "zstd" }, ociMediaTypes.manifest, ociMediaTypes.layerZstd],
  [{ compression: "uncompressed" }, ociMediaTypes.manifest, ociMediaTypes.layer],
  [{ "image-manifest": "false" }, ociMediaTypes.index, ociMediaTypes.layerGzip],
  [{ "oci-mediatypes": "false" }, dockerMediaTypes.manifestList, dockerMediaTypes.layerGzip],
] as const)("a cache written with %p is read again", async (attributes, type, layerType) => {
  const folder = new MemoryFolder();
  const descriptor = await write(folder, attributes);
  expect(descriptor.mediaType).toBe(type);
  const found = await read(folder, descriptor.digest);
  expect([...found.keys()].toSorted()).toEqual([...layers.keys()].toSorted());
  for (const [key, { diffId, createdNs, descriptor: blob, store }] of found) {
    expect({ diffId, createdNs }).toEqual({
      diffId: layers.get(key)?.diffId ?? one,
      createdNs: "1700000000000000001",
    });
    expect(blob.mediaType).toBe(layerType);
    expect((await store.fetch(blob)).digest).toBe(blob.digest);
  }
});

test("layers and records name those that they stand on", async () => {
  const folder = new MemoryFolder();
  const { digest } = await write(folder);
  const manifest = JSON.parse(Buffer.from(folder.blobs.get(digest) ?? []).toString());
  const config = JSON.parse(Buffer.from(folder.blobs.get(manifest.config.digest) ?? []).toString());
  expect(config.layers.map(({ parent }: { parent: number }) => parent)).toEqual([-1, 0, -1]);
  expect(config.records.map(({ inputs }: { inputs: object }) => inputs)).toEqual([
    undefined,
    [[{ link: 0 }]],
    undefined,
  ]);
});

test("the same cache is the same manifest", async () => {
  expect(await write(new MemoryFolder())).toEqual(await write(new MemoryFolder()));
});

test("a failed export is thrown, unless that is to be ignored", async () => {
  const { options, use } = parts(new MemoryFolder());
  const place = placeOf({ dest: "/elsewhere" });
  const failed = writeCache(options, use, { place, layers }).catch((error: unknown) => error);
  expect(await failed).toMatchObject({ kind: "not-found" });
  const level = writeCache(options, use, { place: placeOf({ "compression-level": "9" }), layers });
  await expect(level).rejects.toThrow("compression-level is not supported");
  const ignoring = placeOf({ dest: "/elsewhere", "ignore-error": "true" });
  expect(await writeCache(options, use, { place: ignoring, layers })).toEqual({});
});

test("an image tells the keys of its own layers", () => {
  const imageLayers = [
    { chainId: digestOf("base") },
    { chainId: one },
    { chainId: chain(one, two) },
  ];
  expect(inlineRecords(imageLayers, layers)).toEqual([
    { digest: digestOf("key one"), layer: 1, createdNs: "1700000000000000001", inputs: [] },
    { digest: digestOf("key two"), layer: 2, createdNs: "1700000000000000001", inputs: [] },
  ]);
});

/** An image with records about its layers. */
function addImage(folder: MemoryFolder, records: readonly object[] | undefined): Descriptor {
  const config = {
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [one, two] },
    ...(records === undefined ? {} : { [inlineCacheField]: encodeInlineCache(records as never) }),
  };
  return folder.add(
    encodeManifest({
      schemaVersion: 2,
      mediaType: ociMediaTypes.manifest,
      config: folder.add(documentOf(config), ociMediaTypes.config),
      layers: [
        folder.add(Buffer.from("blob one"), ociMediaTypes.layerGzip),
        folder.add(Buffer.from("blob two"), "application/vnd.example"),
      ],
    }),
    ociMediaTypes.manifest,
  );
}

const record = (name: string, layer: number) => ({
  digest: digestOf(name),
  layer,
  createdNs: "1",
  inputs: [],
});

test("an image without a cache offers nothing, one with it what can be unpacked of its own", async () => {
  const folder = new MemoryFolder();
  const plain = addImage(folder, undefined);
  expect((await read(folder, plain.digest)).size).toBe(0);
  const image = addImage(folder, [record("a", 0), record("b", 1), record("c", 7)]);
  const found = await read(folder, image.digest);
  expect([...found.keys()]).toEqual([digestOf("a")]);
  expect(found.get(digestOf("a"))?.diffId).toBe(one);
  const attestation = folder.add(documentOf({}), ociMediaTypes.manifest);
  const index = encodeIndex({
    schemaVersion: 2,
    mediaType: ociMediaTypes.index,
    manifests: [
      image,
      { ...attestation, platform: { os: "unknown", architecture: "unknown" } },
      plain,
    ],
  });
  const { digest } = folder.add(index, ociMediaTypes.index);
  expect([...(await read(folder, digest)).keys()]).toEqual([digestOf("a")]);
});

test("blobs that a manifest does not name are not believed to be there", async () => {
  const folder = new MemoryFolder();
  const blob = folder.add(Buffer.from("unnamed"), ociMediaTypes.layerGzip);
  const layer = { blob: blob.digest, diffId: one, mediaType: blob.mediaType, sizeBytes: 7 };
  const config = encodeCacheConfig({ layers: [layer], records: [record("a", 0)] });
  const manifest = encodeManifest({
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: folder.add(config, cacheConfigType),
    layers: [],
  });
  const { digest } = folder.add(manifest, ociMediaTypes.manifest);
  expect((await read(folder, digest)).size).toBe(0);
});

test("documents that lie about themselves, or are too large, are refused", async () => {
  const folder = new MemoryFolder();
  const { digest } = await write(folder);
  const bytes = folder.blobs.get(digest) ?? new Uint8Array();
  folder.blobs.set(digest, Buffer.concat([bytes, Buffer.from(" ")]));
  const lying = read(folder, digest).catch((error: unknown) => error);
  expect(await lying).toMatchObject({ kind: "data-loss" });
  const huge = encodeManifest({
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: { mediaType: cacheConfigType, digest: one, size: 1e12 },
    layers: [],
  });
  const tooLarge = folder.add(huge, ociMediaTypes.manifest);
  const refused = read(folder, tooLarge.digest).catch((error: unknown) => error);
  expect(await refused).toMatchObject({ kind: "invalid-argument" });
  for (const text of ["", "[]", "{}", '{"manifests":1}']) {
    const { digest: odd } = folder.add(Buffer.from(text), ociMediaTypes.manifest);
    expect(await read(folder, odd).catch((error: unknown) => error)).toBeInstanceOf(EngineError);
  }
});

test("a place needs a name", async () => {
  const { options, use } = parts(new MemoryFolder());
  const storeOptions = { ...options, client: use.request.client, signal: use.signal };
  const open = async (place: CachePlace, role: "from" | "to"): Promise<unknown> =>
    await openCacheStore(storeOptions, place, role).catch((error: unknown) => String(error));
  const none = { mode: "min", attributes: {} } as const;
  expect(await open({ type: "registry", ...none }, "from")).toContain(
    "registry cache requires ref",
  );
  expect(await open({ type: "local", ...none }, "from")).toContain("importer requires src");
  expect(await open({ type: "local", ...none }, "to")).toContain("exporter requires dest");
});
