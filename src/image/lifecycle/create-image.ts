/** Makes an image of snapshots that are there: what builds and commits end with. */
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { nowNs } from "../../lib/time.ts";
import { chainIds, type Digest, digestOf } from "../../oci/digest.ts";
import { encodeImageConfig } from "../../oci/image-config.ts";
import { encodeManifest, type Manifest } from "../../oci/manifest.ts";
import { dockerMediaTypes, layerCompression, ociMediaTypes } from "../../oci/media-types.ts";
import { syncFileSystemAsync } from "../../sys/fs/fs.ts";
import { holdImage, holdLayers } from "../hold-image.ts";
import type { ImageRecord, LayerRecord } from "../image-records.ts";
import type { CreatedImage, ImageDraft, NewLayer } from "../image-service.ts";
import { hasLayerBytes } from "../layer-source.ts";
import type { ImageContext } from "../context.ts";
import { publishImageEvent } from "../publish-event.ts";
import { tagName } from "../tag-name.ts";

/** Stores config, manifest and record, and binds the names. @see ImageService.create */
export async function createImage(context: ImageContext, draft: ImageDraft): Promise<CreatedImage> {
  const layers = layersOf(draft);
  const names = draft.names.map(tagName);
  return await context.making(async (leaseId) => {
    const { snapshots, index } = context;
    holdLayers(context, { layers, leaseId });
    for (const layer of layers) {
      const { chainId, digest } = layer;
      if (snapshots.find(chainId)?.kind !== "committed") {
        throw new EngineError("not-found", `create image: there is no snapshot ${chainId}`);
      }
      if (!hasLayerBytes(context, layer)) {
        throw new EngineError("not-found", `create image: the blob of layer ${digest} is gone`);
      }
    }
    const made = await storeDocuments(context, { draft, layers, leaseId });
    const record = withParent(context, asPublished(context, { draft, made, leaseId }));
    const isSynced = !isThere(context, record);
    // One sync for documents and snapshots: from here on the image survives a power cut.
    if (isSynced) await syncFileSystemAsync(context.content.root);
    if (draft.signal?.aborted === true) {
      throw new EngineError("canceled", "create image: canceled");
    }
    await context.metadata.commit(() => {
      index.put(record);
      for (const name of names) index.bind(name, record.id);
    });
    for (const name of names) {
      publishImageEvent(context, { action: "tag", record, name: index.show(name) });
    }
    const { id, manifestDigest } = record;
    return { id, manifestDigest, layers: record.layers, isSynced };
  });
}

/** Whether the same is recorded already: then its documents and layers were synced before that. */
function isThere({ index }: ImageContext, record: ImageRecord): boolean {
  const known = index.findById(record.id);
  return (
    known?.manifestDigest === record.manifestDigest &&
    known.layers.length === record.layers.length &&
    known.layers.every(
      ({ chainId, digest }, at) =>
        chainId === record.layers[at]?.chainId && digest === record.layers[at]?.digest,
    )
  );
}

/**
 * The same image, as it is here with packed layers: an index or a registry may have that manifest.
 * What is new about it is its parent.
 */
function asPublished(
  context: ImageContext,
  image: { readonly draft: ImageDraft; readonly made: ImageRecord; readonly leaseId: string },
): ImageRecord {
  const { index, content } = context;
  const { draft, made, leaseId } = image;
  const known = index.findById(made.id);
  const isPlain = draft.annotations === undefined && draft.mediaTypes === undefined;
  if (known === undefined || !isPlain || known.manifestDigest === made.manifestDigest) return made;
  holdImage(context, { record: known, leaseId });
  const isPacked =
    content.find(known.manifestDigest) !== undefined &&
    known.layers.every(
      ({ digest, fromSnapshot }) => fromSnapshot === undefined && content.find(digest),
    );
  const isLoose = made.layers.some(({ fromSnapshot }) => fromSnapshot !== undefined);
  if (!isPacked || !isLoose) return made;
  return draft.parentId === undefined ? known : { ...known, parentId: draft.parentId };
}

