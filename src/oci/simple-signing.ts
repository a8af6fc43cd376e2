/**
 * Signatures of images as cosign keeps them: a small document that names an image and its digest is
 * signed, and stored as a layer of a manifest that stands beside the image under a tag of its own.
 *
 * @see sigstore/cosign, SIGNATURE_SPEC; containers/image, "Simple Signing" payload
 */
import { decodeDocument } from "./_json.ts";
import { type Digest, isDigest } from "./digest.ts";
import type { Descriptor } from "./descriptor.ts";
import { EngineError } from "../lib/errors.ts";

/** Media type of a signed document. */
export const simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json";
/** Annotation of a signed document's descriptor: the signature in base64. */
export const signatureAnnotation = "dev.cosignproject.cosign/signature";
/** What `critical.type` says. */
const payloadType = "cosign container image signature";
/** The type that containers/image writes; the form is the same. */
const payloadTypes: readonly string[] = [payloadType, "atomic container signature"];
/** A signed document is this long at most. */
export const payloadSizeMaxBytes: number = 128 * 1024;
/** Signatures that are looked at for one image. */
export const signaturesMax = 64;

/** What a signed document says. */
export interface SignedImage {
  /** The name that was signed for: a repository, with or without a tag. */
  readonly reference: string;
  readonly manifestDigest: Digest;
}

/** One signature: the document as it was signed, and the signature in base64. */
export interface ImageSignature {
  readonly payload: Uint8Array;
  readonly signature: string;
}

/** Writes the document to be signed. */
export function encodePayload(
  image: SignedImage,
  optional?: Readonly<Record<string, string>>,
): Uint8Array {
  const document = {
    critical: {
      identity: { "docker-reference": image.reference },
      image: { "docker-manifest-digest": image.manifestDigest },
      type: payloadType,
    },
    optional: optional ?? null,
  };
  return Buffer.from(JSON.stringify(document));
}

/** Reads a signed document. Whether it may be believed is the signature's to say. @throws invalid-argument */
export function decodePayload(bytes: Uint8Array): SignedImage {
  const document = decodeDocument(bytes, {
    sizeMaxBytes: payloadSizeMaxBytes,
    what: "signed document",
  });
  const critical = document.object("critical");
  const reference = critical?.object("identity")?.text("docker-reference");
  const digest = critical?.object("image")?.text("docker-manifest-digest");
  const type = critical?.text("type");
  if (
    reference === undefined ||
    digest === undefined ||
    !isDigest(digest) ||
    type === undefined ||
    !payloadTypes.includes(type)
  ) {
    throw new EngineError("invalid-argument", "the signed document does not name an image");
  }
  return { reference, manifestDigest: digest };
}

/** The tag that an image's signatures stand under: `sha256-<hex>.sig`. */
export function signatureTag(manifestDigest: Digest): string {
  return `${manifestDigest.replace(":", "-")}.sig`;
}

/** The signatures among a manifest's layers, and where their documents are. */
export function signatureLayers(
  layers: readonly Descriptor[],
): readonly { readonly descriptor: Descriptor; readonly signature: string }[] {
  return layers.flatMap((descriptor) => {
    const signature = descriptor.annotations?.[signatureAnnotation];
    const isOne = descriptor.mediaType === simpleSigningType && signature !== undefined;
    return isOne ? [{ descriptor, signature }] : [];
  });
}
