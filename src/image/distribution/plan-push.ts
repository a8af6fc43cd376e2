/**
 * What a push sends: documents as they came where their blobs are here, else one made anew.
 */
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  decodeIndex,
  decodeManifest,
  type Manifest,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import {
  dockerMediaTypes,
  isIndexType,
  isManifestType,
  layerCompression,
  ociMediaTypes,
} from "../../oci/media-types.ts";
import { parseReference } from "../../oci/reference.ts";
import type { ImageRecord, NameTarget } from "../image-records.ts";
import type { ImageContext } from "../context.ts";

/** One image to be sent. */
export interface ImagePush {
  readonly record: ImageRecord;
  readonly manifest: Manifest;
  /** The bytes it is sent with; absent when it is made of packed layers. */
  readonly bytes?: Uint8Array;
  /** Repositories of the registry that have it with its layers, some of which may not be here. */
  readonly sources?: readonly string[];
}

/** A manifest of an index that is no image, as attestations are: sent as it is. */
export interface AttachmentPush {
  readonly manifest: Manifest;
  readonly bytes: Uint8Array;
}

/** What goes under one tag. */
export interface TagPush {
  /** One for each platform. */
  readonly images: readonly ImagePush[];
  /** What the index names beside them. */
  readonly attachments?: readonly AttachmentPush[];
  /** The index that names them; absent for a single manifest. */
  readonly index?: { readonly mediaType: string; readonly bytes: Uint8Array };
}

/**
 * Plans the push of an image; with the index it came by, when all of that is here.
 *
 * @param options.target what the name was pulled by or pushed as
 * @param options.domain the registry that it goes to
 */
export async function planPush(
  context: ImageContext,
  options: { readonly record: ImageRecord; readonly target?: NameTarget; readonly domain: string },
): Promise<TagPush> {
  const { record, target, domain } = options;
  const whole =
    target === undefined
      ? undefined
      : ((await planIndex(context, target)) ??
        (await planPulled(context, { record, target, domain })));
  return whole ?? { images: [await planImage(context, record)] };
}

/**
 * An image has one record, however many manifests name its config: packed in another way, of the
 * other format, or none that it was loaded with. The one that a name was pulled by goes back as it
 * came, when its layers are here or in the registry that it goes to.
 */
async function planPulled(
  { content, index }: ImageContext,
  options: { readonly record: ImageRecord; readonly target: NameTarget; readonly domain: string },
): Promise<TagPush | undefined> {
  const { record, target, domain } = options;
  const isSame = target.digest === record.manifestDigest || !isManifestType(target.mediaType);
  if (isSame || content.find(target.digest) === undefined) return undefined;
  const bytes = await content.read(target.digest, { sizeMaxBytes: manifestSizeMaxBytes });
  const manifest = decodeManifest(bytes);
  const isOfImage =
    manifest.config.digest === record.id && manifest.layers.length === record.layers.length;
  const isHere = manifest.layers.every(
    (layer) => isForeign(layer) || content.find(layer.digest)?.sizeBytes === layer.size,
  );
  // What it was pulled from or pushed to is kept as a name with its digest.
  const sources = index
    .digestsOf(record.id)
    .map(parseReference)
    .filter((place) => place.domain === domain && place.digest === target.digest)
    .map(({ path }) => path);
  if (!isOfImage || (!isHere && sources.length === 0)) return undefined;
  return { images: [{ record, manifest, bytes, sources }] };
}

async function planIndex(context: ImageContext, target: NameTarget): Promise<TagPush | undefined> {
  const { content, index } = context;
  if (!isIndexType(target.mediaType) || content.find(target.digest) === undefined) return undefined;
  const bytes = await content.read(target.digest, { sizeMaxBytes: manifestSizeMaxBytes });
  const records = new Map(index.list().map((record) => [record.manifestDigest, record]));
  const images: ImagePush[] = [];
  const attachments: AttachmentPush[] = [];
  for (const { digest, mediaType } of decodeIndex(bytes).manifests) {
    const record = records.get(digest);
    if (!isManifestType(mediaType)) return undefined;
    if (record === undefined) {
      const attachment = await planAttachment(context, digest);
      if (attachment === undefined) return undefined;
      attachments.push(attachment);
      continue;
    }
    const image = await planImage(context, record);
    if (image.bytes === undefined) return undefined;
    images.push(image);
  }
  if (images.length === 0) return undefined;
  return { images, attachments, index: { mediaType: target.mediaType, bytes } };
}

/** Undefined when a part of it is not here. */
async function planAttachment(
  { content }: ImageContext,
  digest: Digest,
): Promise<AttachmentPush | undefined> {
  if (content.find(digest) === undefined) return undefined;
  const bytes = await content.read(digest, { sizeMaxBytes: manifestSizeMaxBytes });
  const manifest = decodeManifest(bytes);
  const blobs = [manifest.config, ...manifest.layers];
  const isWhole = blobs.every((blob) => content.find(blob.digest)?.sizeBytes === blob.size);
  return isWhole ? { manifest, bytes } : undefined;
}

async function planImage(context: ImageContext, record: ImageRecord): Promise<ImagePush> {
  const { content } = context;
  const bytes = await content.read(record.manifestDigest, { sizeMaxBytes: manifestSizeMaxBytes });
  const manifest = decodeManifest(bytes);
  const isWhole = manifest.layers.every(
    (layer) => isForeign(layer) || content.find(layer.digest)?.sizeBytes === layer.size,
  );
  const isPacked = manifest.layers.every(({ mediaType }) => layerCompression(mediaType) !== "none");
  if (isWhole && (isPacked || isPublished(context, record))) return { record, manifest, bytes };
  return { record, manifest };
}

/** Whether a registry has the image's manifest: then it stays as it is, packed or not. */
function isPublished({ index }: ImageContext, record: ImageRecord): boolean {
  return index.digestsOf(record.id).some((name) => {
    const target = index.findName(name)?.target;
    if (target === undefined) return false;
    return target.digest === record.manifestDigest || isIndexType(target.mediaType);
  });
}

/** Whether a layer is fetched from elsewhere than the registry. */
export function isForeign(layer: Descriptor): boolean {
  return layer.urls !== undefined && layer.urls.length > 0;
}

/** The type of a packed layer in a manifest of this format. */
export function packedType(manifest: Manifest): string {
  return manifest.mediaType === dockerMediaTypes.manifest
    ? dockerMediaTypes.layerGzip
    : ociMediaTypes.layerGzip;
}

/** A layer as a manifest names it after it was packed. */
export function packedDescriptor(
  manifest: Manifest,
  layer: {
    readonly descriptor: Descriptor;
    readonly packed: { readonly digest: Digest; readonly sizeBytes: number };
  },
): Descriptor {
  const { digest, sizeBytes } = layer.packed;
  return { ...layer.descriptor, mediaType: packedType(manifest), digest, size: sizeBytes };
}

/** Where the blob of a layer is, if it is here as the manifest names it. */
export function storedLayer(context: ImageContext, layer: Descriptor): Digest | undefined {
  const isHere = context.content.find(layer.digest)?.sizeBytes === layer.size;
  return isHere && layerCompression(layer.mediaType) !== "none" ? layer.digest : undefined;
}
