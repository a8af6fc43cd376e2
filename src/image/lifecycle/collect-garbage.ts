import { nextTurn } from "../../lib/concurrency/turn.ts";
import { isKind } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import type { SnapshotInfo } from "../../snapshot/snapshotter.ts";
import type { ImageContext } from "../context.ts";
import { unpackSnapshotPrefix } from "../store-image.ts";

/** Snapshots whose records go in one transaction. */
const removedAtOnce = 64;

/**
 * Removes blobs and layer snapshots that neither an image nor a lease nor a container needs.
 *
 * Everything that is needed has a record when this begins, or a lease until it ends: images may be made
 * meanwhile.
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
  // Should it be lost, the next collection forgets the same.
  context.metadata.transaction(() => context.distribution.retain({ blobs, diffIds }), {
    durable: false,
  });
  const pieces = [...context.distribution.pieces()].filter((piece) => !blobs.has(piece));
  // Nobody has synced them before a crash that was a power cut.
  if (options.isStart === true) await takeBack(context, pieces);
  for (const piece of pieces) blobs.add(piece);
  // Whatever no record names must not be named again after a power cut.
  await context.metadata.flush();
  let freedBytes = 0;
  for (const blob of await content.list()) {
    if (blobs.has(blob.digest) || leases.isHeld(`content:${blob.digest}`)) continue;
    if (await content.remove(blob.digest)) freedBytes += blob.sizeBytes;
  }
  if (options.isStart === true) await dropUnfinished(context);
  freedBytes += await collectSnapshots(context, chains);
  return freedBytes;
}

async function takeBack(context: ImageContext, pieces: readonly Digest[]): Promise<void> {
  const { content, leases } = context;
  for (const digest of pieces) {
    if (content.find(digest) === undefined || leases.isHeld(`content:${digest}`)) continue;
    await content.takeBack(digest);
  }
}

async function dropUnfinished({ snapshots }: ImageContext): Promise<void> {
  const unfinished = snapshots.list().filter(({ key }) => key.startsWith(unpackSnapshotPrefix));
  await snapshots.removeAll(unfinished.map(({ key }) => key));
}

/** Removes committed snapshots from the top down; one that others stand on stays. */
async function collectSnapshots(
  { snapshots, leases }: ImageContext,
  needed: ReadonlySet<string>,
): Promise<number> {
  const isGarbage = ({ key, kind }: SnapshotInfo): boolean =>
    kind === "committed" && !needed.has(key) && !leases.isHeld(`snapshot:${key}`);
  let freedBytes = 0;
  for (;;) {
    const garbage = fromTheTop(snapshots.list(), isGarbage).slice(0, removedAtOnce);
    if (garbage.length === 0) return freedBytes;
    if (!(await removeSnapshots(snapshots, garbage))) return freedBytes;
    for (const { sizeBytes } of garbage) freedBytes += sizeBytes ?? 0;
    await nextTurn();
  }
}

/** @returns false when something is just being put onto one: the next collection sees it */
async function removeSnapshots(
  snapshots: ImageContext["snapshots"],
  garbage: readonly SnapshotInfo[],
): Promise<boolean> {
  try {
    await snapshots.removeAll(garbage.map(({ key }) => key));
    return true;
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
    return false;
  }
}

/** What is garbage and has nothing on it but garbage, each before what it stands on. */
function fromTheTop(
  all: readonly SnapshotInfo[],
  isGarbage: (snapshot: SnapshotInfo) => boolean,
): readonly SnapshotInfo[] {
  const byKey = new Map(all.map((snapshot) => [snapshot.key, snapshot]));
  const childCounts = new Map<string, number>();
  for (const { parent } of all) {
    if (parent !== undefined) childCounts.set(parent, (childCounts.get(parent) ?? 0) + 1);
  }
  const found = all.filter((each) => !childCounts.has(each.key) && isGarbage(each));
  // It grows while it is walked: what stood on a snapshot has been found before.
  for (const { parent } of found) {
    if (parent === undefined) continue;
    const left = (childCounts.get(parent) ?? 0) - 1;
    childCounts.set(parent, left);
    const below = byKey.get(parent);
    if (left === 0 && below !== undefined && isGarbage(below)) found.push(below);
  }
  return found;
}
