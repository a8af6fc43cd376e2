/**
 * Finds the images of an archive that was read: manifests as they are, or made for archives that
 * have none.
 */
import type { ContentStore } from "../content/content-store.ts";
import { EngineError } from "../lib/errors.ts";
import type { Digest } from "../oci/digest.ts";
import { decodeArchiveManifest, archiveManifestFile } from "../oci/docker-archive.ts";
import { annotationKeys, layoutIndexFile } from "../oci/layout.ts";
import {
  decodeIndex,
  decodeManifestOrIndex,
  encodeManifest,
  type Index,
  isIndex,
  type Manifest,
  manifestSizeMaxBytes,
} from "../oci/manifest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import { choosePlatform, hostPlatform, formatPlatform, type Platform } from "../oci/platform.ts";
import {
  findReference,
  formatReference,
  parseReference,
  withDefaultTag,
} from "../oci/reference.ts";
import { compressionOf, type LoadedArchive, type LoadTarget } from "./load-archive.ts";
import type { ImageParts } from "./store-image.ts";

/** An image of an archive, and the names it has there. */
export interface ArchivedImage {
  readonly parts: ImageParts;
  /** Whole references. */
  readonly names: readonly string[];
}

/** Lists the images. @throws invalid-argument when the archive holds none, or half of one */
export async function findArchivedImages(
  archive: LoadedArchive,
  options: { readonly target: LoadTarget; readonly platform?: Platform },
): Promise<readonly ArchivedImage[]> {
  const { documents } = archive;
  const indexBytes = documents.get(layoutIndexFile);
  const manifestBytes = documents.get(archiveManifestFile);
  const layout =
    indexBytes === undefined
      ? []
      : await findInLayout(decodeIndex(indexBytes), { archive, ...options });
  if (manifestBytes === undefined) {
    if (layout.length > 0) return layout;
    throw new EngineError(
      "invalid-argument",
      `the archive is no image: neither ${archiveManifestFile} nor an ${layoutIndexFile} with an image is in it`,
    );
  }
  // Both in one tar: manifest.json has the names, the layout has the manifests.
  const byConfig = new Map(layout.map((image) => [image.parts.manifest.config.digest, image]));
  const images: ArchivedImage[] = [];
  for (const entry of decodeArchiveManifest(manifestBytes)) {
    const names = entry.RepoTags.map((tag) => formatReference(withDefaultTag(parseReference(tag))));
    const known = byConfig.get(archive.blobOf(entry.Config));
    if (known === undefined) {
      const layers = entry.Layers.map((path) => archive.blobOf(path));
      const config = archive.blobOf(entry.Config);
      const parts = await makeManifest(options.target.content, { config, layers });
      options.target.leases.add(options.target.leaseId, `content:${parts.manifestDigest}`);
      images.push({ parts, names });
    } else {
      images.push({ parts: known.parts, names: [...new Set([...names, ...known.names])] });
    }
  }
  if (images.length === 0) throw new EngineError("invalid-argument", "the archive lists no image");
  return images;
}

interface LayoutSearch {
  readonly archive: LoadedArchive;
  readonly target: LoadTarget;
  readonly platform?: Platform;
}

async function findInLayout(index: Index, search: LayoutSearch): Promise<readonly ArchivedImage[]> {
  const images = new Map<Digest, { parts: ImageParts; names: Set<string> }>();
  for (const descriptor of index.manifests) {
    const parts = await resolveManifest(descriptor.digest, search);
    if (parts === undefined) continue;
    const image = images.get(parts.manifestDigest) ?? { parts, names: new Set<string>() };
    const name = nameOf(descriptor.annotations);
    if (name !== undefined) image.names.add(name);
    images.set(parts.manifestDigest, image);
  }
  return [...images.values()].map(({ parts, names }) => ({ parts, names: [...names] }));
}

/** The reference that an index gives an image; a bare tag names nothing. */
function nameOf(annotations: Readonly<Record<string, string>> | undefined): string | undefined {
  const text =
    annotations?.[annotationKeys.containerdName] ?? annotations?.[annotationKeys.refName];
  if (text === undefined) return undefined;
  const isBareTag =
    !/[/:]/.test(text) && annotations?.[annotationKeys.containerdName] === undefined;
  const reference = isBareTag ? undefined : findReference(text);
  return reference === undefined ? undefined : formatReference(withDefaultTag(reference));
}

const indexDepthMax = 4;

/** Follows indexes to the manifest of the wanted platform; undefined for what is no image. */
async function resolveManifest(
  digest: Digest,
  search: LayoutSearch & { readonly depth?: number },
): Promise<ImageParts | undefined> {
  const { content } = search.target;
  const depth = search.depth ?? 0;
  if (content.find(digest) === undefined || depth > indexDepthMax) return undefined;
  const bytes = await content.read(digest, { sizeMaxBytes: manifestSizeMaxBytes });
  const document = decodeManifestOrIndex(bytes);
  if (!isIndex(document)) {
    const isImage = document.layers.every((layer) => content.find(layer.digest) !== undefined);
    const hasConfig = content.find(document.config.digest) !== undefined;
    if (!isImage || !hasConfig) return undefined;
    return { manifest: document, manifestDigest: digest, manifestSizeBytes: bytes.length };
  }
  const present = document.manifests.filter((entry) => content.find(entry.digest) !== undefined);
  const offered = present.map((entry) => entry.platform ?? hostPlatform());
  const wanted = search.platform ?? hostPlatform();
  const chosen = choosePlatform(wanted, offered) ?? (search.platform === undefined ? 0 : undefined);
  const entry = chosen === undefined ? undefined : present[chosen];
  if (entry === undefined) {
    throw new EngineError(
      "not-found",
      `the archive has no image for the platform ${formatPlatform(wanted)}`,
    );
  }
  return await resolveManifest(entry.digest, { ...search, depth: depth + 1 });
}

const layerTypes = {
  none: ociMediaTypes.layer,
  gzip: ociMediaTypes.layerGzip,
  zstd: ociMediaTypes.layerZstd,
} as const;

/** Makes the manifest of an image that came without one, and stores it. */
export async function makeManifest(
  content: ContentStore,
  parts: { readonly config: Digest; readonly layers: readonly Digest[] },
): Promise<ImageParts> {
  const layers = await Promise.all(
    parts.layers.map(async (digest) => {
      const compression = await compressionOf(content, digest);
      if (compression !== "none" && compression !== "gzip" && compression !== "zstd") {
        throw new EngineError(
          "not-implemented",
          `layers packed with ${compression} are not read yet`,
        );
      }
      return { mediaType: layerTypes[compression], digest, size: content.get(digest).sizeBytes };
    }),
  );
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: {
      mediaType: ociMediaTypes.config,
      digest: parts.config,
      size: content.get(parts.config).sizeBytes,
    },
    layers,
  };
  const blob = await content.put(encodeManifest(manifest));
  return { manifest, manifestDigest: blob.digest, manifestSizeBytes: blob.sizeBytes };
}
