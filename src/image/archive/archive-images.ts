/**
 * Finds the images of an archive that was read: manifests as they are, or made for archives that
 * have none.
 */
import { blobHolder } from "../hold-image.ts";
import type { ContentStore } from "../../content/content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import { decompress, defaultExpansionLimits } from "../../lib/compression/compression.ts";
import { createId } from "../../lib/id.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  archiveManifestFile,
  archiveRepositoriesFile,
  decodeArchiveManifest,
} from "../../oci/docker-archive.ts";
import { annotationKeys, layoutIndexFile } from "../../oci/layout.ts";
import { decodeIndex, encodeManifest, type Index, type Manifest } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { formatPlatform, type Platform } from "../../oci/platform.ts";
import { findReference, parseReference } from "../../oci/reference.ts";
import { findImage, type FoundImage, isFor } from "./archive-index.ts";
import { findLegacyImages, isLegacyArchive } from "./legacy-archive.ts";
import { compressionOf, type LoadedArchive, type LoadTarget } from "./load-archive.ts";
import type { ImageParts } from "../store-image.ts";
import { tagName } from "../tag-name.ts";

/** An image of an archive, and the names it has there. */
export interface ArchivedImage extends FoundImage {
  /** Whole references. */
  readonly names: readonly string[];
}

interface ArchiveSearch {
  readonly target: LoadTarget;
  readonly platform?: Platform;
}

/**
 * Lists the images, with a platform those for it.
 *
 * @throws invalid-argument when the archive holds none, or half of one; not-found when none is for
 * the platform
 */
export async function findArchivedImages(
  archive: LoadedArchive,
  search: ArchiveSearch,
): Promise<readonly ArchivedImage[]> {
  const { documents } = archive;
  const indexBytes = documents.get(layoutIndexFile);
  const layout =
    indexBytes === undefined ? [] : await findInLayout(decodeIndex(indexBytes), search);
  const listed = await findListed(archive, search);
  const images = listed === undefined ? layout : await joinListed({ listed, layout, search });
  if (images.length > 0) return images;
  if (search.platform !== undefined) {
    throw new EngineError(
      "not-found",
      `the archive has no image for the platform ${formatPlatform(search.platform)}`,
    );
  }
  throw new EngineError(
    "invalid-argument",
    listed === undefined
      ? `the archive is no image: neither ${archiveManifestFile} nor an ${layoutIndexFile} with an image is in it`
      : "the archive lists no image",
  );
}

/** An image by its files, as archives of Docker list it. */
interface ListedImage {
  readonly config: Digest;
  readonly layers: readonly Digest[];
  readonly names: readonly string[];
}

/** Of manifest.json, or of what archives had before it; undefined without either. */
async function findListed(
  archive: LoadedArchive,
  { target }: ArchiveSearch,
): Promise<readonly ListedImage[] | undefined> {
  const { documents } = archive;
  const manifestBytes = documents.get(archiveManifestFile);
  if (manifestBytes !== undefined) {
    return decodeArchiveManifest(manifestBytes).map((entry) => ({
      config: archive.blobOf(entry.Config),
      layers: entry.Layers.map((path) => archive.blobOf(path)),
      names: entry.RepoTags,
    }));
  }
  const repositories = documents.get(archiveRepositoriesFile);
  const isLegacy = repositories !== undefined || isLegacyArchive(archive);
  if (!isLegacy || documents.has(layoutIndexFile)) return undefined;
  return await findLegacyImages(target.content, {
    archive,
    hold: blobHolder(target, target.leaseId),
    ...(repositories === undefined ? {} : { repositories }),
  });
}

