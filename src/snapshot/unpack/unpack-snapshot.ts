import { createId } from "../../lib/id.ts";
import type { BlobSource } from "./_blob-file.ts";
import type { Digest } from "../../oci/digest.ts";
import { commitLayer } from "../commit-layer.ts";
import type { Snapshotter } from "../snapshotter.ts";
import type { AppliedLayer } from "./apply.ts";
import type { Unpacker, UnpackOptions } from "./unpack-client.ts";

/** Where layers are unpacked. */
export interface UnpackStore {
  readonly snapshots: Pick<Snapshotter, "prepare" | "layersOf" | "commit" | "remove">;
  readonly unpacker: Pick<Unpacker, "unpack">;
}

/** What a snapshot is committed as. */
export interface SettledLayer {
  readonly chainId: Digest;
  readonly sizeBytes: number;
}

/** A blob, and what it is unpacked on. */
export interface BlobUnpack extends BlobSource {
  /** Chain ID of the layer below. */
  readonly below: Digest | undefined;
  /** `data-loss` when the blob's bytes have another. */
  readonly expectedDiffId?: Digest;
}

/** A layer to unpack. */
export interface LayerUnpack<T extends SettledLayer> extends BlobUnpack {
  /** Begins the key that the snapshot has until it is committed. */
  readonly keyPrefix: string;
  /** Says what the files are, once they are there; what it throws ends the unpacking. */
  settle(unpacked: { readonly key: string; readonly sizeBytes: number }): Promise<T>;
}

/**
 * Makes a committed snapshot of a layer's blob, on top of another one. It is not durable yet.
 *
 * @returns what `settle` said. `isNew` is false when somebody has committed the same layer meanwhile:
 * the snapshot is theirs then
 * @throws what `Unpacker.unpack`, `Snapshotter.prepare` and `settle` throw; no snapshot is left then
 */
export async function unpackSnapshot<T extends SettledLayer>(
  store: UnpackStore,
  wanted: LayerUnpack<T>,
  how: UnpackOptions = {},
): Promise<{ readonly layer: T; readonly isNew: boolean }> {
  const key = `${wanted.keyPrefix}${createId()}`;
  try {
    const { sizeBytes } = await unpackActive(store, { ...wanted, key }, how);
    const layer = await wanted.settle({ key, sizeBytes });
    return { layer, isNew: await commitLayer(store.snapshots, key, layer) };
  } catch (error) {
    await store.snapshots.remove(key);
    throw error;
  }
}

/**
 * Unpacks a blob into a new active snapshot; the caller commits or removes it, also after a failure.
 *
 * @throws what `Unpacker.unpack` and `Snapshotter.prepare` throw
 */
export async function unpackActive(
  {
    snapshots,
    unpacker,
  }: Pick<UnpackStore, "unpacker"> & {
    readonly snapshots: Pick<Snapshotter, "prepare" | "layersOf">;
  },
  wanted: BlobUnpack & { readonly key: string },
  how: UnpackOptions = {},
): Promise<AppliedLayer> {
  const { key, blobPath, ingest, below, expectedDiffId } = wanted;
  await snapshots.prepare(key, {
    ...(below === undefined ? {} : { parent: below }),
    forLayer: true,
  });
  const { kind, dir, parentDirs } = snapshots.layersOf(key);
  const isOverlay = kind === "overlay";
  return await unpacker.unpack(
    {
      blobPath,
      ...(ingest === undefined ? {} : { ingest }),
      targetDir: dir,
      // A copy has the files of its parents in it.
      parentDirs: isOverlay ? parentDirs : [],
      whiteouts: isOverlay ? "overlay" : "remove",
      ...(expectedDiffId === undefined ? {} : { expectedDiffId }),
    },
    how,
  );
}
