import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openContentStore } from "../../content/local-content-store.ts";
import { silentLogger } from "../../lib/log.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { type LocalRegistryOptions, openRegistry } from "./local-registry.ts";
import type { Registry } from "../registry.ts";

const hourMs = 3_600_000;
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

interface Opened extends AsyncDisposable {
  readonly registry: Registry;
  readonly content: Awaited<ReturnType<typeof openContentStore>>;
}

let root = "";
let nowMs = Date.now();
let opened: Opened;

async function open(options: Partial<LocalRegistryOptions> = {}): Promise<Opened> {
  const metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
  const content = await openContentStore({ root: join(root, "content"), logger: silentLogger });
  const registry = await openRegistry({
    content,
    metadata,
    logger: silentLogger,
    graceMs: hourMs,
    uploadExpiryMs: 24 * hourMs,
    removesUntagged: false,
    nowMs: () => nowMs,
    ...options,
  });
  return {
    registry,
    content,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      metadata[Symbol.dispose]();
    },
  };
}

/** Closes and opens again on the same root. */
async function reopen(options: Partial<LocalRegistryOptions> = {}): Promise<Registry> {
  await opened[Symbol.asyncDispose]();
  opened = await open(options);
  return opened.registry;
}

async function push(registry: Registry, repository: string, words: string): Promise<Digest> {
  const { id } = registry.startUpload(repository);
  const digest = digestOf(words);
  await registry.finishUpload({ repository, id }, { body: [text(words)], digest });
  return digest;
}

function manifestOf(config: string, extra: object = {}): Uint8Array {
  const digest = digestOf(config);
  const mediaType = ociMediaTypes.config;
  const document = {
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: { mediaType, digest, size: config.length },
    layers: [],
    ...extra,
  };
  return text(JSON.stringify(document));
}

async function pushImage(
  registry: Registry,
  target: { readonly repository: string; readonly tag?: string },
  manifest: { readonly config: string; readonly extra?: object },
): Promise<Digest> {
  const { repository, tag } = target;
  await push(registry, repository, manifest.config);
  const bytes = manifestOf(manifest.config, manifest.extra);
  const name =
    tag === undefined
      ? ({ kind: "digest", digest: digestOf(bytes) } as const)
      : ({ kind: "tag", tag } as const);
  const options = { name, mediaType: ociMediaTypes.manifest, bytes };
  return (await registry.putManifest(repository, options)).digest;
}

const code = (name: string): object => ({ details: { distributionCode: name } });

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "tug-registry-"));
  nowMs = Date.now();
  opened = await open();
});
afterEach(async () => {
  await opened[Symbol.asyncDispose]();
  rmSync(root, { recursive: true });
});