/** Both in one tar: manifest.json has the names, the layout has the manifests. */
async function joinListed(options: {
  readonly listed: readonly ListedImage[];
  readonly layout: readonly ArchivedImage[];
  readonly search: ArchiveSearch;
}): Promise<readonly ArchivedImage[]> {
  const { listed, layout, search } = options;
  const { platform } = search;
  const { content } = search.target;
  const hold = blobHolder(search.target, search.target.leaseId);
  const byConfig = new Map(
    layout.flatMap((image) =>
      [image.parts, ...(image.others ?? [])].map(
        (parts) => [parts.manifest.config.digest, image] as const,
      ),
    ),
  );
  const images = new Map<ArchivedImage | Digest, ArchivedImage>();
  for (const { config, layers, names } of listed) {
    const whole = names.map((tag) => tagName(parseReference(tag)));
    const known = byConfig.get(config);
    if (known !== undefined) {
      const before = images.get(known)?.names ?? known.names;
      images.set(known, { ...known, names: [...new Set([...before, ...whole])] });
      continue;
    }
    if (platform !== undefined && !(await isFor(content, { config, platform }))) continue;
    const parts = await makeManifest(content, { config, layers, hold });
    const before = images.get(config)?.names ?? [];
    images.set(config, { parts, names: [...new Set([...before, ...whole])] });
  }
  for (const image of layout) if (!images.has(image)) images.set(image, image);
  return [...images.values()];
}

async function findInLayout(
  index: Index,
  { target, platform }: ArchiveSearch,
): Promise<readonly ArchivedImage[]> {
  const names = new Map<Digest, Set<string>>();
  for (const { digest, annotations } of index.manifests) {
    const known = names.get(digest) ?? new Set<string>();
    const name = nameOf(annotations);
    if (name !== undefined) known.add(name);
    names.set(digest, known);
  }
  const images: ArchivedImage[] = [];
  for (const [digest, own] of names) {
    target.signal?.throwIfAborted();
    const found = await findImage(target.content, digest, {
      ...(platform === undefined ? {} : { platform }),
      ...(target.signal === undefined ? {} : { signal: target.signal }),
    });
    if (found !== undefined) images.push({ ...found, names: [...own] });
  }
  return images;
}

/**
 * The reference that an index gives an image; a bare tag names nothing. Nor does a digest: that an image
 * came from a repository is the repository's to say.
 */
function nameOf(annotations: Readonly<Record<string, string>> | undefined): string | undefined {
  const text =
    annotations?.[annotationKeys.containerdName] ?? annotations?.[annotationKeys.refName];
  if (text === undefined) return undefined;
  const isBareTag =
    !/[/:]/.test(text) && annotations?.[annotationKeys.containerdName] === undefined;
  const reference = isBareTag ? undefined : findReference(text);
  return reference === undefined || reference.digest !== undefined ? undefined : tagName(reference);
}

const layerTypes = {
  none: ociMediaTypes.layer,
  gzip: ociMediaTypes.layerGzip,
  zstd: ociMediaTypes.layerZstd,
} as const;

/** Stores what a packed blob holds. @throws invalid-argument when it cannot be unpacked */
async function unpackBlob(
  content: ContentStore,
  packed: Digest,
  how: { readonly hold: (digest: Digest) => void },
): Promise<Digest> {
  const { expandedSizeMaxBytes } = defaultExpansionLimits;
  await using ingest = await content.ingest({
    ref: `unpack-${createId().slice(0, 16)}`,
    sizeMaxBytes: expandedSizeMaxBytes,
  });
  for await (const chunk of decompress(content.open(packed))) await ingest.write(chunk);
  return (await ingest.commit({ durable: false, ...how })).digest;
}

/** Makes the manifest of an image that came without one, and stores it. */
export async function makeManifest(
  content: ContentStore,
  parts: {
    readonly config: Digest;
    readonly layers: readonly Digest[];
    /** Keeps what is stored. */
    readonly hold: (digest: Digest) => void;
  },
): Promise<ImageParts> {
  const { hold } = parts;
  const layers = await Promise.all(
    parts.layers.map(async (packed) => {
      const compression = await compressionOf(content, packed);
      // No media type says bzip2 or xz: such a layer is kept unpacked.
      const isKnown = compression === "none" || compression === "gzip" || compression === "zstd";
      const digest = isKnown ? packed : await unpackBlob(content, packed, { hold });
      const mediaType = layerTypes[isKnown ? compression : "none"];
      return { mediaType, digest, size: content.get(digest).sizeBytes };
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
  const blob = await content.put(encodeManifest(manifest), { hold });
  return { manifest, manifestDigest: blob.digest, manifestSizeBytes: blob.sizeBytes };
}
