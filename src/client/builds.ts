/** Operations on builds, besides those of BuildKit's protocol. */
import { encodeFilters, type Transport } from "./transport.ts";

/** What a prune of the build cache has removed. @see Engine API v1.51, BuildPruneResponse */
export interface BuildPruneResponse {
  readonly CachesDeleted: readonly string[] | null;
  readonly SpaceReclaimed: number;
}

/** @see Engine API v1.51, BuildPrune */
export function pruneBuildCache(
  transport: Transport,
  options: {
    readonly all: boolean;
    /** Bytes that the cache may always take. */
    readonly reservedBytes?: number;
    /** Bytes that it may take at most. */
    readonly maxUsedBytes?: number;
    /** Bytes that are to be free on the disk. */
    readonly minFreeBytes?: number;
    readonly filters: ReadonlyMap<string, readonly string[]>;
  },
): Promise<BuildPruneResponse> {
  const { all, reservedBytes, maxUsedBytes, minFreeBytes, filters } = options;
  return transport.json("POST /build/prune", {
    query: {
      all,
      // Its name before version 1.48, which later engines know too.
      "keep-storage": reservedBytes,
      "reserved-space": reservedBytes,
      "max-used-space": maxUsedBytes,
      "min-free-space": minFreeBytes,
      filters: encodeFilters(filters),
    },
  });
}