describe("uploads", () => {
  test("many of the same bytes at once become one blob in each repository", async () => {
    const { registry, content } = opened;
    const names = Array.from({ length: 12 }, (_, index) => `r/${index % 4}`);
    const digests = await Promise.all(names.map((name) => push(registry, name, "the same")));
    expect(new Set(digests).size).toBe(1);
    expect(await content.list()).toHaveLength(1);
    expect(registry.stats).toMatchObject({ repositoryCount: 4, digestCount: 1, uploadCount: 0 });
    expect(registry.stats.sizeBytes).toBe("the same".length);
  });

  test("chunks of one upload are taken one at a time", async () => {
    const { registry } = opened;
    const name = { repository: "r", id: registry.startUpload("r").id };
    const slow = async function* (words: string): AsyncGenerator<Uint8Array> {
      for (const letter of words) {
        await Bun.sleep(1);
        yield text(letter);
      }
    };
    await Promise.all(
      ["aaaa", "bbbb"].map((one) => registry.appendUpload(name, { body: slow(one) })),
    );
    const digest = digestOf("aaaabbbb");
    await registry.finishUpload(name, { body: [], digest });
    expect((await registry.getBlob("r", digest)).sizeBytes).toBe(8);
  });

  test("a body that breaks off leaves what came of it", async () => {
    const { registry } = opened;
    const name = { repository: "r", id: registry.startUpload("r").id };
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield text("half");
      throw new Error("gone");
    };
    await expect(registry.appendUpload(name, { body: broken() })).rejects.toThrow("gone");
    expect((await registry.getUpload(name)).sizeBytes).toBe(4);
    const again = await reopen();
    expect((await again.getUpload(name)).sizeBytes).toBe(4);
    const digest = digestOf("half whole");
    await again.finishUpload(name, { body: [text(" whole")], digest });
    expect((await again.getBlob("r", digest)).sizeBytes).toBe(10);
    await expect(again.getUpload(name)).rejects.toMatchObject(code("BLOB_UPLOAD_UNKNOWN"));
  });

  test("are laid aside when idle, taken up again, and forgotten in the end", async () => {
    const { registry } = opened;
    const name = { repository: "r", id: registry.startUpload("r").id };
    const empty = { repository: "r", id: registry.startUpload("r").id };
    await registry.appendUpload(name, { body: [text("some")] });
    nowMs += hourMs + 1;
    await registry.tidy();
    await expect(registry.getUpload(empty)).rejects.toMatchObject(code("BLOB_UPLOAD_UNKNOWN"));
    expect((await registry.appendUpload(name, { body: [text(" more")] })).sizeBytes).toBe(9);
    nowMs += 25 * hourMs;
    await registry.tidy();
    await expect(registry.getUpload(name)).rejects.toMatchObject(code("BLOB_UPLOAD_UNKNOWN"));
    expect(readdirSync(join(root, "content/ingest"))).toEqual([]);
  });

  test("that are canceled leave nothing, laid aside or not", async () => {
    const first = opened.registry;
    const names = [0, 1].map(() => ({ repository: "r", id: first.startUpload("r").id }));
    for (const name of names) await first.appendUpload(name, { body: [text("x")] });
    await first.cancelUpload(names[0] ?? { repository: "", id: "" });
    const again = await reopen();
    await again.cancelUpload(names[1] ?? { repository: "", id: "" });
    expect(readdirSync(join(root, "content/ingest"))).toEqual([]);
    expect((await reopen()).stats.uploadCount).toBe(0);
  });

  test("there is an end to how many, and what nobody uses gives its place to others", async () => {
    const { registry } = opened;
    const first = { repository: "r", id: registry.startUpload("r").id };
    await registry.appendUpload(first, { body: [text("used")] });
    for (let count = 1; count < 2_000; count += 1) registry.startUpload("r");
    expect(() => registry.startUpload("r")).toThrow("2000 uploads");
    nowMs += 61_000;
    for (let count = 0; count < 50; count += 1) registry.startUpload("r");
    expect(registry.stats.uploadCount).toBe(2_000);
    expect((await registry.getUpload(first)).sizeBytes).toBe(4);
  });

  test("a request that brings nothing keeps no other from asking, going on and canceling", async () => {
    const { registry } = opened;
    const stalled = async function* (): AsyncGenerator<Uint8Array> {
      yield text("half");
      await Promise.withResolvers<void>().promise;
    };
    const begin = async (): Promise<{
      repository: string;
      id: string;
      ended: Promise<unknown>;
    }> => {
      const name = { repository: "r", id: registry.startUpload("r").id };
      const ended = registry.appendUpload(name, { body: stalled() }).catch((error) => error);
      while ((await registry.getUpload(name)).sizeBytes < 4) await Bun.sleep(1);
      return { ...name, ended };
    };
    const lost = await begin();
    const range = { first: 4, last: 8 };
    const next = registry.appendUpload(lost, { body: [text(" more")], range });
    nowMs += 5_000;
    expect(await Promise.race([next, Bun.sleep(1_200)])).toBeUndefined();
    nowMs += 6_000;
    expect((await next).sizeBytes).toBe(9);
    expect(await lost.ended).toMatchObject({ details: { status: 409 } });
    const canceled = await begin();
    await registry.cancelUpload(canceled);
    expect(await canceled.ended).toMatchObject(code("BLOB_UPLOAD_UNKNOWN"));
    await registry.cancelUpload(lost);
    expect(readdirSync(join(root, "content/ingest"))).toEqual([]);
  });
});

