import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { encodeTar } from "../../lib/tar/tar-writer.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { ingestRefOf } from "../../content/content-store.ts";
import { openTestImages, type TestImages } from "../test-images.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: images are unpacked by root only");

const fileCount = 24;
const fileBytes = 512 * 1024;
/** Large enough to be unpacked on its way; its files come out one by one. */
const tar = encodeTar(
  Array.from({ length: fileCount }, (_, at) => ({
    header: { name: `file-${at}` },
    content: randomBytes(fileBytes),
  })),
);
const diffId = digestOf(tar);
const gzip = gzipSync(tar, { level: 1 });
const zstd = Bun.zstdCompressSync(tar, { level: 1 });
const gzipType = "application/vnd.oci.image.layer.v1.tar+gzip";
const name = "reg.test/app:1";

let t: TestImages;
const putImage = (
  packed: Uint8Array,
  more: { layerType?: string; diffIds?: readonly Digest[] } = {},
): void => {
  const { digest } = t.registry.putImage("reg.test/app", {
    layers: [packed],
    diffIds: [diffId],
    layerType: gzipType,
    ...more,
  });
  t.registry.putTag(name, digest);
};
const pull = async (more: { signal?: AbortSignal } = {}): Promise<Digest> =>
  await t.images.pull(name, { progress: t.progress, ...more });

/** Files of the layer that are there, whatever their snapshot. */
function filesSeen(): number {
  const snapshots = join(t.root, "snapshots");
  return readdirSync(snapshots)
    .filter((entry) => entry !== "new")
    .reduce((sum, entry) => sum + readdirSync(join(snapshots, entry, "fs")).length, 0);
}

/** Holds the transfer at its end until so many files are there; false when they never come. */
function holdUntilFiles(digest: Digest, count: number): { readonly seen: () => boolean } {
  let seen = false;
  t.registry.onBlob = async (blob) => {
    if (blob !== digest || sizeOfArrival(digest) < (gzip.length * 9) / 10) return;
    for (let tries = 0; tries < 300 && !seen; tries += 1) {
      seen = filesSeen() >= count;
      if (!seen) await Bun.sleep(10);
    }
  };
  return { seen: () => seen };
}

function sizeOfArrival(digest: Digest): number {
  return Bun.file(join(t.content.root, "ingest", ingestRefOf(digest))).size;
}

describe.skipIf(!isRoot)("a layer on its way", () => {
  beforeEach(async () => {
    t = await openTestImages();
  });
  afterEach(() => t.close());

  test.each([
    ["gzip", gzip, gzipType],
    ["plain", tar, "application/vnd.oci.image.layer.v1.tar"],
    ["zstd", zstd, "application/vnd.oci.image.layer.v1.tar+zstd"],
  ])("is unpacked while it comes: %s", async (_kind, packed, layerType) => {
    putImage(packed, { layerType });
    const hold = holdUntilFiles(digestOf(packed), fileCount / 2);
    await pull();
    expect(hold.seen()).toBe(true);
    expect(t.hasSnapshot(diffId)).toBe(true);
    expect(t.snapshotCount()).toBe(1);
    expect(filesSeen()).toBe(fileCount);
    const lines = t.lines().map((line) => line.replace(/^\w+: /, ""));
    expect(lines.indexOf("Download complete")).toBeGreaterThan(0);
    expect(lines.lastIndexOf("Downloading")).toBeLessThan(lines.indexOf("Download complete"));
    expect(lines).toContain("Pull complete");
  });

  test("is no layer when the bytes have another digest, though the diff ID is right", async () => {
    putImage(gzip);
    const lie = Buffer.from(gzip);
    // The time in gzip's head: what comes out is the same.
    lie[4] = 1;
    t.registry.lies.set(digestOf(gzip), lie);
    await expect(pull()).rejects.toMatchObject({ kind: "data-loss" });
    expect(t.snapshotCount()).toBe(0);
    expect(await t.blobs()).not.toContain(digestOf(gzip));
  });

  test("is no layer when the diff ID is another, and the pull says so", async () => {
    putImage(gzip, { diffIds: [digestOf(Buffer.from("other"))] });
    await expect(pull()).rejects.toThrow("the diff ID is");
    expect(t.snapshotCount()).toBe(0);
  });

  test("is left alone when the pull is canceled, and taken up by the next", async () => {
    putImage(gzip);
    const stop = new AbortController();
    t.registry.onBlob = async (digest) => {
      if (digest !== digestOf(gzip) || sizeOfArrival(digest) < gzip.length / 2) return;
      while (filesSeen() === 0) await Bun.sleep(10);
      stop.abort();
    };
    await expect(pull({ signal: stop.signal })).rejects.toMatchObject({ kind: "canceled" });
    expect(t.snapshotCount()).toBe(0);
    t.registry.onBlob = () => undefined;
    await pull();
    expect(t.hasSnapshot(diffId)).toBe(true);
  });

  test("is unpacked once it is whole when the write was begun anew", async () => {
    putImage(gzip);
    const digest = digestOf(gzip);
    const { fetchBlob } = t.registry;
    t.registry.fetchBlob = async (reference, options) => {
      if (options.descriptor.digest === digest) {
        const ingest = await options.content.ingest({ ref: ingestRefOf(digest), expected: digest });
        await ingest.write(gzip.subarray(0, 5_000_000));
        options.progress?.({
          kind: "transferring",
          currentBytes: 5_000_000,
          totalBytes: gzip.length,
        });
        while (filesSeen() === 0) await Bun.sleep(10);
        await ingest[Symbol.asyncDispose]();
      }
      return await fetchBlob(reference, options);
    };
    await pull();
    expect(t.hasSnapshot(diffId)).toBe(true);
    expect(t.snapshotCount()).toBe(1);
  });

  test("comes once for two pulls, and is one layer", async () => {
    putImage(gzip);
    const hold = holdUntilFiles(digestOf(gzip), 1);
    const [one, other] = await Promise.all([pull(), pull()]);
    expect(one).toBe(other);
    expect(hold.seen()).toBe(true);
    expect(t.snapshotCount()).toBe(1);
    expect(t.registry.requests.filter((line) => line.endsWith(digestOf(gzip)))).toHaveLength(1);
  });
});
