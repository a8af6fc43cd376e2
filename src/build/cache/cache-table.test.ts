import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../lib/log.ts";
import { createLeases, type Leases } from "../../metadata/leases.ts";
import type { Metadata } from "../../metadata/metadata.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { digestOf } from "../../oci/digest.ts";
import { openOverlaySnapshotter } from "../../snapshot/overlay-snapshotter.ts";
import type { Snapshotter } from "../../snapshot/snapshotter.ts";
import { CacheTable, type NewCacheEntry } from "./cache-table.ts";

let root = "";
let metadata: Metadata;
let snapshots: Snapshotter;
let leases: Leases;

function start(): void {
  metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
  const options = { root: join(root, "snapshots"), metadata, logger: silentLogger };
  snapshots = openOverlaySnapshotter(options);
  leases = createLeases();
}

async function stop(): Promise<void> {
  await snapshots[Symbol.asyncDispose]();
  metadata[Symbol.dispose]();
}

async function restart(): Promise<void> {
  await stop();
  start();
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "cache-"));
  start();
});
afterEach(async () => {
  await stop();
  rmSync(root, { recursive: true, force: true });
});

const open = (): CacheTable => new CacheTable({ metadata, leases, snapshots });

async function layer(name: string): Promise<NewCacheEntry> {
  const chainId = digestOf(name);
  await snapshots.prepare(name);
  await snapshots.commit(name, { name: chainId, sizeBytes: 5, durable: false });
  const sizes = { sizeBytes: 5, tarSizeBytes: 1024 };
  return {
    type: "regular",
    description: `RUN ${name}`,
    parents: [],
    layer: { diffId: chainId, chainId, ...sizes, createdNs: "1" },
  };
}

describe("CacheTable", () => {
  test("keeps an entry over a restart once it is flushed, and holds its snapshot", async () => {
    const table = open();
    table.put("k", await layer("a"));
    expect(leases.isHeld(`snapshot:${digestOf("a")}`)).toBe(true);
    table.flush(table.dirtyKeys);
    await restart();
    const next = open();
    expect(next.find("k")?.description).toBe("RUN a");
    expect(leases.isHeld(`snapshot:${digestOf("a")}`)).toBe(true);
  });

  test("an entry that was not flushed is not there after a crash", async () => {
    open().put("k", await layer("a"));
    await restart();
    expect(open().find("k")).toBeUndefined();
  });

  test("what was added after the sync is not flushed with it", async () => {
    const table = open();
    table.put("before", await layer("a"));
    const keys = table.dirtyKeys;
    table.put("after", await layer("b"));
    table.flush(keys);
    expect(table.dirtyKeys).toEqual(["after"]);
  });

  test("what was only used is stored without a sync, what is new is not", async () => {
    const table = open();
    table.put("old", await layer("a"));
    expect(table.hasNew).toBe(true);
    table.flush(table.dirtyKeys);
    expect(table.hasNew).toBe(false);
    table.touch("old");
    table.put("new", await layer("b"));
    table.touch("new");
    table.flushUses();
    expect(table.dirtyKeys).toEqual(["new"]);
    await restart();
    const next = open();
    expect(next.find("old")?.usageCount).toBe(2);
    expect(next.find("new")).toBeUndefined();
  });

  test("a used entry that is made again needs its sync", async () => {
    const table = open();
    table.put("k", await layer("a"));
    table.flush(table.dirtyKeys);
    table.put("k", await layer("b"));
    table.flushUses();
    expect(table.dirtyKeys).toEqual(["k"]);
    expect(table.hasNew).toBe(true);
  });

  test("an entry whose snapshot is gone is no entry, now and after a restart", async () => {
    const table = open();
    table.put("k", await layer("a"));
    table.put("l", await layer("b"));
    table.flush(table.dirtyKeys);
    await snapshots.remove(digestOf("a"));
    expect(table.find("k")).toBeUndefined();
    await snapshots.remove(digestOf("b"));
    await restart();
    expect(open().list()).toEqual([]);
  });

  test("remove() lets go of the snapshot", async () => {
    const table = open();
    table.put("k", await layer("a"));
    expect(table.remove("k")).toBe(true);
    expect(table.remove("k")).toBe(false);
    expect(leases.isHeld(`snapshot:${digestOf("a")}`)).toBe(false);
  });

  test("two entries may have the same layer, which is held until both are gone", async () => {
    const table = open();
    const entry = await layer("a");
    table.put("k", entry);
    table.put("l", entry);
    table.remove("k");
    expect(leases.isHeld(`snapshot:${digestOf("a")}`)).toBe(true);
    table.remove("l");
    expect(leases.isHeld(`snapshot:${digestOf("a")}`)).toBe(false);
  });

  test("counts uses", async () => {
    const table = open();
    table.put("k", await layer("a"));
    table.touch("k");
    table.touch("missing");
    expect(table.find("k")?.usageCount).toBe(2);
    table.use("k");
    table.use("k");
    table.release("k");
    expect(table.isInUse("k")).toBe(true);
    table.release("k");
    expect(table.isInUse("k")).toBe(false);
  });

  test("a damaged entry is dropped, and the rest is served", async () => {
    const table = open();
    table.put("k", await layer("a"));
    table.flush(table.dirtyKeys);
    await restart();
    const raw = metadata.table({ name: "build-cache", decode: (value) => value });
    raw.put("bad", { type: "regular", layer: { chainId: "no digest" } });
    await restart();
    expect(
      open()
        .list()
        .map(([key]) => key),
    ).toEqual(["k"]);
  });
});
