/** Finds the images of an index in an archive: one a platform, and what goes with them. */
import type { ContentStore } from "../../content/content-store.ts";
import type { Digest } from "../../oci/digest.ts";
import { decodeImageConfig, imageConfigMaxBytes, imagePlatform } from "../../oci/image-config.ts";
import {
  decodeManifestOrIndex,
  type Index,
  isIndex,
  type Manifest,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import { isImageConfigType, isLayerType } from "../../oci/media-types.ts";
import { choosePlatform, hostPlatform, type Platform } from "../../oci/platform.ts";
import type { NameTarget } from "../image-records.ts";
import type { ImageParts } from "../store-image.ts";

/** What a descriptor of an archive leads to. */
export interface FoundImage {
  /** The image that names stand for. */
  readonly parts: ImageParts;
  /** The index that it was chosen from. */
  readonly target?: NameTarget;
  /** Images of the index's further platforms. */
  readonly others?: readonly ImageParts[];
  /** Blobs of the index that are no image's: attestations and the like. */
  readonly attachments?: readonly Digest[];
}

const indexDepthMax = 4;

/**
 * Follows a digest to images; undefined for what is none, or none for the platform.
 *
 * @param options.platform only this one; without, all there are, the host's first
 */
export async function findImage(
  content: ContentStore,
  digest: Digest,
  options: { readonly platform?: Platform; readonly signal?: AbortSignal } = {},
): Promise<FoundImage | undefined> {
  const root = await readDocument(content, digest);
  if (root === undefined) return undefined;
  if (!isIndex(root.document)) return await singleImage(content, { ...root, ...options, digest });
  const found: Findings = { images: [], attachments: [] };
  const { signal } = options;
  await walkIndex(content, root.document, { found, depth: 0, seen: new Set(), signal });
  if (found.images.length === 0) return undefined;
  const wanted = options.platform ?? hostPlatform();
  const offered = found.images.map((image) => image.platform);
  const chosen = choosePlatform(wanted, offered) ?? (options.platform === undefined ? 0 : -1);
  const image = found.images[chosen];
  if (image === undefined) return undefined;
  if (options.platform !== undefined) return { parts: image.parts };
  return {
    parts: image.parts,
    target: { digest, mediaType: root.document.mediaType, sizeBytes: root.sizeBytes },
    others: found.images.filter((other) => other !== image).map((other) => other.parts),
    attachments: found.attachments,
  };
}

interface Findings {
  readonly images: { readonly parts: ImageParts; readonly platform: Platform }[];
  readonly attachments: Digest[];
}

async function walkIndex(
  content: ContentStore,
  index: Index,
  walk: {
    readonly found: Findings;
    readonly depth: number;
    /** Each document is read once: indexes that name each other many times would take for ever. */
    readonly seen: Set<Digest>;
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  const { found, depth, seen, signal } = walk;
  for (const { digest, platform } of index.manifests) {
    signal?.throwIfAborted();
    if (seen.has(digest)) continue;
    seen.add(digest);
    const entry = await readDocument(content, digest);
    if (entry === undefined) continue;
    const { document, sizeBytes } = entry;
    if (isIndex(document)) {
      found.attachments.push(digest);
      if (depth < indexDepthMax) await walkIndex(content, document, { ...walk, depth: depth + 1 });
      continue;
    }
    const parts = { manifest: document, manifestDigest: digest, manifestSizeBytes: sizeBytes };
    const runsOn = await platformOf(content, { manifest: document, platform });
    if (runsOn === undefined) found.attachments.push(...blobsOf(content, parts));
    else found.images.push({ parts, platform: runsOn });
  }
}

/** Where an image runs; undefined for what is no whole image of Linux. */
async function platformOf(
  content: ContentStore,
  entry: { readonly manifest: Manifest; readonly platform: Platform | undefined },
): Promise<Platform | undefined> {
  const { manifest, platform } = entry;
  if (!isWhole(content, manifest)) return undefined;
  const bytes = await content.read(manifest.config.digest, { sizeMaxBytes: imageConfigMaxBytes });
  const own = imagePlatform(decodeImageConfig(bytes));
  const runsOn = platform ?? own;
  return runsOn.os === "linux" && own.os === "linux" ? runsOn : undefined;
}

function isWhole(content: ContentStore, manifest: Manifest): boolean {
  const { config, layers } = manifest;
  return (
    isImageConfigType(config.mediaType) &&
    content.find(config.digest) !== undefined &&
    layers.every(
      ({ mediaType, digest }) => isLayerType(mediaType) && content.find(digest) !== undefined,
    )
  );
}

function blobsOf(content: ContentStore, { manifest, manifestDigest }: ImageParts): Digest[] {
  const all = [manifestDigest, manifest.config.digest, ...manifest.layers.map((one) => one.digest)];
  return all.filter((digest) => content.find(digest) !== undefined);
}

async function singleImage(
  content: ContentStore,
  found: {
    readonly document: Manifest | Index;
    readonly sizeBytes: number;
    readonly digest: Digest;
    readonly platform?: Platform;
  },
): Promise<FoundImage | undefined> {
  const { document, sizeBytes, digest, platform } = found;
  // Signatures, charts and the like lie in layouts beside images.
  if (isIndex(document) || !isWhole(content, document)) return undefined;
  const isWanted =
    platform === undefined || (await isFor(content, { config: document.config.digest, platform }));
  if (!isWanted) return undefined;
  return {
    parts: { manifest: document, manifestDigest: digest, manifestSizeBytes: sizeBytes },
  };
}

/** Whether an image runs on a platform, by its config. */
export async function isFor(
  content: ContentStore,
  image: { readonly config: Digest; readonly platform: Platform },
): Promise<boolean> {
  const bytes = await content.read(image.config, { sizeMaxBytes: imageConfigMaxBytes });
  return choosePlatform(image.platform, [imagePlatform(decodeImageConfig(bytes))]) !== undefined;
}

async function readDocument(
  content: ContentStore,
  digest: Digest,
): Promise<{ readonly document: Manifest | Index; readonly sizeBytes: number } | undefined> {
  if (content.find(digest) === undefined) return undefined;
  const bytes = await content.read(digest, { sizeMaxBytes: manifestSizeMaxBytes });
  return { document: decodeManifestOrIndex(bytes), sizeBytes: bytes.length };
}
