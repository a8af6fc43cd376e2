import type { ImageContext } from "../context.ts";
import { unpackSnapshotPrefix } from "../store-image.ts";

/**
 * Removes blobs and layer snapshots that neither an image nor a lease nor a container needs.
 *
 * Only called while no image is being made: everything that is needed has a record or a lease.
 *
 * @param options.isStart nothing is being unpacked yet: what was is a crash's. Later it may be a
 * build's, which makes no image here
 * @returns bytes freed
 */
export async function collectGarbage(
  context: ImageContext,
  options: { readonly isStart?: boolean } = {},
): Promise<number> {
  const { index, content, leases } = context;
  const blobs = new Set<string>();
  const chains = new Set<string>();
  for (const image of index.list()) {
    blobs.add(image.id);
    blobs.add(image.manifestDigest);
    for (const layer of image.layers) {
      // Of a layer that can be made anew a blob may be there all the same: another image's.
      if (layer.fromSnapshot === undefined) blobs.add(layer.digest);
      chains.add(layer.chainId);
    }
  }
  // Of indexes, that images were chosen from, the bytes are kept: they can be pushed again.
  for (const [, { target, attachments }] of index.listNames()) {
    if (target !== undefined) blobs.add(target.digest);
    for (const digest of attachments ?? []) blobs.add(digest);
  }
  const diffIds = new Set(index.list().flatMap((image) => image.layers.map((it) => it.diffId)));
  context.distribution.retain({ blobs, diffIds });
  for (const piece of context.distribution.pieces()) blobs.add(piece);
  let freedBytes = 0;
  for (const blob of await content.list()) {
    if (blobs.has(blob.digest) || leases.isHeld(`content:${blob.digest}`)) continue;
    if (await content.remove(blob.digest)) freedBytes += blob.sizeBytes;
  }
  if (options.isStart === true) await dropUnfinished(context);
  freedBytes += await collectSnapshots(context, chains);
  return freedBytes;
}

async function dropUnfinished({ snapshots }: ImageContext): Promise<void> {
  for (const { key } of snapshots.list()) {
    if (key.startsWith(unpackSnapshotPrefix)) await snapshots.remove(key);
  }
}

/** Removes committed snapshots from the top down; one that others stand on stays. */
async function collectSnapshots(
  { snapshots, leases }: ImageContext,
  needed: ReadonlySet<string>,
): Promise<number> {
  let freedBytes = 0;
  for (;;) {
    const all = snapshots.list();
    const parents = new Set(all.map((snapshot) => snapshot.parent));
    const garbage = all.filter(
      ({ key, kind }) =>
        kind === "committed" &&
        !needed.has(key) &&
        !parents.has(key) &&
        !leases.isHeld(`snapshot:${key}`),
    );
    if (garbage.length === 0) return freedBytes;
    for (const { key, sizeBytes } of garbage) {
      await snapshots.remove(key);
      freedBytes += sizeBytes ?? 0;
    }
  }
}