/** What an image was made from stays known when the same one is made again of its result alone. */
function withParent({ index }: ImageContext, record: ImageRecord): ImageRecord {
  const parentId = record.parentId ?? index.findById(record.id)?.parentId;
  return parentId === undefined ? record : { ...record, parentId };
}

/** The layers as they will be recorded. @throws invalid-argument when they are not the config's */
function layersOf({ config, layers }: ImageDraft): readonly LayerRecord[] {
  const diffIds = config.rootfs.diff_ids;
  const chain = chainIds(diffIds);
  const records = layers.map((layer) => ("digest" in layer ? layer : recordOfNew(layer)));
  const isConfigs =
    records.length === diffIds.length &&
    records.every(
      (layer, index) => layer.diffId === diffIds[index] && layer.chainId === chain[index],
    );
  if (isConfigs) return records;
  throw new EngineError(
    "invalid-argument",
    `create image: the config's ${diffIds.length} layers are not the ${records.length} given`,
  );
}

/** A layer that is made here, as it is recorded. */
export function recordOfNew(layer: NewLayer): LayerRecord {
  const { diffId, chainId, tarSizeBytes, sizeBytes, epochS } = layer;
  return {
    digest: diffId,
    diffId,
    chainId,
    sizeBytes: tarSizeBytes,
    unpackedSizeBytes: sizeBytes,
    mediaType: ociMediaTypes.layer,
    fromSnapshot: epochS === undefined ? {} : { epochS },
  };
}

async function storeDocuments(
  context: ImageContext,
  image: {
    readonly draft: ImageDraft;
    readonly layers: readonly LayerRecord[];
    readonly leaseId: string;
  },
): Promise<ImageRecord> {
  const { draft, leaseId } = image;
  const isDocker = draft.mediaTypes === "docker";
  const layers = image.layers.map((layer) => ({
    ...layer,
    mediaType: layerTypeOf(layer.mediaType, isDocker),
  }));
  const config = encodeImageConfig(draft.config);
  const id = await putBlob(context, { bytes: config, leaseId });
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: isDocker ? dockerMediaTypes.manifest : ociMediaTypes.manifest,
    config: {
      mediaType: isDocker ? dockerMediaTypes.config : ociMediaTypes.config,
      digest: id,
      size: config.length,
    },
    layers: layers.map(({ mediaType, digest, sizeBytes }) => ({
      mediaType,
      digest,
      size: sizeBytes,
    })),
    ...(draft.annotations === undefined ? {} : { annotations: draft.annotations }),
  };
  const bytes = encodeManifest(manifest);
  return {
    id,
    manifestDigest: await putBlob(context, { bytes, leaseId }),
    manifestMediaType: manifest.mediaType,
    manifestSizeBytes: bytes.length,
    configSizeBytes: config.length,
    layers,
    storedNs: nowNs().toString(),
    ...(draft.parentId === undefined ? {} : { parentId: draft.parentId }),
  };
}

/** Stores a document under the lease, unless it is there; not durable yet. */
async function putBlob(
  { content, leases }: ImageContext,
  { bytes, leaseId }: { readonly bytes: Uint8Array; readonly leaseId: string },
): Promise<Digest> {
  const known = digestOf(bytes);
  leases.add(leaseId, `content:${known}`);
  if (content.find(known) !== undefined) return known;
  await using ingest = await content.ingest({ ref: `create-${createId().slice(0, 16)}` });
  await ingest.write(bytes);
  const { digest } = await ingest.commit({ durable: false });
  return digest;
}

const packedTypes = {
  docker: {
    none: dockerMediaTypes.layer,
    gzip: dockerMediaTypes.layerGzip,
    zstd: dockerMediaTypes.layerZstd,
  },
  oci: {
    none: ociMediaTypes.layer,
    gzip: ociMediaTypes.layerGzip,
    zstd: ociMediaTypes.layerZstd,
  },
} as const;

/** One manifest speaks one format: the same bytes are called by the other format's name. */
function layerTypeOf(mediaType: string, isDocker: boolean): string {
  const compression = layerCompression(mediaType);
  if (compression === undefined) return mediaType;
  return packedTypes[isDocker ? "docker" : "oci"][compression];
}
