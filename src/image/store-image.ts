/**
 * From blobs to an image: unpacks its layers, syncs everything, writes the record.
 */
import type { ContentStore } from "../content/content-store.ts";
import { EngineError } from "../lib/errors.ts";
import { KeyedMutex } from "../lib/concurrency/keyed-mutex.ts";
import { nowNs } from "../lib/time.ts";
import { chainIds, type Digest } from "../oci/digest.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import {
  decodeImageConfig,
  type ImageConfig,
  imageConfigMaxBytes,
  imagePlatform,
} from "../oci/image-config.ts";
import type { Manifest } from "../oci/manifest.ts";
import type { ImageRecord, LayerRecord } from "./image-records.ts";
import type { ImageContext } from "./context.ts";
import { holdLayers } from "./hold-image.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Unpacker } from "../snapshot/unpack/unpack-client.ts";
import { unpackSnapshot } from "../snapshot/unpack/unpack-snapshot.ts";
import { syncFileSystemAsync } from "../sys/fs/fs.ts";

/** Layers that the kernel can stack in one overlay. */
const layerCountMax = 500;

/** Begins the keys of snapshots that layers are unpacked into. */
export const unpackSnapshotPrefix = "unpack-";

/** An image's parts, all of them blobs in the store. */
export interface ImageParts {
  readonly manifest: Manifest;
  readonly manifestDigest: Digest;
  readonly manifestSizeBytes: number;
}

/** Where parts are kept and layers unpacked. */
export interface ImageStore {
  readonly content: ContentStore;
  readonly snapshots: Snapshotter;
  readonly unpacker: Unpacker;
}

/** One layer at a time under its chain ID: two images that share one unpack it once. */
const unpacking = new KeyedMutex();

/**
 * Unpacks what is not unpacked yet and syncs blobs and layers to disk.
 *
 * @param options.onLayer told before a layer is unpacked
 * @returns the record, not yet stored
 * @throws invalid-argument for a config that does not belong to its layers
 */
export async function unpackImage(
  store: ImageStore & Pick<ImageContext, "leases">,
  options: {
    readonly parts: ImageParts;
    /** Keeps the layers until the record does. */
    readonly leaseId: string;
    readonly onLayer?: (layer: { readonly diffId: Digest; readonly sizeBytes: number }) => void;
    /** See `unpackStored`. */
    readonly take?: TakeLayer;
    readonly signal?: AbortSignal;
  },
): Promise<ImageRecord> {
  const { parts, leaseId, onLayer, take, signal } = options;
  const bytes = await store.content.read(parts.manifest.config.digest, {
    sizeMaxBytes: imageConfigMaxBytes,
  });
  const config = decodeImageConfig(bytes);
  if (config.os !== "" && imagePlatform(config).os !== "linux") {
    throw new EngineError(
      "invalid-argument",
      `cannot load ${config.os} image on linux: the image config says os "${config.os}"`,
    );
  }
  const layers: LayerRecord[] = [];
  const planned = planLayers(parts.manifest, config);
  // Before any is looked for: what is found must stay.
  holdLayers(store, { layers: planned, leaseId });
  for (const layer of planned) {
    const unpackedSizeBytes = await unpackStored(store, {
      layer,
      ...(onLayer === undefined ? {} : { onLayer }),
      ...(take === undefined ? {} : { take }),
      ...(signal === undefined ? {} : { signal }),
    });
    layers.push(layerRecord(layer, unpackedSizeBytes));
  }
  // One sync for all layers and blobs: from here on the image survives a power cut.
  await syncFileSystemAsync(store.content.root);
  return imageRecord(parts, { configSizeBytes: bytes.length, layers });
}

/** A layer of an image, and where it belongs in the stack. */
export interface PlannedLayer {
  readonly descriptor: Descriptor;
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly chainId: Digest;
  /** Chain ID of the layer below. */
  readonly parent?: Digest;
}

/** The layers of an image, bottom first. @throws invalid-argument when manifest and config differ */
export function planLayers(manifest: Manifest, config: ImageConfig): readonly PlannedLayer[] {
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length) {
    throw new EngineError(
      "invalid-argument",
      `the image config lists ${diffIds.length} layers, but the manifest has ${manifest.layers.length}`,
    );
  }
  if (diffIds.length > layerCountMax) {
    throw new EngineError(
      "invalid-argument",
      `an image of ${diffIds.length} layers is too deep: ${layerCountMax} are stacked at most`,
    );
  }
  const chain = chainIds(diffIds);
  return manifest.layers.flatMap((descriptor, index): readonly PlannedLayer[] => {
    const [diffId, chainId, parent] = [diffIds[index], chain[index], chain[index - 1]];
    if (diffId === undefined || chainId === undefined) return [];
    const { digest } = descriptor;
    return [{ descriptor, digest, diffId, chainId, ...(parent === undefined ? {} : { parent }) }];
  });
}

/** What is recorded of an unpacked layer. */
export function layerRecord(layer: PlannedLayer, unpackedSizeBytes: number): LayerRecord {
  const { digest, size, mediaType } = layer.descriptor;
  const { diffId, chainId } = layer;
  return { digest, sizeBytes: size, mediaType, diffId, chainId, unpackedSizeBytes };
}

/** The record of an image whose layers are unpacked and synced. */
export function imageRecord(
  { manifest, manifestDigest, manifestSizeBytes }: ImageParts,
  rest: { readonly configSizeBytes: number; readonly layers: readonly LayerRecord[] },
): ImageRecord {
  return {
    id: manifest.config.digest,
    manifestDigest,
    manifestMediaType: manifest.mediaType,
    manifestSizeBytes,
    ...rest,
    storedNs: nowNs().toString(),
  };
}

/** Makes what is unpacked already a layer. @returns bytes of its files; undefined without it */
export type TakeLayer = (layer: PlannedLayer) => Promise<number | undefined>;

/** A layer to unpack, and who watches. */
export interface StoredLayer {
  readonly layer: PlannedLayer;
  readonly onLayer?: (layer: { readonly diffId: Digest; readonly sizeBytes: number }) => void;
  /** Told now and then how many bytes of the blob have been unpacked. */
  readonly onRead?: (readBytes: number) => void;
  /** Asked before the layer is unpacked. */
  readonly take?: TakeLayer;
  readonly signal?: AbortSignal;
}

/**
 * Unpacks a layer whose blob is in the store, unless it is unpacked already.
 *
 * @returns bytes of its files. The snapshot is not durable yet
 */
export async function unpackStored(store: ImageStore, options: StoredLayer): Promise<number> {
  return await unpacking.run(options.layer.chainId, () => unpackOne(store, options));
}

async function unpackOne(store: ImageStore, options: StoredLayer): Promise<number> {
  const { layer, onLayer, onRead, take, signal } = options;
  const { snapshots, content } = store;
  const known = snapshots.find(layer.chainId);
  if (known !== undefined) return known.sizeBytes ?? 0;
  const blob = content.get(layer.digest);
  onLayer?.({ diffId: layer.diffId, sizeBytes: blob.sizeBytes });
  const taken = await take?.(layer);
  if (taken !== undefined) return taken;
  const { layer: made } = await unpackSnapshot(
    store,
    {
      blobPath: blob.path,
      below: layer.parent,
      expectedDiffId: layer.diffId,
      keyPrefix: unpackSnapshotPrefix,
      settle: async ({ sizeBytes }) => ({ chainId: layer.chainId, sizeBytes }),
    },
    {
      ...(signal === undefined ? {} : { signal }),
      ...(onRead === undefined ? {} : { onRead }),
    },
  );
  return made.sizeBytes;
}
