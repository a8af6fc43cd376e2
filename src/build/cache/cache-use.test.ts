import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../lib/log.ts";
import { createLeases } from "../../metadata/leases.ts";
import type { Metadata } from "../../metadata/metadata.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { digestOf } from "../../oci/digest.ts";
import { openOverlaySnapshotter } from "../../snapshot/overlay-snapshotter.ts";
import type { Snapshotter } from "../../snapshot/snapshotter.ts";
import { CacheMounts } from "./cache-mounts.ts";
import { CacheTable } from "./cache-table.ts";
import { type CacheUse, listCache, pruneCache } from "./cache-use.ts";

let root = "";
let metadata: Metadata;
let snapshots: Snapshotter;
let cache: CacheTable;
let mounts: CacheMounts;
let chains: ReadonlySet<string>;
let collections = 0;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "cacheuse-"));
  metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
  snapshots = openOverlaySnapshotter({
    root: join(root, "snapshots"),
    metadata,
    logger: silentLogger,
  });
  cache = new CacheTable({ metadata, leases: createLeases(), snapshots });
  mounts = new CacheMounts({ snapshots, table: cache });
  chains = new Set();
  collections = 0;
});
afterEach(async () => {
  await snapshots[Symbol.asyncDispose]();
  metadata[Symbol.dispose]();
  rmSync(root, { recursive: true, force: true });
});

/** A use whose images have the layers of `chains`. */
function use(): CacheUse {
  const images = {
    layerChains: () => chains,
    collect: async () => {
      collections += 1;
      return await Promise.resolve(0);
    },
  };
  return { options: { snapshots, images }, cache, cacheMounts: mounts };
}

async function entry(
  name: string,
  options: { readonly sizeBytes?: number; readonly parent?: string } = {},
): Promise<string> {
  const chainId = digestOf(name);
  const { sizeBytes = 100, parent } = options;
  await snapshots.prepare(name);
  await snapshots.commit(name, { name: chainId, sizeBytes, durable: false });
  cache.put(chainId, {
    type: "regular",
    description: name,
    parents: parent === undefined ? [] : [parent],
    layer: { diffId: chainId, chainId, sizeBytes, tarSizeBytes: 1024, createdNs: "1" },
  });
  return chainId;
}

const none = new Map<string, readonly string[]>();
const left = (): readonly string[] => cache.list().map(([, { description }]) => description);

describe("pruneCache()", () => {
  test("leaves what a build uses, and what images have unless all is asked for", async () => {
    await entry("free");
    chains = new Set([await entry("shared")]);
    cache.use(await entry("used"));
    const first = await pruneCache(use(), { filters: none });
    expect(first.spaceReclaimedBytes).toBe(100);
    expect(left()).toEqual(["shared", "used"]);
    const all = await pruneCache(use(), { all: true, filters: none });
    expect([all.removed.length, all.spaceReclaimedBytes]).toEqual([1, 0]);
    expect(left()).toEqual(["used"]);
    expect(collections).toBe(2);
  });

  test("with a budget the least recently used go first, and no more than needed", async () => {
    for (const name of ["a", "b", "c"]) await entry(name);
    cache.touch(digestOf("a"));
    await pruneCache(use(), { keepBytes: 200, filters: none });
    expect(left().toSorted()).toEqual(["a", "c"]);
  });

  test("with a budget what others stand on stays as long as they do", async () => {
    const parent = await entry("parent");
    await entry("child", { parent });
    await pruneCache(use(), { keepBytes: 150, filters: none });
    expect(left()).toEqual(["parent"]);
  });

  test("removes cache mounts with their files, but not one in use", async () => {
    const request = { sharing: "shared", mode: 0o755, uid: 0, gid: 0 } as const;
    const { signal } = new AbortController();
    const used = await mounts.acquire({ ...request, id: "/used", signal });
    (await mounts.acquire({ ...request, id: "/free", signal })).release();
    await pruneCache(use(), { filters: none });
    expect(left()).toEqual(["cached mount /used from exec"]);
    expect(snapshots.list().map(({ kind }) => kind)).toEqual(["active"]);
    used.release();
    await pruneCache(use(), { filters: new Map([["type", ["exec.cachemount"]]]) });
    expect(left()).toEqual([]);
  });

  test.each([
    ["until", "1h", ["a"]],
    ["until", "0s", []],
    ["description", "b", ["a"]],
    ["type", "regular", []],
    ["shared", "true", ["a"]],
  ])("takes the filter %s=%s", async (name, value, expected) => {
    await entry("a");
    if (name === "description") await entry("b");
    await Bun.sleep(1);
    await pruneCache(use(), { filters: new Map([[name, [value]]]) });
    expect(left()).toEqual(expected);
  });

  test("refuses a filter that is none, and removes nothing", async () => {
    await entry("a");
    const pruned = pruneCache(use(), { filters: new Map([["what", ["x"]]]) });
    expect(await pruned.catch((error: Error) => error.message)).toBe("invalid filter 'what'");
    expect(left()).toEqual(["a"]);
  });
});

describe("listCache()", () => {
  test("tells size, use and whether images have it", async () => {
    chains = new Set([await entry("a", { sizeBytes: 7 })]);
    const [record] = await listCache(use());
    expect(record).toMatchObject({
      sizeBytes: 7,
      isShared: true,
      isInUse: false,
      usageCount: 1,
      type: "regular",
      description: "a",
    });
    expect(record?.id).toHaveLength(25);
  });
});

describe("CacheMounts", () => {
  const request = { mode: 0o700, uid: 3, gid: 4 } as const;
  const signal = new AbortController().signal;

  test("one that is private and in use gets a second folder, a shared one the same", async () => {
    const take = async (sharing: "private" | "shared"): ReturnType<CacheMounts["acquire"]> =>
      await mounts.acquire({ ...request, id: `/${sharing}`, sharing, signal });
    const [one, two] = [await take("private"), await take("private")];
    expect(one.path).not.toBe(two.path);
    one.release();
    expect((await take("private")).path).toBe(one.path);
    expect((await take("shared")).path).toBe((await take("shared")).path);
  });

  test("one that is locked is waited for, and a canceled wait is over", async () => {
    const take = async (stop: AbortSignal): ReturnType<CacheMounts["acquire"]> =>
      await mounts.acquire({ ...request, id: "/l", sharing: "locked", signal: stop });
    const first = await take(signal);
    const stop = new AbortController();
    const canceled = take(stop.signal).then(
      () => "taken",
      () => "canceled",
    );
    const waiting = take(signal);
    stop.abort();
    expect(await canceled).toBe("canceled");
    first.release();
    (await waiting).release();
  });
});
