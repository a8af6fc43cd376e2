import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../../lib/log.ts";
import type { BuildService, CacheRecord } from "../build-service.ts";
import { withContextFolders } from "./context-cache.ts";
import { ContextFolders, type TakenFolder } from "./context-folders.ts";

let root = "";
let folders: ContextFolders;
const step: CacheRecord = {
  id: "step",
  parents: [],
  type: "regular",
  description: "RUN x",
  isInUse: false,
  isShared: false,
  sizeBytes: 1000,
  createdNs: "1",
  usageCount: 1,
};
const service = {
  diskUsage: async () => await Promise.resolve([step]),
  prune: async () => await Promise.resolve({ removed: ["step"], spaceReclaimedBytes: 1000 }),
} as unknown as BuildService;
beforeEach(() => {
  root = mkdtempSync("/tmp/context-cache-");
  folders = new ContextFolders({ root, logger: silentLogger });
});
afterEach(() => rmSync(root, { recursive: true }));

/** A kept folder of some size. */
function keep(key: string): TakenFolder {
  const taken = folders.take(key);
  writeFileSync(join(taken.path, "f"), Buffer.alloc(100_000));
  return taken;
}

const prune = async (
  filters: Readonly<Record<string, string>> = {},
  keepBytes?: number,
): Promise<{ readonly removed: readonly string[]; readonly spaceReclaimedBytes: number }> =>
  await withContextFolders(service, folders).prune({
    filters: new Map(Object.entries(filters).map(([key, value]) => [key, [value]])),
    ...(keepBytes === undefined ? {} : { keepBytes }),
  });

describe("kept folders", () => {
  test("are told with the cache", async () => {
    const [idle, busy] = [keep("a"), keep("b")];
    await idle.release();
    const records = await withContextFolders(service, folders).diskUsage();
    const local = records.filter(({ type }) => type === "source.local");
    expect(local.filter(({ isInUse }) => isInUse).length).toBe(1);
    expect(local.length).toBe(2);
    expect(local[0]?.sizeBytes).toBeGreaterThanOrEqual(100_000);
    expect(records).toContain(step);
    await busy.release();
  });

  test("are pruned with it, unless a build reads them", async () => {
    const [idle, busy] = [keep("a"), keep("b")];
    await idle.release();
    const { removed, spaceReclaimedBytes } = await prune();
    expect(removed.length).toBe(2);
    expect(spaceReclaimedBytes).toBeGreaterThan(100_000);
    expect([existsSync(idle.path), existsSync(busy.path)]).toEqual([false, true]);
    await busy.release();
  });

  test.each([
    [{ type: "regular" }, undefined, true],
    [{ type: "source.local" }, undefined, false],
    [{ until: "24h" }, undefined, true],
    [{ id: "another" }, undefined, true],
    [{}, 10_000_000, true],
    [{}, 50_000, false],
  ])("with filters %p and a size %p stay: %p", async (filters, keepBytes, stays) => {
    const idle = keep("a");
    await idle.release();
    await prune(filters as Record<string, string>, keepBytes);
    expect(existsSync(idle.path)).toBe(stays);
  });

  test("beyond their number go, those that nobody used for longest first", async () => {
    const first = keep("first");
    await first.release();
    await Bun.sleep(20);
    for (let at = 0; at < 64; at += 1) await folders.take(`k${at}`).release();
    expect(existsSync(first.path)).toBe(false);
    expect(folders.list().length).toBe(64);
  });
});
