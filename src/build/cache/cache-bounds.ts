/** How much of the build cache may stay. */

/** Bounds that a prune ends at, in bytes. */
export interface CacheBounds {
  /** The cache takes no more. */
  readonly maxUsedBytes?: number;
  /** So much of the disk is free. */
  readonly minFreeBytes?: number;
  /** The cache may always take this much, whatever the others say. */
  readonly reservedBytes?: number;
}

/** Bounds of which at least one is given; 0 is as if it were not. */
export function readBounds(bounds: CacheBounds): CacheBounds | undefined {
  const given = Object.entries(bounds).filter(([, bytes]) => bytes !== undefined && bytes > 0);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

/**
 * Bytes of cache that may stay; undefined: all of it.
 *
 * @see BuildKit, cache/manager.go: calculateKeepBytes
 */
export function keepBytesOf(
  bounds: CacheBounds,
  disk: { readonly usedBytes: number; readonly freeBytes: number },
): number | undefined {
  const { maxUsedBytes, minFreeBytes = 0, reservedBytes = 0 } = bounds;
  const missingBytes = minFreeBytes - disk.freeBytes;
  let keepBytes = maxUsedBytes;
  if (missingBytes > 0) {
    keepBytes = Math.min(keepBytes ?? disk.usedBytes, Math.max(0, disk.usedBytes - missingBytes));
  }
  // Only what is reserved: the rest may go.
  if (keepBytes === undefined && minFreeBytes > 0) return undefined;
  return Math.max(keepBytes ?? 0, reservedBytes);
}
