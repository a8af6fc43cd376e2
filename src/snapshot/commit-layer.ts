import { isKind } from "../lib/errors.ts";
import type { CommitOptions, Snapshotter } from "./snapshotter.ts";

/**
 * Commits a layer's snapshot under its chain ID, unless the same layer is there already: then that one
 * is it, and the active snapshot goes. Not durable yet; the caller syncs before it acknowledges.
 *
 * @returns whether it was new
 */
export async function commitLayer(
  snapshots: Pick<Snapshotter, "commit" | "remove">,
  key: string,
  layer: {
    readonly chainId: string;
    readonly sizeBytes: number;
    readonly onto?: CommitOptions["onto"];
  },
): Promise<boolean> {
  const { chainId, sizeBytes, onto } = layer;
  const where = onto === undefined ? {} : { onto };
  try {
    await snapshots.commit(key, { name: chainId, sizeBytes, durable: false, ...where });
    return true;
  } catch (error) {
    // Two that make the same layer may both have begun before either was done.
    if (!isKind(error, "already-exists")) throw error;
    await snapshots.remove(key);
    return false;
  }
}
