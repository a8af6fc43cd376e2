/** What the build cache takes, and how it gives it back. */
import { EngineError } from "../lib/errors.ts";
import type { Filters } from "../lib/filters.ts";
import { nowNs, parseDuration } from "../lib/time.ts";
import type { CacheRecord } from "./build-service.ts";
import type { CacheMounts } from "./cache-mounts.ts";
import type { CacheEntry, CacheTable } from "./cache-table.ts";
import type { BuildServiceOptions } from "./environment.ts";

/** What is asked of a prune. */
export interface PruneOptions {
  readonly all?: boolean;
  /** Least recently used entries go until no more than this is left. */
  readonly keepBytes?: number;
  readonly filters: Filters;
}

/** Whose cache. */
export interface CacheUse {
  readonly options: Pick<BuildServiceOptions, "snapshots" | "images">;
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
  const entries = use.cache.list();
  return await Promise.all(entries.map(async ([key, entry]) => await recordOf(use, key, entry)));
}

async function recordOf(use: CacheUse, key: string, entry: CacheEntry): Promise<CacheRecord> {
  const sizeBytes = entry.layer?.sizeBytes ?? (await use.options.snapshots.usage(key)).sizeBytes;
  return {
    id: shortKey(key),
    parents: entry.parents.map(shortKey),
    type: entry.type,
    description: entry.description,
    isInUse: use.cache.isInUse(key) || use.cacheMounts.isInUse(key),
    isShared: false,
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
 * Without `all` and filters everything unused goes all the same, as nothing else refers to it: Docker
 * keeps only what images share.
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
  const records = new Map<string, CacheRecord>();
  for (const [key, entry] of use.cache.list()) records.set(key, await recordOf(use, key, entry));
  const parents = new Set(use.cache.list().flatMap(([, entry]) => entry.parents));
  let total = [...records.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const candidates = [...records]
    .filter(([, record]) => !record.isInUse && matches(record, options.filters))
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
    total -= record.sizeBytes;
    freed += record.sizeBytes;
  }
  if (removed.length > 0) await use.options.images.collect();
  return { removed, spaceReclaimedBytes: freed };
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
