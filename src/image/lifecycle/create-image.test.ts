import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import type { ContentStore } from "../../content/content-store.ts";
import { openContentStore } from "../../content/local-content-store.ts";
import { createEventBus } from "../../event/journal-event-bus.ts";
import { isKind } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import { readAll, toReadableStream } from "../../lib/stream-limit.ts";
import { readTarFiles } from "../../lib/tar/tar-entries.ts";
import { encodeTar } from "../../lib/tar/tar-writer.ts";
import { createLeases, type Leases } from "../../metadata/leases.ts";
import type { Metadata } from "../../metadata/metadata.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { chainId, digestOf } from "../../oci/digest.ts";
import type { ImageConfig } from "../../oci/image-config.ts";
import { decodeIndex } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { parseReference } from "../../oci/reference.ts";
import { openSnapshotter } from "../../snapshot/choose-snapshotter.ts";
import { openTestUnpacker } from "../test-images.ts";
import { hashDiff } from "../../snapshot/diff/diff.ts";
import type { Snapshotter } from "../../snapshot/snapshotter.ts";
import { withMount } from "../../snapshot/snapshotter.suite.ts";
import type { CreatedImage, ImageLayers, NewLayer } from "../image-service.ts";
import { openImageService, type OpenedImageService } from "../local-image-service.ts";

const isRoot = process.getuid?.() === 0;
const limit = { sizeMaxBytes: 1024 ** 2, what: "test" };

const baseTar = encodeTar([
  { header: { name: "bin/", type: "directory", mode: 0o755 } },
  { header: { name: "bin/hello", mode: 0o755 }, content: "#!/bin/sh\n" },
]);

