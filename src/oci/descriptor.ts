import { compact, decodeDocument, type Fields } from "./_json.ts";
import { type Digest, isDigest } from "./digest.ts";
import { normalizePlatform, type Platform } from "./platform.ts";

/**
 * Names content: what it is, its digest and its size.
 *
 * @see OCI image-spec v1.1, descriptor.md
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** The content itself, in base64. Not checked against the digest. */
  readonly data?: string;
  readonly platform?: Platform;
  readonly artifactType?: string;
}

// RFC 6838, section 4.2: each half has at most 127 characters.
const mediaTypeForm = /^[A-Za-z0-9][\w!#$&^.+-]{0,126}\/[A-Za-z0-9][\w!#$&^.+-]{0,126}$/;

/**
 * Decodes a descriptor.
 *
 * @throws invalid-argument for a missing or malformed field
 */
export function decodeDescriptor(fields: Fields): Descriptor {
  const mediaType = fields.mustText("mediaType");
  if (!mediaTypeForm.test(mediaType)) fields.refuse("mediaType", "not a media type");
  const digest = fields.mustText("digest");
  if (!isDigest(digest)) return fields.refuse("digest", "not a digest");
  const size = fields.integer("size") ?? fields.refuse("size", "missing");
  if (size < 0) fields.refuse("size", "negative");
  const platform = fields.object("platform");
  return compact({
    mediaType,
    digest,
    size,
    urls: fields.texts("urls"),
    annotations: fields.textMap("annotations"),
    data: fields.text("data"),
    platform: platform === undefined ? undefined : decodePlatform(platform),
    artifactType: fields.text("artifactType"),
  });
}

/** Largest descriptor that travels alone. */
const descriptorMaxBytes = 64 * 1024;

/** Decodes a descriptor that travels alone, as JSON. @throws invalid-argument */
export function decodeDescriptorText(text: string): Descriptor {
  const limits = { sizeMaxBytes: descriptorMaxBytes, what: "descriptor" };
  return decodeDescriptor(decodeDocument(new TextEncoder().encode(text), limits));
}

/** Decodes a platform and normalises it. */
export function decodePlatform(fields: Fields): Platform {
  return normalizePlatform(
    compact({
      os: fields.text("os") ?? "",
      architecture: fields.text("architecture") ?? "",
      variant: fields.text("variant"),
      "os.version": fields.text("os.version"),
      "os.features": fields.texts("os.features"),
    }),
  );
}
