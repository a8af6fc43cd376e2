/** An image, or an index of several, as a tar: an OCI image layout, and what `docker load` reads. */
import { toReadableStream } from "../../lib/stream-limit.ts";
import { encodeTarEnd, encodeTarHeader, encodeTarPadding } from "../../lib/tar/tar-writer.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { archiveManifestFile, encodeArchiveManifest } from "../../oci/docker-archive.ts";
import { encodeImageConfig, type ImageConfig } from "../../oci/image-config.ts";
import {
  annotationKeys,
  encodeLayout,
  layoutBlobPath,
  layoutFile,
  layoutIndexFile,
} from "../../oci/layout.ts";
import { encodeIndex, encodeManifest } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import type { Platform } from "../../oci/platform.ts";
import { familiarString, formatReference, type Reference } from "../../oci/reference.ts";
import { recordOfNew } from "../../image/lifecycle/create-image.ts";
import type { LayerRecord } from "../../image/image-records.ts";
import type { ImageService } from "../../image/image-service.ts";
import { annotationsAt } from "./annotations.ts";
import type { ImageAttestations } from "../attestation/attest.ts";
import type { ClientContent, ImageAnnotation } from "../build-service.ts";
import type { BuiltLayer } from "../step.ts";

/** One image that goes into an archive. */
export interface ArchivedImage {
  readonly config: ImageConfig;
  readonly layers: readonly LayerRecord[];
  readonly platform: Platform;
  /** Makes what is attested of the image, once its manifest is known. */
  readonly attest?: (manifest: Digest) => Promise<ImageAttestations>;
}

/** What goes into an archive. */
export interface Archive {
  readonly blobs: readonly ArchivedBlob[];
  /** Files beside the blobs, by name. */
  readonly files: readonly (readonly [string, Uint8Array])[];
  /** Of the first image's config. */
  readonly configDigest: Digest;
  /** The manifest, or the index of several. */
  readonly top: Descriptor;
}

/** Where layers are read, and until when. */
export interface ArchiveSource {
  readonly images: Pick<ImageService, "openLayer">;
  readonly signal: AbortSignal;
}

/** A blob of an archive. */
export interface ArchivedBlob {
  readonly descriptor: Descriptor;
  /** Absent for a layer, which is made when its turn comes. */
  readonly bytes?: Uint8Array;
  readonly layer?: LayerRecord;
}

/**
 * Plans an archive. The layers must be held by a lease until it has been read.
 *
 * @param options.isDocker with the file that `docker load` reads; of the first image alone
 */
export async function planArchive(options: {
  readonly images: readonly ArchivedImage[];
  readonly names: readonly Reference[];
  readonly isDocker: boolean;
  readonly annotations: readonly ImageAnnotation[];
}): Promise<Archive> {
  const { names, annotations } = options;
  const blobs = new BlobList();
  const made: PlannedImage[] = [];
  for (const image of options.images) made.push(await planImage(blobs, image, annotations));
  const [first] = made;
  const attested = made.flatMap(({ attestation }) => attestation ?? []);
  const isAlone = made.length === 1 && attested.length === 0;
  const top =
    isAlone && first !== undefined
      ? first.manifest
      : blobs.document(
          ociMediaTypes.index,
          encodeIndex({
            schemaVersion: 2,
            mediaType: ociMediaTypes.index,
            manifests: [...made.map(({ manifest }) => manifest), ...attested],
            ...annotationsAt(annotations, { level: "index" }),
          }),
        );
  const named = isAlone
    ? top
    : { ...top, ...annotationsAt(annotations, { level: "index-descriptor" }) };
  return {
    blobs: blobs.all,
    files: [
      [layoutIndexFile, layoutIndex(named, names)],
      ...(options.isDocker && first !== undefined
        ? [[archiveManifestFile, dockerManifest(first, names)] as const]
        : []),
      [layoutFile, encodeLayout()],
    ],
    configDigest: first?.config.digest ?? top.digest,
    top,
  };
}

/** Blobs of an archive, each once. */
class BlobList {
  readonly #blobs = new Map<Digest, ArchivedBlob>();

  add(blob: ArchivedBlob): Descriptor {
    this.#blobs.set(blob.descriptor.digest, blob);
    return blob.descriptor;
  }

  document(mediaType: string, bytes: Uint8Array): Descriptor {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    return this.add({ descriptor, bytes });
  }

