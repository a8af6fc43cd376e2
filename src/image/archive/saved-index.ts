/** Indexes that go out as they came: whole, or not at all. */
import { type Digest, isDigest } from "../../oci/digest.ts";
import {
  decodeManifestOrIndex,
  type Index,
  isIndex,
  type Manifest,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import type { LayerRecord, NameTarget } from "../image-records.ts";
import { hasLayerBytes, type LayerReadOptions, openLayer } from "../layer-source.ts";
import type { ImageContext } from "../context.ts";

/** Bytes that go out. */
export interface BlobSource {
  readonly sizeBytes: number;
  /** Name of the snapshot that they may be made of. */
  readonly chainId?: Digest;
  open(): ReadableStream<Uint8Array>;
}

/** Blobs by digest. */
export type BlobSources = Map<Digest, BlobSource>;

const indexDepthMax = 4;

/**
 * All blobs of an index, with those of every manifest it names; undefined when one is not here: an
 * index that was pulled has one platform's as a rule.
 */
export async function findIndexBlobs(
  context: ImageContext,
  target: NameTarget,
): Promise<BlobSources | undefined> {
  const sources: BlobSources = new Map();
  const document = await readIndex(context, target.digest);
  if (document === undefined) return undefined;
  addBlob(context, sources, target.digest);
  const isWhole = await addIndex(context, document, { sources, depth: 0 });
  return isWhole ? sources : undefined;
}

async function addIndex(
  context: ImageContext,
  index: Index,
  walk: { readonly sources: BlobSources; readonly depth: number },
): Promise<boolean> {
  const { sources, depth } = walk;
  for (const { digest } of index.manifests) {
    // What an index names more than once is there once.
    if (sources.has(digest)) continue;
    if (!addBlob(context, sources, digest)) return false;
    const bytes = await context.content.read(digest, { sizeMaxBytes: manifestSizeMaxBytes });
    const document = decodeManifestOrIndex(bytes);
    const isWhole = isIndex(document)
      ? depth < indexDepthMax && (await addIndex(context, document, { sources, depth: depth + 1 }))
      : addManifest(context, { document, digest, sources });
    if (!isWhole) return false;
  }
  return true;
}

function addManifest(
  context: ImageContext,
  manifest: {
    readonly document: Manifest;
    readonly digest: Digest;
    readonly sources: BlobSources;
  },
): boolean {
  const { document, digest, sources } = manifest;
  const record = context.index.list().find((image) => image.manifestDigest === digest);
  const layers = new Map(record?.layers.map((layer) => [layer.digest, layer]));
  return [document.config, ...document.layers].every((blob) => {
    const layer = layers.get(blob.digest);
    return layer === undefined
      ? addBlob(context, sources, blob.digest)
      : addLayer(context, sources, layer);
  });
}

/** Adds a blob of the store. @returns whether it is there */
export function addBlob(
  { content }: Pick<ImageContext, "content">,
  sources: BlobSources,
  digest: Digest,
): boolean {
  const blob = isDigest(digest) ? content.find(digest) : undefined;
  if (blob === undefined) return false;
  sources.set(digest, { sizeBytes: blob.sizeBytes, open: () => content.open(digest) });
  return true;
}

/** Adds a layer, made anew when it has no blob. @returns whether its bytes are to be had */
export function addLayer(
  context: ImageContext,
  sources: BlobSources,
  layer: LayerRecord,
  options: LayerReadOptions = {},
): boolean {
  if (!hasLayerBytes(context, layer)) return false;
  const { digest, sizeBytes, chainId } = layer;
  sources.set(digest, { sizeBytes, chainId, open: () => openLayer(context, layer, options) });
  return true;
}

async function readIndex(context: ImageContext, digest: Digest): Promise<Index | undefined> {
  if (context.content.find(digest) === undefined) return undefined;
  const bytes = await context.content.read(digest, { sizeMaxBytes: manifestSizeMaxBytes });
  const document = decodeManifestOrIndex(bytes);
  return isIndex(document) ? document : undefined;
}