describe("quotas", () => {
  test("count what is under way, and give back what is canceled", async () => {
    const registry = await reopen({ quota: { sizeMaxBytes: 100, repositoryMaxBytes: 60 } });
    const name = { repository: "a", id: registry.startUpload("a").id };
    await registry.appendUpload(name, { body: [new Uint8Array(50)] });
    const chunk = { body: [new Uint8Array(11)] };
    await expect(registry.appendUpload(name, chunk)).rejects.toThrow("quota of repository a");
    const other = { repository: "b", id: registry.startUpload("b").id };
    await registry.appendUpload(other, { body: [new Uint8Array(45)] });
    const third = { repository: "c", id: registry.startUpload("c").id };
    await registry.appendUpload(third, { body: [new Uint8Array(45)] });
    const fourth = { repository: "d", id: registry.startUpload("d").id };
    await expect(registry.appendUpload(fourth, chunk)).rejects.toThrow("quota of the registry");
    await registry.cancelUpload(third);
    expect((await registry.appendUpload(other, chunk)).sizeBytes).toBe(56);
    await registry.cancelUpload(other);
    const digest = await push(registry, "a", "x".repeat(60));
    // An upload that an earlier process left counts as well.
    const left = { repository: "c", id: registry.startUpload("c").id };
    await registry.appendUpload(left, { body: [new Uint8Array(30)] });
    const again = await reopen({ quota: { sizeMaxBytes: 100, repositoryMaxBytes: 60 } });
    expect((await again.getUpload(left)).sizeBytes).toBe(30);
    await expect(push(again, "d", "z".repeat(11))).rejects.toThrow("quota of the registry");
    await again.cancelUpload(left);
    await push(again, "d", "z".repeat(11));
    again.removeBlob("d", digestOf("z".repeat(11)));
    // One digest is counted once however many repositories have it.
    expect(again.mountBlob("b", { from: "a", digest })).toBe(true);
    expect(again.stats.sizeBytes).toBe(60);
    await expect(push(again, "b", "y")).rejects.toThrow("quota of repository b");
    // A repository that has something already does not get around its quota by mounting.
    await push(again, "e", "y");
    expect(() => again.mountBlob("e", { from: "a", digest })).toThrow("quota of repository e");
    expect(again.mountBlob("b", { from: "a", digest })).toBe(true);
  });

  test("an upload that is refused keeps nothing of the quota", async () => {
    const registry = await reopen({ quota: { sizeMaxBytes: 100 } });
    const name = { repository: "a", id: registry.startUpload("a").id };
    const tooMuch = [new Uint8Array(90), new Uint8Array(90)];
    await expect(registry.appendUpload(name, { body: tooMuch })).rejects.toThrow("quota");
    await expect(registry.getUpload(name)).rejects.toMatchObject(code("BLOB_UPLOAD_UNKNOWN"));
    const whole = { repository: "a", id: registry.startUpload("a").id };
    const digest = digestOf("x");
    const announced = { body: [], sizeBytes: 101, digest };
    await expect(registry.finishUpload(whole, announced)).rejects.toThrow("quota");
    expect(registry.stats.uploadCount).toBe(0);
    expect(readdirSync(join(root, "content/ingest"))).toEqual([]);
    await push(registry, "a", "y".repeat(100));
  });
});

