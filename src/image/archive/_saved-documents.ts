/** The files of an archive that say what its blobs are: for readers of layouts, and of Docker's own. */
import type { Descriptor } from "../../oci/descriptor.ts";
import { chainId, digestHex } from "../../oci/digest.ts";
import {
  archiveManifestFile,
  archiveRepositoriesFile,
  encodeArchiveManifest,
  encodeRepositories,
} from "../../oci/docker-archive.ts";
import {
  annotationKeys,
  encodeLayout,
  layoutBlobPath,
  layoutFile,
  layoutIndexFile,
} from "../../oci/layout.ts";
import { encodeIndex } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { defaultTag, familiarName, parseReference } from "../../oci/reference.ts";
import type { ImageRecord, NameTarget } from "../image-records.ts";
import type { BlobSources } from "./saved-index.ts";

/** An image to save, and the names it goes by in the archive. */
export interface SavedImage {
  readonly record: ImageRecord;
  readonly names: readonly SavedName[];
}

/** A name in the archive. */
export interface SavedName {
  readonly name: string;
  /** The index that the name stands for, when all of it is here. */
  readonly index?: { readonly target: NameTarget; readonly sources: BlobSources };
}

/** Names and contents, in the order that Docker writes them in. */
export function savedDocuments(
  images: readonly SavedImage[],
): readonly (readonly [string, Uint8Array])[] {
  const repositories = repositoriesOf(images);
  return [
    [
      layoutIndexFile,
      encodeIndex({
        schemaVersion: 2,
        mediaType: ociMediaTypes.index,
        manifests: images.flatMap(indexEntries),
      }),
    ],
    [archiveManifestFile, encodeArchiveManifest(images.map(archiveEntry))],
    [layoutFile, encodeLayout()],
    ...(Object.keys(repositories).length === 0
      ? []
      : [[archiveRepositoriesFile, encodeRepositories(repositories)] as const]),
  ];
}

/** One descriptor a name, as Docker writes it; one without names for an image that has none. */
function indexEntries({ record, names }: SavedImage): readonly Descriptor[] {
  const manifest = {
    mediaType: record.manifestMediaType,
    digest: record.manifestDigest,
    size: record.manifestSizeBytes,
  };
  if (names.length === 0) return [manifest];
  return names.map(({ name, index }) => ({
    ...(index === undefined ? manifest : descriptorOf(index.target)),
    annotations: {
      [annotationKeys.containerdName]: name,
      [annotationKeys.refName]: parseReference(name).tag ?? defaultTag,
    },
  }));
}

function descriptorOf({ mediaType, digest, sizeBytes }: NameTarget): Descriptor {
  return { mediaType, digest, size: sizeBytes };
}

function archiveEntry({
  record,
  names,
}: SavedImage): Parameters<typeof encodeArchiveManifest>[0][number] {
  return {
    Config: layoutBlobPath(record.id),
    RepoTags: names.map(({ name }) => {
      const reference = parseReference(name);
      return `${familiarName(reference)}:${reference.tag ?? defaultTag}`;
    }),
    Layers: record.layers.map((layer) => layoutBlobPath(layer.digest)),
    LayerSources: Object.fromEntries(
      record.layers.map((layer) => [
        layer.diffId,
        { mediaType: layer.mediaType, size: layer.sizeBytes, digest: layer.digest },
      ]),
    ),
  };
}

/** For clients before manifest.json: repository → tag → ID of the top layer. */
function repositoriesOf(images: readonly SavedImage[]): Record<string, Record<string, string>> {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { record, names } of images) {
    if (record.layers.length === 0) continue;
    const top = digestHex(chainId(record.layers.map((layer) => layer.diffId)));
    for (const { name } of names) {
      const reference = parseReference(name);
      const repository = familiarName(reference);
      repositories[repository] = {
        ...repositories[repository],
        [reference.tag ?? defaultTag]: top,
      };
    }
  }
  return repositories;
}
