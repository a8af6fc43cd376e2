/**
 * The records of images and of their names.
 */
import { EngineError } from "../lib/errors.ts";
import type { Metadata, Table } from "../metadata/metadata.ts";
import { type Digest, isDigest } from "../oci/digest.ts";

/** One layer of a stored image. */
export interface LayerRecord {
  /** Of the blob as it came. */
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string;
  readonly diffId: Digest;
  /** Of this layer on those below: the name of its snapshot. */
  readonly chainId: Digest;
  /** Bytes of its files. */
  readonly unpackedSizeBytes: number;
  /** There: the layer was made here and may have no blob; its bytes are made of its snapshot, with
   * no time later than `epochS` (seconds since 1970). `layer-source.ts` reads either. */
  readonly fromSnapshot?: { readonly epochS?: number };
}

/** A stored image. */
export interface ImageRecord {
  /** Digest of the config: the image's ID. */
  readonly id: Digest;
  readonly manifestDigest: Digest;
  readonly manifestMediaType: string;
  readonly manifestSizeBytes: number;
  readonly configSizeBytes: number;
  readonly layers: readonly LayerRecord[];
  /** Nanoseconds since 1970 as digits: when it came here. */
  readonly storedNs: string;
  readonly lastTaggedNs?: string;
  /** The image that it was made from here, by a commit or a step of a build. */
  readonly parentId?: Digest;
}

/** Bytes of an image's files, all layers together. */
export function sizeOf({ layers }: Pick<ImageRecord, "layers">): number {
  return layers.reduce((sum, layer) => sum + layer.unpackedSizeBytes, 0);
}

/** What a name stands for in a registry: a manifest, or the index that one was chosen from. */
export interface NameTarget {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

/**
 * Binds a whole reference to an image: by tag (`docker.io/library/busybox:latest`), or by a digest
 * that it was pulled or pushed under (`docker.io/library/busybox@sha256:…`).
 */
export interface NameRecord {
  readonly id: Digest;
  /** As it was pulled or pushed; absent for what was made here. */
  readonly target?: NameTarget;
  /** The registry calls the image so: a pull or a push has told. Else the name was given here. */
  readonly isPublished?: boolean;
  /** Images of further platforms of the same index that are here. */
  readonly others?: readonly Digest[];
  /** Blobs of that index that are no image's (attestations): kept, so that it can go out whole. */
  readonly attachments?: readonly Digest[];
}

/** Both tables. */
export interface ImageTables {
  readonly images: Table<ImageRecord>;
  readonly names: Table<NameRecord>;
}

/** Opens the tables. Their changes are durable once who makes them commits or flushes. */
export function openImageTables(metadata: Metadata): ImageTables {
  return {
    images: metadata.table({ name: "image", decode: decodeImageRecord, durable: false }),
    names: metadata.table({ name: "image-name", decode: decodeNameRecord, durable: false }),
  };
}

function decodeImageRecord(document: unknown): ImageRecord {
  const fields = document as Partial<ImageRecord> | null;
  const isWhole =
    typeof fields === "object" &&
    fields !== null &&
    isDigestText(fields.id) &&
    isDigestText(fields.manifestDigest) &&
    Array.isArray(fields.layers) &&
    fields.layers.every((layer) => isDigestText(layer?.digest) && isDigestText(layer?.chainId));
  if (!isWhole) throw new EngineError("data-loss", "the record of an image is not one");
  return document as ImageRecord;
}

function decodeNameRecord(document: unknown): NameRecord {
  const fields = document as Partial<NameRecord> | null;
  if (!isDigestText(fields?.id)) {
    throw new EngineError("data-loss", "the record of an image's name is not one");
  }
  return document as NameRecord;
}

function isDigestText(value: unknown): boolean {
  return typeof value === "string" && isDigest(value);
}
