import { decodeDocument, encodeDocument } from "./_json.ts";
import type { Descriptor } from "./descriptor.ts";
import { type Digest, digestAlgorithm, digestHex, isDigest } from "./digest.ts";

/** Names of the files of an image layout. @see OCI image-spec v1.1, image-layout.md */
export const layoutFile = "oci-layout";
/** The index of a layout: what it holds, by name. */
export const layoutIndexFile = "index.json";
/** The version this program reads and writes. */
export const layoutVersion = "1.0.0";

/** Annotations that name an image in a layout. */
export const annotationKeys = {
  /** @see OCI image-spec v1.1, annotations.md; a tag, or a whole reference in some writers. */
  refName: "org.opencontainers.image.ref.name",
  /** The whole reference, as containerd and Docker write it. */
  containerdName: "io.containerd.image.name",
} as const;

const layoutSizeMaxBytes = 64 * 1024;

/**
 * Decodes the `oci-layout` file.
 *
 * @throws invalid-argument when it is malformed or of a version unlike 1
 */
export function decodeLayout(bytes: Uint8Array): { readonly imageLayoutVersion: string } {
  const fields = decodeDocument(bytes, { sizeMaxBytes: layoutSizeMaxBytes, what: layoutFile });
  const imageLayoutVersion = fields.mustText("imageLayoutVersion");
  if (!/^1\.\d+\.\d+$/.test(imageLayoutVersion)) {
    fields.refuse("imageLayoutVersion", `${layoutVersion} is wanted`);
  }
  return { imageLayoutVersion };
}

/** Encodes the `oci-layout` file. */
export function encodeLayout(): Uint8Array {
  return encodeDocument({ imageLayoutVersion: layoutVersion });
}

/** Where a blob stands in a layout: "blobs/sha256/…". */
export function layoutBlobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** The digest of the blob at a path of a layout; undefined for any other path. */
export function findLayoutBlob(path: string): Digest | undefined {
  const match = /^(?:\.\/)?blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(path);
  if (match === null) return undefined;
  const digest = `${match[1]}:${match[2]}`;
  return isDigest(digest) ? digest : undefined;
}

/** The name that a descriptor of a layout's index carries: the whole one, else the short one. */
export function layoutName(descriptor: Descriptor): string | undefined {
  const annotations = descriptor.annotations ?? {};
  return annotations[annotationKeys.containerdName] ?? annotations[annotationKeys.refName];
}
