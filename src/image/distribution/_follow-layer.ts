/**
 * Unpacks a layer while its blob comes, so that a pull takes as long as the longer of the two.
 *
 * The bytes are unverified until the transfer has ended: the unpacker trusts no bytes anyway, the diff
 * ID is checked as always, and the layer is committed only once the blob has its digest.
 */
import { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import { messageOf } from "../../lib/errors.ts";
import type { Arrival } from "../../content/content-store.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { unpackSnapshot } from "../../snapshot/unpack/unpack-snapshot.ts";
import type { ImageContext } from "../context.ts";
import { type PlannedLayer, unpackSnapshotPrefix } from "../store-image.ts";
import type { Downloads } from "./_downloads.ts";

/** Smaller layers are unpacked faster than it takes to begin. */
const followMinBytes = 4 * 1024 * 1024;

/** Two pulls of one layer share its transfer: the second waits for what the first makes of it. */
const following = new KeyedMutex();

/** Whether a layer is large enough to be unpacked while it comes. */
export function canFollow({ size }: Pick<Descriptor, "size">): boolean {
  return size >= followMinBytes;
}

/** A layer that comes. */
export interface FollowOptions {
  readonly layer: PlannedLayer;
  readonly downloads: Downloads;
  /** Told how many bytes of the blob have been unpacked, once all of it is here. */
  readonly onRead: (readBytes: number) => void;
}

/**
 * Unpacks a layer that is on its way, unless it is small or no helper is free.
 *
 * @returns bytes of its files; undefined when nothing came of it: then the blob is to be unpacked
 * once it is whole, which also tells why
 */
export async function followLayer(
  context: ImageContext,
  options: FollowOptions,
): Promise<number | undefined> {
  const { layer, downloads } = options;
  if (!canFollow(layer.descriptor)) return undefined;
  await downloads.begun(layer.digest);
  return await following.run(layer.chainId, async () => {
    if (context.snapshots.find(layer.chainId) !== undefined) return undefined;
    const arrival = context.content.findArrival(layer.digest);
    if (arrival === undefined || !context.unpacker.canFollow) return undefined;
    try {
      return await unpackArrival(context, { ...options, arrival });
    } catch (error) {
      const { digest } = layer;
      context.logger.debug("a layer was not unpacked on its way", {
        digest,
        error: messageOf(error),
      });
      return undefined;
    }
  });
}

async function unpackArrival(
  context: ImageContext,
  { layer, downloads, arrival, onRead }: FollowOptions & { readonly arrival: Arrival },
): Promise<number> {
  const dropped = new AbortController();
  let isHere = false;
  void arrival.isKept.then((isKept) => {
    isHere = isKept;
    if (!isKept) dropped.abort();
  });
  const { chainId, diffId, parent, descriptor } = layer;
  const { layer: made } = await unpackSnapshot(
    context,
    {
      blobPath: arrival.blobPath,
      ingest: { path: arrival.path, sizeBytes: descriptor.size },
      below: parent,
      expectedDiffId: diffId,
      keyPrefix: unpackSnapshotPrefix,
      settle: async ({ sizeBytes }) => {
        await downloads.wait(layer.digest);
        return { chainId, sizeBytes };
      },
    },
    {
      signal: AbortSignal.any([downloads.signal, dropped.signal]),
      onRead: (readBytes) => {
        if (isHere) onRead(readBytes);
      },
    },
  );
  return made.sizeBytes;
}
