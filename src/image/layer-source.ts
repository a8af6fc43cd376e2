/**
 * The bytes of an image's layers, wherever they are: a blob in the content store, or made anew from
 * the layer's snapshot.
 *
 * A layer that was made here (built, committed) has no blob: its snapshot holds the same files, and
 * the archive of a snapshot is the same bytes each time. Only bytes that leave the engine are made.
 */
import type { ContentStore } from "../content/content-store.ts";
import { verifyStream } from "../content/verify.ts";
import { decompress } from "../lib/compression/compression.ts";
import { EngineError } from "../lib/errors.ts";
import { toReadableStream } from "../lib/stream-limit.ts";
import { openDiff } from "../snapshot/diff/diff-client.ts";
import type { DiffRequest } from "../snapshot/diff/diff.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { LayerRecord } from "./image-records.ts";

/** Where layers are. */
export interface LayerStore {
  readonly content: ContentStore;
  readonly snapshots: Snapshotter;
}

/** How a layer is read. */
export interface LayerReadOptions {
  /** Its abort ends the stream with `canceled`. */
  readonly signal?: AbortSignal;
}

/** Tells whether the bytes of a layer can be had; the snapshot it stands on is another question. */
export function hasLayerBytes(store: LayerStore, layer: LayerRecord): boolean {
  if (store.content.find(layer.digest) !== undefined) return true;
  return layer.fromSnapshot !== undefined && store.snapshots.find(layer.chainId) !== undefined;
}

/**
 * Streams the bytes that `layer.digest` names, `layer.sizeBytes` of them.
 *
 * What is made anew is checked as it passes: whoever reads to the end without a throw has them.
 *
 * @throws data-loss when the blob is missing, or (the stream) when the snapshot has changed
 */
export function openLayer(
  store: LayerStore,
  layer: LayerRecord,
  options: LayerReadOptions = {},
): ReadableStream<Uint8Array> {
  if (store.content.find(layer.digest) !== undefined) return store.content.open(layer.digest);
  const { signal } = options;
  const made = openDiff(layerDiff(store, layer), signal === undefined ? {} : { signal });
  const { digest, sizeBytes } = layer;
  return toReadableStream(verifyStream(made, { digest, sizeBytes }));
}

/** Streams a layer's archive, unpacked: the bytes that `layer.diffId` names. @throws as `openLayer` */
export function openLayerTar(
  store: LayerStore,
  layer: LayerRecord,
  options: LayerReadOptions = {},
): ReadableStream<Uint8Array> {
  const bytes = openLayer(store, layer, options);
  if (layer.digest === layer.diffId) return bytes;
  return toReadableStream(verifyStream(decompress(bytes), { digest: layer.diffId }));
}

/** What to ask the diff helper for the bytes of a layer without a blob. @throws data-loss */
export function layerDiff(store: LayerStore, layer: LayerRecord): DiffRequest {
  const { fromSnapshot, chainId, digest } = layer;
  if (fromSnapshot === undefined || store.snapshots.find(chainId) === undefined) {
    throw new EngineError("data-loss", `read layer ${digest}: its blob is missing`);
  }
  const { epochS } = fromSnapshot;
  return { ...store.snapshots.layersOf(chainId), ...(epochS === undefined ? {} : { epochS }) };
}
