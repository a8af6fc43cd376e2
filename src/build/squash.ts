/** One layer in place of all that a build has made. */
import { createId } from "../lib/id.ts";
import { nowNs } from "../lib/time.ts";
import type { BuildServiceOptions } from "./environment.ts";
import type { PlatformResult } from "./export/result.ts";
import { stepSnapshotPrefix } from "./solve.ts";
import { chainIdOf, type MadeLayer } from "./step.ts";

/**
 * Copies a result's files, as they show, into one new layer.
 *
 * The history stays to be read; its last entry tells of the merge and has the layer.
 */
export async function squashResult(
  options: Pick<BuildServiceOptions, "snapshots" | "copier" | "hasher" | "leases">,
  wanted: {
    readonly solved: PlatformResult;
    /** Holds the layer. */
    readonly leaseId: string;
    readonly signal: AbortSignal;
  },
): Promise<PlatformResult> {
  const { solved, leaseId, signal } = wanted;
  const { snapshots, copier, hasher, leases } = options;
  const top = chainIdOf(solved.result);
  if (top === undefined || solved.result.layers.length === 1) return solved;
  const key = `${stepSnapshotPrefix}${createId()}`;
  const target = await snapshots.prepare(key);
  try {
    await copier.copy(
      {
        target,
        steps: [
          {
            kind: "copy",
            sources: [
              {
                kind: "files",
                selection: {
                  tree: { kind: "snapshot", mount: snapshots.mounts(top) },
                  paths: ["/"],
                  excludes: [],
                  hasParents: false,
                  isLiteral: true,
                },
                unpack: "never",
              },
            ],
            destination: "/",
            resetsOwners: false,
          },
        ],
      },
      { signal },
    );
    const hashed = await hasher.hash(snapshots.layersOf(key), { signal });
    const { diffId, tarSizeBytes, sizeBytes } = hashed;
    leases.add(leaseId, `snapshot:${diffId}`);
    if (snapshots.find(diffId) === undefined) {
      await snapshots.commit(key, { name: diffId, sizeBytes, durable: false });
    } else await snapshots.remove(key);
    const createdNs = nowNs().toString();
    const layer: MadeLayer = { diffId, chainId: diffId, tarSizeBytes, sizeBytes, createdNs };
    const draft = solved.graph.draft.squash(`merge ${top}`);
    return {
      graph: { ...solved.graph, draft },
      result: { layers: [layer], isCached: false },
    };
  } catch (error) {
    await snapshots.remove(key);
    throw error;
  }
}
