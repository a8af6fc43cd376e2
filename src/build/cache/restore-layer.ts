/** Takes a step's layer from elsewhere instead of running the step. */
import type { BlobInfo } from "../../content/content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { unpackSnapshot } from "../../snapshot/unpack/unpack-snapshot.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { type MadeLayer, stepSnapshotPrefix } from "../step.ts";

/** What layers are restored with. */
export type RestoreOptions = Pick<
  BuildServiceOptions,
  "snapshots" | "leases" | "unpacker" | "hasher"
>;

/** A layer that is offered. */
export interface OfferedLayer {
  /** Chain ID of what the step stands on. */
  readonly below: Digest | undefined;
  readonly diffId: Digest;
  readonly createdNs: string;
  readonly epochS?: number;
  /** Brings the blob; called only when the files are not here yet. */
  readonly fetch: () => Promise<BlobInfo>;
  /** Holds blob and snapshot. */
  readonly leaseId: string;
  readonly signal: AbortSignal;
}

/**
 * Unpacks a layer on what the step stands on.
 *
 * The files are hashed again as if the step had run here: what does not come to the layer that was
 * promised, is not taken.
 *
 * @throws data-loss when blob and promise differ, or the files do not come to the same archive
 */
export async function restoreLayer(
  options: RestoreOptions,
  offered: OfferedLayer,
): Promise<MadeLayer> {
  const { snapshots, leases } = options;
  const { below, diffId, leaseId } = offered;
  const chainId = below === undefined ? diffId : digestOf(`${below} ${diffId}`);
  leases.add(leaseId, `snapshot:${chainId}`);
  if (snapshots.find(chainId)?.kind === "committed") {
    return { chainId, ...(await hash(options, { name: chainId, offered })) };
  }
  const { digest, path: blobPath } = await offered.fetch();
  leases.add(leaseId, `content:${digest}`);
  const { layer, isNew } = await unpackSnapshot(
    options,
    {
      blobPath,
      below,
      expectedDiffId: diffId,
      keyPrefix: stepSnapshotPrefix,
      settle: async ({ key }) => ({ chainId, ...(await hash(options, { name: key, offered })) }),
    },
    { signal: offered.signal },
  );
  // Another build has brought the same meanwhile: those files must keep the promise, too.
  return isNew ? layer : { chainId, ...(await hash(options, { name: chainId, offered })) };
}

async function hash(
  { snapshots, hasher }: RestoreOptions,
  wanted: { readonly name: string; readonly offered: OfferedLayer },
): Promise<Omit<MadeLayer, "chainId">> {
  const { diffId, createdNs, epochS, signal } = wanted.offered;
  const epoch = epochS === undefined ? {} : { epochS };
  const made = await hasher.hash({ ...snapshots.layersOf(wanted.name), ...epoch }, { signal });
  if (made.diffId !== diffId) {
    throw new EngineError("data-loss", `the layer ${diffId} comes to ${made.diffId} here`);
  }
  const { tarSizeBytes, sizeBytes } = made;
  return { diffId, tarSizeBytes, sizeBytes, createdNs, ...epoch };
}
