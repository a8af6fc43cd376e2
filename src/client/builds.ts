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
    /** Bytes of cache that stay. */
    readonly keepBytes?: number;
    readonly filters: ReadonlyMap<string, readonly string[]>;
  },
): Promise<BuildPruneResponse> {
  const { all, keepBytes, filters } = options;
  return transport.json("POST /build/prune", {
    query: { all, "keep-storage": keepBytes, filters: encodeFilters(filters) },
  });
}
