/** The collector beside work that makes images. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readAll, toReadableStream } from "../../lib/stream-limit.ts";
import { encodeTar, type SmallTarEntry } from "../../lib/tar/tar-writer.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { openTestImages, type TestImages } from "../test-images.ts";

const isRoot = process.getuid?.() === 0;

let t: TestImages;

beforeEach(async () => {
  t = await openTestImages();
});
afterEach(() => t.close());

const entry = (name: string, content: string | Uint8Array): SmallTarEntry => ({
  header: { name },
  content,
});
const layerOf = (name: string): Uint8Array => encodeTar([entry(name, `${name}\n`.repeat(50))]);

interface Archive {
  readonly tag: string;
  readonly layers: readonly Uint8Array[];
  readonly bytes: Uint8Array;
  /** Where manifest.json begins: all blobs are before it. */
  readonly blobsEnd: number;
}

function archiveOf(tag: string, layers: readonly Uint8Array[]): Archive {
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Labels: { tag } },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => digestOf(layer)) },
  });
  const names = layers.map((_, at) => `${at}/layer.tar`);
  const blobs = [...layers.map((layer, at) => entry(names[at] ?? "", layer)), entry("c", config)];
  const manifest = JSON.stringify([{ Config: "c", RepoTags: [tag], Layers: names }]);
  const end = 1024;
  return {
    tag,
    layers,
    bytes: encodeTar([...blobs, entry("manifest.json", manifest)]),
    blobsEnd: encodeTar(blobs).length - end,
  };
}

const load = async (archive: Archive): Promise<void> =>
  await t.images.load(toReadableStream([archive.bytes]), { progress: () => undefined });

/** Begins a load whose client stops behind the blobs. @returns lets it go on, and waits for it */
async function stalledLoad({ bytes, blobsEnd }: Archive): Promise<() => Promise<void>> {
  const stall = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  async function* slowly(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, blobsEnd);
    arrived.resolve();
    await stall.promise;
    yield bytes.subarray(blobsEnd);
  }
  const loading = t.images.load(toReadableStream(slowly()), { progress: () => undefined });
  await arrived.promise;
  return async () => {
    stall.resolve();
    await loading;
  };
}

/** Reads all that an image is made of. */
async function isWhole(tag: string): Promise<boolean> {
  const { layers } = await t.images.layersOf(tag);
  const bytes = await readAll(await t.images.save([tag]), { sizeMaxBytes: 1e7, what: "archive" });
  return layers.every(({ chainId }) => t.hasSnapshot(chainId)) && bytes.length > 0;
}

const isHere = (bytes: Uint8Array): boolean => t.content.find(digestOf(bytes)) !== undefined;

describe.skipIf(!isRoot)("the collector (needs root)", () => {
  test("frees the disk while a load waits for its client, and takes nothing of that", async () => {
    const [base, own, other] = [layerOf("base"), layerOf("own"), layerOf("other")];
    const removed = archiveOf("removed:1", [base, other]);
    await load(removed);
    const goOn = await stalledLoad(archiveOf("slow:1", [base, own]));
    await t.images.remove("removed:1", {});
    expect([isHere(other), isHere(base), isHere(own)]).toEqual([false, true, true]);
    await goOn();
    expect(await isWhole("slow:1")).toBe(true);
    await t.images.remove("slow:1", {});
    await t.images.collect();
    expect([await t.blobs(), t.snapshotCount()]).toEqual([[], 0]);
  });

  test("takes what was removed while it was saved, once it is read or given up", async () => {
    for (const isRead of [true, false]) {
      await load(archiveOf("saved:1", [layerOf("saved")]));
      const stop = new AbortController();
      const stream = await t.images.save(["saved:1"], { signal: stop.signal });
      await t.images.remove("saved:1", {});
      expect((await t.blobs()).length).toBe(3);
      if (isRead) await readAll(stream, { sizeMaxBytes: 1e7, what: "archive" });
      else stop.abort();
      for (let round = 0; round < 100 && (await t.blobs()).length > 0; round += 1) {
        await Bun.sleep(10);
      }
      expect(await t.blobs()).toEqual([]);
    }
  });

  test("a prune of many images lets others ask in between, and tells a shared layer once", async () => {
    const shared = layerOf("shared");
    for (let number = 0; number < 12; number += 1) {
      await load(archiveOf(`many:${number}`, [shared, layerOf(`own${number}`)]));
    }
    const counts = new Set<number>();
    let isPruning = true;
    const look = (): void => {
      counts.add(t.images.count);
      if (isPruning) setImmediate(look);
    };
    look();
    const { deleted } = await t.images.prune(new Map([["dangling", ["false"]]]));
    isPruning = false;
    expect(counts.size).toBeGreaterThan(6);
    const told = deleted.flatMap(({ Deleted: id }) => id ?? []);
    expect([told.length, new Set(told).size]).toEqual([12 + 12 + 1, 25]);
    expect(told.at(-1)).toBe(digestOf(shared));
  });

  test("takes what a load that fails has left", async () => {
    const { bytes, blobsEnd } = archiveOf("cut:1", [layerOf("a")]);
    const cut = toReadableStream([bytes.subarray(0, blobsEnd - 700)]);
    await expect(t.images.load(cut, { progress: () => undefined })).rejects.toThrow();
    expect([await t.blobs(), t.snapshotCount()]).toEqual([[], 0]);
  });

  test("collections that are asked for while one runs are one more", async () => {
    await load(archiveOf("kept:1", [layerOf("kept")]));
    const lists: number[] = [];
    const { list } = t.content;
    t.content.list = async () => {
      lists.push(lists.length);
      return await list.call(t.content);
    };
    const asked = Array.from({ length: 20 }, async () => await t.images.collect());
    await Promise.all(asked);
    expect(lists.length).toBe(2);
    expect(await isWhole("kept:1")).toBe(true);
  });

  test("images that share layers come and go while it runs all the time: each is whole", async () => {
    const shared = [layerOf("one"), layerOf("two"), layerOf("three")];
    const end = performance.now() + 1_500;
    let number = 0;
    const rounds = async (): Promise<void> => {
      while (performance.now() < end) {
        number += 1;
        const tag = `race:${number}`;
        const archive = archiveOf(tag, [...shared.slice(0, number % 4), layerOf(tag)]);
        if (number % 3 === 0) {
          const goOn = await stalledLoad(archive);
          await t.images.collect();
          await goOn();
        } else await load(archive);
        expect([tag, await isWhole(tag)]).toEqual([tag, true]);
        await t.images.remove(tag, { force: true });
      }
    };
    const imports = async (): Promise<void> => {
      while (performance.now() < end) {
        const id: Digest = await t.images.import(toReadableStream([layerOf("one")]), {
          repo: "imported",
          progress: () => undefined,
        });
        expect((await t.images.resolve(id)).id).toBe(id);
        expect(await isWhole("imported:latest")).toBe(true);
        await t.images.remove("imported", {});
      }
    };
    const collections = async (): Promise<void> => {
      while (performance.now() < end) {
        await t.images.collect();
        await Bun.sleep(1);
      }
    };
    await Promise.all([rounds(), rounds(), rounds(), imports(), collections()]);
    await t.images.collect();
    expect([await t.blobs(), t.snapshotCount(), t.images.count]).toEqual([[], 0, 0]);
    expect(number).toBeGreaterThan(10);
  }, 30_000);
});