describe.skipIf(!isRoot)("create() (needs root)", () => {
  let root: string;
  let metadata: Metadata;
  let content: ContentStore;
  let snapshots: Snapshotter;
  let images: OpenedImageService;
  let leases: Leases;

  beforeEach(async () => {
    root = mkdtempSync("/tmp/tug-create-image-");
    await open();
    await images.import(toReadableStream([baseTar]), {
      repo: "base",
      progress: () => undefined,
    });
  });
  afterEach(() => {
    metadata[Symbol.dispose]();
    rmSync(root, { recursive: true, force: true });
  });

  async function open(): Promise<void> {
    metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
    content = await openContentStore({ root: join(root, "content"), logger: silentLogger });
    snapshots = openSnapshotter({ dataRoot: root, metadata, logger: silentLogger });
    leases = createLeases();
    images = openImageService({
      content,
      snapshots,
      unpacker: openTestUnpacker(),
      metadata,
      leases,
      events: createEventBus(),
      logger: silentLogger,
    });
  }

  /** Commits a snapshot on the base, as a build step does. */
  async function step(base: ImageLayers, epochS?: number): Promise<NewLayer> {
    const key = `step-${Math.random()}`;
    const parent = base.chainId ?? "";
    withMount(await snapshots.prepare(key, { parent }), (folder) => {
      writeFileSync(join(folder, "bin/new"), "made here\n");
      chmodSync(join(folder, "bin/hello"), 0o700);
    });
    const epoch = epochS === undefined ? {} : { epochS };
    const { diffId, tarSizeBytes, sizeBytes } = hashDiff({ ...snapshots.layersOf(key), ...epoch });
    const diffIds = [...base.layers.map((layer) => layer.diffId), diffId];
    const name = chainId(diffIds);
    await snapshots.commit(key, { name, durable: false });
    return { chainId: name, diffId, tarSizeBytes, sizeBytes, ...epoch };
  }

  const configOf = (base: ImageLayers, layer: NewLayer): ImageConfig => ({
    ...base.config,
    rootfs: { type: "layers", diff_ids: [...base.config.rootfs.diff_ids, layer.diffId] },
    history: [...(base.config.history ?? []), { created_by: "RUN make" }],
  });

  async function createOn(reference: string, epochS?: number): Promise<string> {
    const base = await images.layersOf(reference);
    const layer = await step(base, epochS);
    const { id } = await images.create({
      config: configOf(base, layer),
      layers: [...base.layers, layer],
      names: [parseReference("made"), parseReference("made:2")],
    });
    return id;
  }

  const saved = async (): Promise<ReadonlyMap<string, Uint8Array>> =>
    await readTarFiles(await images.save(["made"]), {
      select: () => true,
      limits: { sizeMaxBytes: 1e7, fileMaxBytes: 1e6 },
    });

  test("makes an image that is saved with bytes of the digest it names", async () => {
    const id = await createOn("base");
    expect((await images.resolve("made:2")).id).toBe(id as never);
    expect((await images.inspect("made")).RepoTags).toEqual(["made:2", "made:latest"]);
    const { layers } = await images.layersOf("made");
    const top = layers[1];
    if (top === undefined) throw new Error("no top layer");
    expect(content.find(top.digest)).toBeUndefined();
    const bytes = await readAll(images.openLayer(top), limit);
    expect([bytes.length, digestOf(bytes)]).toEqual([top.sizeBytes, top.digest]);
    const files = await saved();
    expect(digestOf(files.get(`blobs/sha256/${top.digest.slice(7)}`) ?? new Uint8Array())).toBe(
      top.digest,
    );
  });

  test("gives no image a name with a digest", async () => {
    const base = await images.layersOf("base");
    const layer = await step(base);
    const name = parseReference(`trusted/app@${digestOf("of another image")}`);
    const made = images.create({
      config: configOf(base, layer),
      layers: [...base.layers, layer],
      names: [name],
    });
    await expect(made).rejects.toThrow("refusing to create a tag with a digest reference");
    const { id } = await images.resolve("base");
    await expect(images.createIndex({ images: [id], names: [name] })).rejects.toThrow("refusing");
  });

  test("an epoch it was hashed with is kept for making the bytes", async () => {
    await createOn("base", 1_000_000);
    const top = (await images.layersOf("made")).layers.at(-1);
    if (top === undefined) throw new Error("no top layer");
    expect(digestOf(await readAll(images.openLayer(top), limit))).toBe(top.digest);
  });

  test("survives a restart and the collector, and goes with its last name", async () => {
    await createOn("base");
    const { layers } = await images.layersOf("made");
    metadata[Symbol.dispose]();
    await open();
    await images.recover();
    expect((await images.layersOf("made")).layers).toEqual(layers);
    await images.remove("base", {});
    expect((await saved()).size).toBeGreaterThan(4);
    await images.remove("made:2", {});
    await images.remove("made", {});
    expect(snapshots.list()).toEqual([]);
    expect(await content.list()).toEqual([]);
  });

  test("what it saves, another engine loads as the same image", async () => {
    const id = await createOn("base");
    const archive = await readAll(await images.save(["made"]), {
      sizeMaxBytes: 1e7,
      what: "archive",
    });
    await images.remove(id, { force: true });
    await images.remove("base", {});
    await images.load(toReadableStream([archive]), { progress: () => undefined });
    expect((await images.resolve("made")).id).toBe(id as never);
    expect((await images.layersOf("made")).layers.at(-1)?.fromSnapshot).toBeUndefined();
  });

  test("a snapshot that was changed under it is data loss, not other bytes", async () => {
    await createOn("base");
    const top = (await images.layersOf("made")).layers.at(-1);
    if (top === undefined) throw new Error("no top layer");
    writeFileSync(join(snapshots.layersOf(top.chainId).dir, "bin/new"), "made thEre\n");
    const reading = readAll(images.openLayer(top), limit);
    expect(
      isKind(
        await reading.then(
          () => undefined,
          (error: unknown) => error,
        ),
        "data-loss",
      ),
    ).toBe(true);
  });

  test("refuses layers that are not the config's, and snapshots that are not there", async () => {
    const base = await images.layersOf("base");
    const layer = await step(base);
    const config = configOf(base, layer);
    await expect(images.create({ config, layers: base.layers, names: [] })).rejects.toThrow(
      "the config's 2 layers are not the 1 given",
    );
    await snapshots.remove(layer.chainId);
    await expect(
      images.create({ config, layers: [...base.layers, layer], names: [] }),
    ).rejects.toThrow("there is no snapshot");
    expect(images.count).toBe(1);
  });

  test("refuses a base whose blobs are gone, and holds them when the caller does", async () => {
    const base = await images.layersOf("base");
    const leased = leases.create();
    for (const { digest, chainId: key } of base.layers) {
      leases.add(leased, `content:${digest}`);
      leases.add(leased, `snapshot:${key}`);
    }
    const layer = await step(base);
    leases.add(leased, `snapshot:${layer.chainId}`);
    await images.remove("base", {});
    const draft = {
      config: configOf(base, layer),
      layers: [...base.layers, layer],
      names: [parseReference("made")],
    };
    const { id } = await images.create(draft);
    leases.remove(leased);
    await images.recover();
    expect((await saved()).size).toBeGreaterThan(4);
    await content.remove(base.layers[0]?.digest ?? (id as never));
    await images.remove("made", {});
    await expect(images.create(draft)).rejects.toMatchObject({ kind: "not-found" });
  });

  test.each([
    ["gzip", ociMediaTypes.layerGzip, gunzipSync],
    ["zstd", ociMediaTypes.layerZstd, zstdDecompressSync],
    ["uncompressed", ociMediaTypes.layer, (bytes: Uint8Array) => bytes],
  ] as const)(
    "a layer is packed with %s once, and held by a lease",
    async (packing, type, unpack) => {
      await createOn("base");
      const top = (await images.layersOf("made")).layers.at(-1);
      if (top === undefined) throw new Error("no top layer");
      const leaseId = leases.create();
      const { signal } = new AbortController();
      const packed = await images.packLayer(top, { packing, leaseId, signal });
      expect(packed.mediaType).toBe(type);
      await images.collect();
      const bytes = await content.read(packed.digest, { sizeMaxBytes: limit.sizeMaxBytes });
      expect([bytes.length, digestOf(unpack(bytes))]).toEqual([packed.sizeBytes, top.diffId]);
      expect(await images.packLayer(top, { packing, leaseId, signal })).toEqual(packed);
      leases.remove(leaseId);
      await images.collect();
      expect(content.find(packed.digest)).toBeUndefined();
    },
  );

  /** The image of `createOn`, with its new layer as a packed blob. */
  async function createPacked(layer: NewLayer): Promise<CreatedImage> {
    const base = await images.layersOf("base");
    const { layers } = await images.create({
      config: configOf(base, layer),
      layers: [...base.layers, layer],
      names: [],
    });
    const top = layers.at(-1);
    if (top === undefined) throw new Error("no top layer");
    const { fromSnapshot: _, ...rest } = top;
    const leaseId = leases.create();
    const { signal } = new AbortController();
    const packed = await images.packLayer(top, { packing: "gzip", leaseId, signal });
    return await images.create({
      config: configOf(base, layer),
      layers: [...base.layers, { ...rest, ...packed }],
      names: [parseReference("made")],
    });
  }

  test("an image that is here is not stored again, and gets its further name", async () => {
    const base = await images.layersOf("base");
    const layer = await step(base);
    const draft = { config: configOf(base, layer), layers: [...base.layers, layer] };
    const first = await images.create({ ...draft, names: [parseReference("made")] });
    const blobs = (await content.list()).length;
    const again = await images.create({ ...draft, names: [parseReference("again")] });
    expect([first.isSynced, again.isSynced]).toEqual([true, false]);
    expect(again.id).toBe(first.id);
    expect((await content.list()).length).toBe(blobs);
    expect((await images.resolve("again")).names).toEqual(["again:latest", "made:latest"]);
  });

  test("documents of an image that is gone are no image: it is stored and synced anew", async () => {
    const base = await images.layersOf("base");
    const layer = await step(base);
    const draft = { config: configOf(base, layer), layers: [...base.layers, layer] };
    const { id } = await images.create({ ...draft, names: [] });
    const lease = leases.create();
    leases.add(lease, `content:${id}`);
    leases.add(lease, `snapshot:${layer.chainId}`);
    await images.remove(id, {});
    const again = await images.create({ ...draft, names: [parseReference("made")] });
    expect([again.id, again.isSynced]).toEqual([id, true]);
  });

  test("an image that is here packed stays so when it is made again", async () => {
    const base = await images.layersOf("base");
    const layer = await step(base);
    const { id, manifestDigest } = await createPacked(layer);
    const again = await images.create({
      config: configOf(base, layer),
      layers: [...base.layers, layer],
      names: [parseReference("again")],
    });
    expect([again.id, again.manifestDigest]).toEqual([id, manifestDigest]);
  });

  test("an index keeps what it names beside images, as long as it has a name", async () => {
    const { id, manifestDigest } = await createPacked(await step(await images.layersOf("base")));
    const leaseId = leases.create();
    const put = async (bytes: Uint8Array) => {
      leases.add(leaseId, `content:${digestOf(bytes)}`);
      return (await content.put(bytes)).digest;
    };
    const statement = await put(Buffer.from("statement"));
    const manifest = Buffer.from("manifest");
    const descriptor = {
      mediaType: ociMediaTypes.manifest,
      digest: await put(manifest),
      size: manifest.length,
      platform: { os: "unknown", architecture: "unknown" },
      annotations: { "vnd.docker.reference.digest": manifestDigest },
    };
    const blobs = [descriptor.digest, statement];
    const index = await images.createIndex({
      images: [id],
      names: [parseReference("attested")],
      annotations: { of: "index" },
      imageAnnotations: [{ of: "image" }],
      attachments: [{ descriptor, blobs }],
    });
    leases.remove(leaseId);
    await images.collect();
    const bytes = await content.read(index, { sizeMaxBytes: limit.sizeMaxBytes });
    const { manifests, annotations } = decodeIndex(bytes);
    expect([annotations, manifests[0]?.annotations]).toEqual([{ of: "index" }, { of: "image" }]);
    expect(manifests[1]).toEqual(descriptor);
    const { Manifests = [] } = await images.inspect("attested", { manifests: true });
    expect(Manifests).toMatchObject([{ ID: manifestDigest, Kind: "image", Available: true }]);
    expect((await images.list({}))[0]?.Manifests).toBeUndefined();
    for (const digest of blobs) expect(content.find(digest)).toBeDefined();
    await images.remove("attested", {});
    await images.collect();
    for (const digest of blobs) expect(content.find(digest)).toBeUndefined();
  });

  test("speaks Docker's media types when asked to", async () => {
    const base = await images.layersOf("base");
    const layer = await step(base);
    const made = await images.create({
      config: configOf(base, layer),
      layers: [...base.layers, layer],
      names: [],
      mediaTypes: "docker",
      annotations: { a: "b" },
    });
    const manifest = JSON.parse(
      Buffer.from(await content.read(made.manifestDigest, limit)).toString(),
    );
    expect(manifest.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
    expect(manifest.annotations).toEqual({ a: "b" });
    expect(manifest.layers.map((entry: { mediaType: string }) => entry.mediaType)).toEqual([
      "application/vnd.docker.image.rootfs.diff.tar",
      "application/vnd.docker.image.rootfs.diff.tar",
    ]);
  });
});