  /** In the order of their digests: the same image is the same archive. */
  get all(): readonly ArchivedBlob[] {
    return [...this.#blobs.values()].toSorted((a, b) =>
      a.descriptor.digest < b.descriptor.digest ? -1 : 1,
    );
  }
}

interface PlannedImage {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly manifest: Descriptor;
  /** Of the manifest of what is attested. */
  readonly attestation?: Descriptor;
}

async function planImage(
  blobs: BlobList,
  { config, layers, platform, attest }: ArchivedImage,
  annotations: readonly ImageAnnotation[],
): Promise<PlannedImage> {
  const configOf = blobs.document(ociMediaTypes.config, encodeImageConfig(config));
  const descriptors = layers.map((layer) => {
    const { mediaType, digest, sizeBytes: size } = layer;
    return blobs.add({ descriptor: { mediaType, digest, size }, layer });
  });
  const bytes = encodeManifest({
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: configOf,
    layers: descriptors,
    ...annotationsAt(annotations, { level: "manifest", platform }),
  });
  const manifest = {
    ...blobs.document(ociMediaTypes.manifest, bytes),
    platform,
    ...annotationsAt(annotations, { level: "manifest-descriptor", platform }),
  };
  const attested = await attest?.(manifest.digest);
  for (const blob of attested?.blobs ?? []) blobs.add(blob);
  return {
    config: configOf,
    layers: descriptors,
    manifest,
    ...(attested === undefined ? {} : { attestation: attested.descriptor }),
  };
}

/** An archive as a tar. */
export function archiveStream(source: ArchiveSource, archive: Archive): ReadableStream<Uint8Array> {
  return toReadableStream(write(source, archive));
}

/** Puts the blobs of an archive into a folder of the client's, which names them itself. */
export async function sendArchive(
  { images, signal }: ArchiveSource,
  archive: Archive,
  folder: ClientContent,
): Promise<void> {
  for (const { descriptor, bytes, layer } of archive.blobs) {
    await folder.put(descriptor, () => {
      if (layer !== undefined) return images.openLayer(layer, { signal });
      return new Blob([Uint8Array.from(bytes ?? [])]).stream();
    });
  }
}

function layoutIndex(top: Descriptor, names: readonly Reference[]): Uint8Array {
  const manifests =
    names.length === 0
      ? [top]
      : names.map((name) => ({
          ...top,
          annotations: {
            ...top.annotations,
            [annotationKeys.containerdName]: formatReference(name),
            [annotationKeys.refName]: name.tag ?? "latest",
          },
        }));
  return encodeIndex({ schemaVersion: 2, mediaType: ociMediaTypes.index, manifests });
}

function dockerManifest(
  image: { readonly config: Descriptor; readonly layers: readonly Descriptor[] },
  names: readonly Reference[],
): Uint8Array {
  return encodeArchiveManifest([
    {
      Config: layoutBlobPath(image.config.digest),
      RepoTags: names.map(familiarString),
      Layers: image.layers.map(({ digest }) => layoutBlobPath(digest)),
    },
  ]);
}

async function* write(
  { images, signal }: ArchiveSource,
  { blobs, files }: Archive,
): AsyncGenerator<Uint8Array> {
  for (const name of ["blobs/", "blobs/sha256/"]) {
    yield encodeTarHeader({ name, type: "directory", mode: 0o755 });
  }
  for (const { descriptor, bytes, layer } of blobs) {
    const name = layoutBlobPath(descriptor.digest);
    if (bytes !== undefined) yield* file(name, bytes);
    if (layer === undefined) continue;
    yield header(name, descriptor.size);
    yield* images.openLayer(layer, { signal });
    yield encodeTarPadding(descriptor.size);
  }
  for (const [name, bytes] of files) yield* file(name, bytes);
  yield encodeTarEnd();
}

function* file(name: string, bytes: Uint8Array): Generator<Uint8Array> {
  yield header(name, bytes.length);
  yield bytes;
  yield encodeTarPadding(bytes.length);
}

function header(name: string, sizeBytes: number): Uint8Array {
  return encodeTarHeader({ name, type: "file", mode: 0o644, sizeBytes });
}

/** A layer as the image store records it. */
export function recordOfLayer(layer: BuiltLayer): LayerRecord {
  return "digest" in layer ? layer : recordOfNew(layer);
}
