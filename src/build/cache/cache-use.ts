/** What the build cache takes, and how it gives it back. */
import { EngineError } from "../../lib/errors.ts";
import type { ImageService } from "../../image/image-service.ts";
import type { Filters } from "../../lib/filters.ts";
import { nowNs, parseDuration } from "../../lib/time.ts";
import type { CacheRecord } from "../build-service.ts";
import type { CacheMounts } from "./cache-mounts.ts";
import type { CacheEntry, CacheTable } from "./cache-table.ts";
import type { BuildServiceOptions } from "../environment.ts";

/** What is asked of a prune. */
export interface PruneOptions {
  readonly all?: boolean;
  /** Least recently used entries go until no more than this is left. */
  readonly keepBytes?: number;
  readonly filters: Filters;
}

/** Whose cache. */
export interface CacheUse {
  readonly options: Pick<BuildServiceOptions, "snapshots"> & {
    readonly images: Pick<ImageService, "collect" | "layerChains">;
  };
  readonly cache: CacheTable;
  readonly cacheMounts: CacheMounts;
}

/** Names of filters that are taken; the others are refused by name. */
const filterNames: ReadonlySet<string> = new Set([
  "until",
  "unused-for",
  "id",
  "type",
  "inuse",
  "shared",
  "private",
  "mutable",
  "immutable",
  "description",
]);

/** Lists the entries of the cache. */
export async function listCache(use: CacheUse): Promise<readonly CacheRecord[]> {
  return [...(await recordsOf(use)).values()];
}

/** All entries by their keys. */
async function recordsOf(use: CacheUse): Promise<ReadonlyMap<string, CacheRecord>> {
  const shared = use.options.images.layerChains();
  const records = use.cache
    .list()
    .map(async ([key, entry]) => [key, await recordOf(use, { key, entry, shared })] as const);
  return new Map(await Promise.all(records));
}

async function recordOf(
  use: CacheUse,
  of: {
    readonly key: string;
    readonly entry: CacheEntry;
    readonly shared: ReadonlySet<string>;
  },
): Promise<CacheRecord> {
  const { key, entry, shared } = of;
  const sizeBytes = entry.layer?.sizeBytes ?? (await use.options.snapshots.usage(key)).sizeBytes;
  return {
    id: shortKey(key),
    parents: entry.parents.map(shortKey),
    type: entry.type,
    description: entry.description,
    isInUse: use.cache.isInUse(key) || use.cacheMounts.isInUse(key),
    isShared: entry.layer !== undefined && shared.has(entry.layer.chainId),
    sizeBytes,
    createdNs: entry.createdNs,
    lastUsedNs: entry.lastUsedNs,
    usageCount: entry.usageCount,
  };
}

/** An entry's ID as people see it; BuildKit's are 25 characters long too. */
function shortKey(key: string): string {
  return key
    .replace(/^sha256:/, "")
    .replace(/^buildcache-/, "")
    .slice(0, 25);
}

/**
 * Removes entries that no build uses, and gives their layers to the collector.
 *
 * What images have as well stays unless `all` is asked for: it would free nothing.
 *
 * @returns what was removed, and the bytes that nobody else has
 *
 * @throws invalid-argument for a filter that is none
 */
export async function pruneCache(
  use: CacheUse,
  options: PruneOptions,
): Promise<{ readonly removed: readonly string[]; readonly spaceReclaimedBytes: number }> {
  for (const name of options.filters.keys()) {
    if (!filterNames.has(name.replace(/[!~=]+$/, ""))) {
      throw new EngineError("invalid-argument", `invalid filter '${name}'`);
    }
  }
  const records = await recordsOf(use);
  const parents = new Set(use.cache.list().flatMap(([, entry]) => entry.parents));
  let total = [...records.values()].reduce((sum, record) => sum + ownBytes(record), 0);
  const candidates = [...records]
    .filter(
      ([, record]) =>
        !record.isInUse &&
        (!record.isShared || options.all === true || options.filters.has("shared")) &&
        matches(record, options.filters),
    )
    .toSorted(([, a], [, b]) => order(a, b));
  const removed: string[] = [];
  let freed = 0;
  for (const [key, record] of candidates) {
    if (options.keepBytes !== undefined && total <= options.keepBytes) break;
    // What others stand on goes with them or not at all.
    if (parents.has(key) && options.keepBytes !== undefined && isNeeded(use, key)) continue;
    use.cache.remove(key);
    if (record.type === "exec.cachemount") await use.options.snapshots.remove(key);
    removed.push(record.id);
    total -= ownBytes(record);
    freed += ownBytes(record);
  }
  if (removed.length > 0) await use.options.images.collect();
  return { removed, spaceReclaimedBytes: freed };
}

/** Bytes that go with an entry: those of a layer that images have as well stay. */
function ownBytes({ isShared, sizeBytes }: CacheRecord): number {
  return isShared ? 0 : sizeBytes;
}

/** Whether an entry that is left stands on this one. */
function isNeeded(use: CacheUse, key: string): boolean {
  return use.cache.list().some(([, entry]) => entry.parents.includes(key));
}

/** Least recently used first; of those the least often used. */
function order(a: CacheRecord, b: CacheRecord): number {
  const [left, right] = [BigInt(a.lastUsedNs ?? a.createdNs), BigInt(b.lastUsedNs ?? b.createdNs)];
  if (left !== right) return left < right ? -1 : 1;
  return a.usageCount - b.usageCount;
}

function matches(record: CacheRecord, filters: Filters): boolean {
  for (const [name, values] of filters) {
    if (values.length > 0 && !values.some((value) => matchesOne(record, name, value))) return false;
  }
  return true;
}

function matchesOne(record: CacheRecord, name: string, value: string): boolean {
  switch (name) {
    case "until":
    case "unused-for": {
      const last = BigInt(record.lastUsedNs ?? record.createdNs);
      return last < nowNs() - parseDuration(value);
    }
    case "id":
      return record.id.startsWith(value);
    case "type":
      return record.type === value;
    case "inuse":
      return String(record.isInUse) === (value === "" ? "true" : value);
    case "shared":
      return String(record.isShared) === (value === "" ? "true" : value);
    case "private":
      return String(!record.isShared) === (value === "" ? "true" : value);
    case "mutable":
      return (record.type === "exec.cachemount") === (value !== "false");
    case "immutable":
      return (record.type !== "exec.cachemount") === (value !== "false");
    case "description":
      return record.description.includes(value);
    default:
      return true;
  }
}