describe("the collector", () => {
  test("keeps what manifests name and what came just now, and takes the rest", async () => {
    const { registry, content } = opened;
    await pushImage(registry, { repository: "r", tag: "v" }, { config: "kept" });
    const loose = await push(registry, "r", "loose");
    nowMs += hourMs / 2;
    expect(await registry.collect()).toMatchObject({ blobCount: 0, fileCount: 0 });
    nowMs += hourMs;
    const young = await push(registry, "r", "young");
    await registry.getBlob("r", loose);
    expect(await registry.collect()).toMatchObject({ blobCount: 0 });
    nowMs += hourMs + 1;
    const asked = await registry.getBlob("r", young);
    expect(await registry.collect()).toMatchObject({ blobCount: 1, fileCount: 1, freedBytes: 5 });
    expect(content.find(asked.digest)).toBeDefined();
    await expect(registry.getBlob("r", loose)).rejects.toMatchObject(code("BLOB_UNKNOWN"));
    expect((await registry.getBlob("r", digestOf("kept"))).sizeBytes).toBe(4);
  });

  test("waits after a start for as long as a hold lasts", async () => {
    await push(opened.registry, "r", "loose");
    nowMs += 10 * hourMs;
    const registry = await reopen();
    expect(await registry.collect()).toMatchObject({ blobCount: 0 });
    nowMs += hourMs + 1;
    expect(await registry.collect()).toMatchObject({ blobCount: 1, fileCount: 1 });
  });

  test("bytes stay as long as one repository has them, and go with the last", async () => {
    const { registry, content } = opened;
    const digest = await push(registry, "a", "shared");
    registry.mountBlob("b", { from: "a", digest });
    registry.removeBlob("a", digest);
    expect(await registry.collect()).toMatchObject({ fileCount: 0 });
    expect(content.find(digest)).toBeDefined();
    registry.removeBlob("b", digest);
    // Pushed again at once: the bytes of the first time go, or are the second's.
    expect(await push(registry, "c", "shared")).toBe(digest);
    expect((await registry.getBlob("c", digest)).sizeBytes).toBe("shared".length);
    registry.removeBlob("c", digest);
    const endMs = performance.now() + 2_000;
    while (content.find(digest) !== undefined && performance.now() < endMs) await Bun.sleep(1);
    expect(content.find(digest)).toBeUndefined();
    expect(registry.stats).toMatchObject({ repositoryCount: 0, sizeBytes: 0 });
  });

  test("untagged manifests go only when they are to, and what refers goes with its subject", async () => {
    const { registry } = opened;
    const subject = await pushImage(registry, { repository: "r", tag: "v" }, { config: "c" });
    const size = manifestOf("c").length;
    const named = { mediaType: ociMediaTypes.manifest, digest: subject, size };
    const extra = { subject: named, annotations: { a: "b" } };
    const referrer = await pushImage(registry, { repository: "r" }, { config: "c", extra });
    const untagged = await pushImage(registry, { repository: "r" }, { config: "d" });
    nowMs += 2 * hourMs;
    expect(await registry.collect()).toMatchObject({ manifestCount: 0 });
    const strict = await reopen({ removesUntagged: true });
    nowMs += 2 * hourMs;
    expect(await strict.collect()).toMatchObject({ manifestCount: 1, blobCount: 1 });
    const get = (digest: Digest): Promise<unknown> =>
      strict.getManifest("r", { kind: "digest", digest });
    await expect(get(untagged)).rejects.toMatchObject(code("MANIFEST_UNKNOWN"));
    expect(await get(referrer)).toMatchObject({ digest: referrer });
    strict.removeManifest("r", { kind: "tag", tag: "v" });
    expect(await strict.collect()).toMatchObject({ manifestCount: 2, blobCount: 1 });
    expect(strict.stats.repositoryCount).toBe(0);
  });

  test("an index keeps its manifests, and they their blobs", async () => {
    const { registry } = opened;
    const child = await pushImage(registry, { repository: "r" }, { config: "child" });
    const size = manifestOf("child").length;
    const manifests = [{ mediaType: ociMediaTypes.manifest, digest: child, size }];
    const index = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests };
    await registry.putManifest("r", {
      name: { kind: "tag", tag: "all" },
      mediaType: ociMediaTypes.index,
      bytes: text(JSON.stringify(index)),
    });
    const strict = await reopen({ removesUntagged: true });
    nowMs += 2 * hourMs;
    expect(await strict.collect()).toMatchObject({ manifestCount: 0, blobCount: 0 });
  });

  test("a cache's copies go when they are old", async () => {
    await pushImage(opened.registry, { repository: "r", tag: "v" }, { config: "c" });
    const registry = await reopen({ copyExpiryMs: 10 * hourMs });
    nowMs += 9 * hourMs;
    expect(await registry.collect()).toMatchObject({ fileCount: 0 });
    nowMs += 2 * hourMs;
    expect(await registry.collect()).toMatchObject({ manifestCount: 1, fileCount: 2 });
    expect(registry.stats.repositoryCount).toBe(0);
  });

  test("a cache's copy that was asked for just now stays, however old", async () => {
    const digest = await pushImage(opened.registry, { repository: "r" }, { config: "c" });
    const nothing = async (): Promise<undefined> => undefined;
    const upstream = {
      refresh: nothing,
      fetchBlob: nothing,
      listTags: nothing,
      listReferrers: nothing,
    };
    const registry = await reopen({ copyExpiryMs: 10 * hourMs, upstream: () => upstream });
    nowMs += 11 * hourMs;
    await registry.getManifest("r", { kind: "digest", digest });
    expect(await registry.collect()).toMatchObject({ manifestCount: 0 });
    nowMs += hourMs + 1;
    expect(await registry.collect()).toMatchObject({ manifestCount: 1 });
  });
});

describe("what is stored", () => {
  test("is the same after it was closed and opened", async () => {
    const digest = await pushImage(
      opened.registry,
      { repository: "a/b", tag: "v" },
      { config: "c" },
    );
    const before = opened.registry.stats;
    const registry = await reopen();
    expect(registry.stats).toEqual(before);
    const tags = await registry.listTags("a/b", { countMax: 10 });
    expect(tags).toEqual({ names: ["v"], hasMore: false });
    const manifest = await registry.getManifest("a/b", { kind: "tag", tag: "v" });
    expect(manifest.digest).toBe(digest);
    expect(Buffer.from(await registry.readManifest(manifest))).toEqual(
      Buffer.from(manifestOf("c")),
    );
  });

  test("a blob whose file somebody took away is told missing, and can be pushed again", async () => {
    const { registry } = opened;
    const digest = await push(registry, "r", "taken");
    unlinkSync((await registry.getBlob("r", digest)).path);
    await expect(registry.getBlob("r", digest)).rejects.toMatchObject(code("BLOB_UNKNOWN"));
    expect(registry.mountBlob("s", { from: "r", digest })).toBe(false);
    await push(registry, "r", "taken");
    expect((await registry.getBlob("r", digest)).sizeBytes).toBe(5);
  });

  test("a manifest that is put while its blob goes is refused, not broken", async () => {
    const { registry } = opened;
    await push(registry, "r", "c");
    const putting = registry.putManifest("r", {
      name: { kind: "tag", tag: "v" },
      mediaType: ociMediaTypes.manifest,
      bytes: manifestOf("c"),
    });
    registry.removeBlob("r", digestOf("c"));
    await expect(putting).rejects.toMatchObject(code("MANIFEST_BLOB_UNKNOWN"));
    await expect(registry.listTags("r", { countMax: 1 })).rejects.toThrow("not known");
  });
});
