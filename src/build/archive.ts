/** An image, or an index of several, as a tar: an OCI image layout, and what `docker load` reads. */
import { toReadableStream } from "../lib/stream-limit.ts";
import { encodeTarEnd, encodeTarHeader, encodeTarPadding } from "../lib/tar-writer.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { archiveManifestFile, encodeArchiveManifest } from "../oci/docker-archive.ts";
import { encodeImageConfig, type ImageConfig } from "../oci/image-config.ts";
import {
  annotationKeys,
  encodeLayout,
  layoutBlobPath,
  layoutFile,
  layoutIndexFile,
} from "../oci/layout.ts";
import { encodeIndex, encodeManifest } from "../oci/manifest.ts";
import type { Platform } from "../oci/platform.ts";
import { familiarString, formatReference, type Reference } from "../oci/reference.ts";
import { recordOfNew } from "../image/create-image.ts";
import type { LayerRecord } from "../image/image-records.ts";
import type { LayerPacking } from "../image/pack-layer.ts";
import type { BuildServiceOptions } from "./environment.ts";
import { layerCompression, ociMediaTypes } from "../oci/media-types.ts";
import { annotationsAt } from "./annotations.ts";
import type { ImageAnnotation } from "./build-service.ts";
import type { BuiltLayer } from "./step.ts";

/** One image that goes into an archive. */
export interface ArchivedImage {
  readonly config: ImageConfig;
  readonly layers: readonly BuiltLayer[];
  readonly platform: Platform;
}

/** An archive that is about to be read. */
export interface Archive {
  readonly stream: ReadableStream<Uint8Array>;
  /** Of the first image's config. */
  readonly configDigest: Digest;
  /** Of the manifest, or of the index of several. */
  readonly digest: Digest;
}

interface Blob {
  readonly descriptor: Descriptor;
  /** Absent for a layer, which is made when its turn comes. */
  readonly bytes?: Uint8Array;
  readonly layer?: LayerRecord;
}

/**
 * Makes an archive. The layers must be held by a lease until its stream has ended.
 *
 * @param options.isDocker with the file that `docker load` reads; of the first image alone
 */
export function openArchive(
  store: Pick<BuildServiceOptions, "images">,
  options: {
    readonly images: readonly ArchivedImage[];
    readonly names: readonly Reference[];
    readonly isDocker: boolean;
    readonly annotations: readonly ImageAnnotation[];
    readonly signal: AbortSignal;
  },
): Archive {
  const { names, annotations } = options;
  const blobs = new Map<Digest, Blob>();
  const add = (blob: Blob): Descriptor => {
    blobs.set(blob.descriptor.digest, blob);
    return blob.descriptor;
  };
  const document = (mediaType: string, bytes: Uint8Array): Descriptor =>
    add({ descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes });
  const made = options.images.map(({ config, layers, platform }) => {
    const configOf = document(ociMediaTypes.config, encodeImageConfig(config));
    const descriptors = layers.map((layer) => {
      const record = recordOfLayer(layer);
      const { mediaType, digest, sizeBytes: size } = record;
      return add({ descriptor: { mediaType, digest, size }, layer: record });
    });
    const manifest = encodeManifest({
      schemaVersion: 2,
      mediaType: ociMediaTypes.manifest,
      config: configOf,
      layers: descriptors,
      ...annotationsAt(annotations, { level: "manifest", platform }),
    });
    const descriptor = {
      ...document(ociMediaTypes.manifest, manifest),
      platform,
      ...annotationsAt(annotations, { level: "manifest-descriptor", platform }),
    };
    return { config: configOf, layers: descriptors, manifest: descriptor };
  });
  const [first] = made;
  const top =
    made.length === 1 && first !== undefined
      ? first.manifest
      : document(
          ociMediaTypes.index,
          encodeIndex({
            schemaVersion: 2,
            mediaType: ociMediaTypes.index,
            manifests: made.map(({ manifest }) => manifest),
            ...annotationsAt(annotations, { level: "index" }),
          }),
        );
  const named =
    made.length === 1
      ? top
      : { ...top, ...annotationsAt(annotations, { level: "index-descriptor" }) };
  const files: (readonly [string, Uint8Array])[] = [
    [layoutIndexFile, layoutIndex(named, names)],
    ...(options.isDocker && first !== undefined
      ? [[archiveManifestFile, dockerManifest(first, names)] as const]
      : []),
    [layoutFile, encodeLayout()],
  ];
  const { signal } = options;
  return {
    stream: toReadableStream(write(store, { blobs: [...blobs.values()], files, signal })),
    configDigest: first?.config.digest ?? top.digest,
    digest: top.digest,
  };
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
  store: Pick<BuildServiceOptions, "images">,
  archive: {
    readonly blobs: readonly Blob[];
    readonly files: readonly (readonly [string, Uint8Array])[];
    readonly signal: AbortSignal;
  },
): AsyncGenerator<Uint8Array> {
  for (const name of ["blobs/", "blobs/sha256/"]) {
    yield encodeTarHeader({ name, type: "directory", mode: 0o755 });
  }
  const sorted = archive.blobs.toSorted((a, b) =>
    a.descriptor.digest < b.descriptor.digest ? -1 : 1,
  );
  for (const { descriptor, bytes, layer } of sorted) {
    const name = layoutBlobPath(descriptor.digest);
    if (bytes !== undefined) yield* file(name, bytes);
    if (layer === undefined) continue;
    yield header(name, descriptor.size);
    yield* store.images.openLayer(layer, { signal: archive.signal });
    yield encodeTarPadding(descriptor.size);
  }
  for (const [name, bytes] of archive.files) yield* file(name, bytes);
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

/**
 * Layers packed as an archive wants them. Those of a base image that are packed stay as they came,
 * unless that is forced.
 */
export async function packForArchive(
  store: Pick<BuildServiceOptions, "images">,
  layers: readonly BuiltLayer[],
  how: {
    readonly compression: LayerPacking;
    readonly isForced?: boolean;
    readonly leaseId: string;
    readonly signal: AbortSignal;
  },
): Promise<readonly LayerRecord[]> {
  const { compression: packing, isForced = false, leaseId, signal } = how;
  return await Promise.all(
    layers.map(async (layer): Promise<LayerRecord> => {
      const record = recordOfLayer(layer);
      const { fromSnapshot, ...rest } = record;
      const isPacked = layerCompression(record.mediaType) !== "none";
      if (isPacked && !isForced) return record;
      if (!isPacked && packing === "uncompressed") return record;
      return { ...rest, ...(await store.images.packLayer(record, { packing, leaseId, signal })) };
    }),
  );
}

/** A layer as the image store records it. */
export function recordOfLayer(layer: BuiltLayer): LayerRecord {
  return "digest" in layer ? layer : recordOfNew(layer);
}
