/** The kept folders of clients as a part of the build cache: told with it, and pruned with it. */
import { EngineError } from "../../lib/errors.ts";
import { run } from "../../sys/process/process.ts";
import { type CacheBounds, keepBytesOf, readBounds } from "../cache/cache-bounds.ts";
import type { BuildService, CacheRecord } from "../build-service.ts";
import type { ContextFolders } from "./context-folders.ts";

/** Filters that leave the kept folders alone: what they ask for is not known of a folder. */
const foreignFilters: readonly string[] = ["parent", "parents", "description", "shared", "until"];

/**
 * The cache of a builder together with the kept folders.
 *
 * A prune to a size gives up folders first: they are the cheapest to get again.
 */
export function withContextFolders(service: BuildService, folders: ContextFolders): BuildService {
  const bounded = async <T extends object>(
    bounds: CacheBounds,
    options: T,
  ): Promise<(T & { readonly keepBytes: number }) | undefined> => {
    const usedBytes = await usedBytesOf(service, await recordsOf(folders));
    const keepBytes = keepBytesOf(bounds, { usedBytes, freeBytes: folders.freeBytes });
    return keepBytes === undefined ? undefined : { ...options, keepBytes };
  };
  return {
    build: async (request) => await service.build(request),
    cancel: (id) => service.cancel(id),
    makeContextFolder: async () => await service.makeContextFolder(),
    unpackContext: async (tar, options) => await service.unpackContext(tar, options),
    recover: async () => await service.recover(),
    diskUsage: async () => [...(await service.diskUsage()), ...(await recordsOf(folders))],
    async prune({ bounds: given = {}, ...asked }) {
      const bounds = readBounds(given);
      const options = bounds === undefined ? asked : await bounded(bounds, asked);
      if (options === undefined) return { removed: [], spaceReclaimedBytes: 0 };
      const records = (await recordsOf(folders)).filter(({ isInUse }) => !isInUse);
      const wanted = records.filter((record) => isMeant(record, options.filters));
      const { keepBytes } = options;
      const isKept = keepBytes !== undefined && (await usedBytesOf(service, records)) <= keepBytes;
      const removed = isKept ? [] : await folders.remove(new Set(wanted.map(({ id }) => id)));
      const freed = wanted.filter(({ id }) => removed.includes(id));
      const pruned = await service.prune(options);
      return {
        removed: [...removed, ...pruned.removed],
        spaceReclaimedBytes: pruned.spaceReclaimedBytes + sumOf(freed),
      };
    },
  };
}

async function usedBytesOf(
  service: BuildService,
  records: readonly CacheRecord[],
): Promise<number> {
  return sumOf(await service.diskUsage()) + sumOf(records);
}

function sumOf(records: readonly CacheRecord[]): number {
  return records.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function isMeant(record: CacheRecord, filters: ReadonlyMap<string, readonly string[]>): boolean {
  if (foreignFilters.some((key) => filters.has(key))) return false;
  const [ids, types] = [filters.get("id"), filters.get("type")];
  return (ids?.includes(record.id) ?? true) && (types?.includes(record.type) ?? true);
}

async function recordsOf(folders: ContextFolders): Promise<readonly CacheRecord[]> {
  const kept = folders.list();
  const sizes = await sizesOf(kept.map(({ path }) => path));
  return kept.map(({ id, path, isInUse, lastUsedMs }) => ({
    id,
    parents: [],
    type: "source.local",
    description: "local source for context",
    isInUse,
    isShared: false,
    sizeBytes: sizes.get(path) ?? 0,
    createdNs: nsOf(lastUsedMs),
    lastUsedNs: nsOf(lastUsedMs),
    usageCount: 1,
  }));
}

function nsOf(ms: number): string {
  return String(BigInt(Math.trunc(ms)) * 1_000_000n);
}

/** What folders take on the disk, by path; those that are gone meanwhile are missing. */
async function sizesOf(paths: readonly string[]): Promise<ReadonlyMap<string, number>> {
  if (paths.length === 0) return new Map();
  const { stdout } = await run({ argv: ["du", "-s", "--block-size=1", "--", ...paths] });
  const sizes = new Map<string, number>();
  for (const line of stdout.split("\n")) {
    const [size = "", path] = line.split("\t");
    if (path === undefined) continue;
    if (!/^\d+$/.test(size)) throw new EngineError("internal", `measure ${path}: du told ${size}`);
    sizes.set(path, Number(size));
  }
  return sizes;
}
