import { compact, decodeDocument, encodeDocument, type Fields } from "./_json.ts";
import { decodeDescriptor, type Descriptor } from "./descriptor.ts";
import { dockerMediaTypes, isIndexType, isManifestType, ociMediaTypes } from "./media-types.ts";

/**
 * One image: its config and its layers, bottom first. OCI's and Docker's schema 2 alike.
 *
 * @see OCI image-spec v1.1, manifest.md; distribution, manifest-v2-2.md
 */
export interface Manifest {
  readonly schemaVersion: 2;
  /** As the document says, or as its content tells when it says nothing. */
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Several manifests, usually one a platform: OCI's index and Docker's manifest list.
 *
 * @see OCI image-spec v1.1, image-index.md
 */
export interface Index {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Largest manifest or index; what registries take at the least. @see OCI distribution-spec v1.1 */
export const manifestSizeMaxBytes: number = 4 * 1024 * 1024;
/** Layers an image may have; overlay mounts far fewer. */
export const layersMax = 512;
/** Manifests an index may name. */
export const indexEntriesMax = 1_024;

/** How many entries a document may have. */
export interface ManifestLimits {
  /** `layersMax` and `indexEntriesMax` when absent; what only keeps documents bounds their bytes alone. */
  readonly entriesMax?: number;
}

/**
 * Decodes the manifest of one image.
 *
 * The bytes stay authoritative: their digest is the manifest's, never that of an encoded copy.
 *
 * @throws invalid-argument for a malformed document, or one that could be read as an index as well
 */
export function decodeManifest(bytes: Uint8Array, limits: ManifestLimits = {}): Manifest {
  const fields = decodeDocument(bytes, { sizeMaxBytes: manifestSizeMaxBytes, what: "manifest" });
  return manifestOf(fields, limits);
}

/** Decodes an index or a manifest list; see `decodeManifest`. */
export function decodeIndex(bytes: Uint8Array, limits: ManifestLimits = {}): Index {
  const fields = decodeDocument(bytes, { sizeMaxBytes: manifestSizeMaxBytes, what: "index" });
  return indexOf(fields, limits);
}

/** Decodes either, told apart by the media type, or by the content when that is not said. */
export function decodeManifestOrIndex(
  bytes: Uint8Array,
  limits: ManifestLimits = {},
): Manifest | Index {
  const fields = decodeDocument(bytes, { sizeMaxBytes: manifestSizeMaxBytes, what: "manifest" });
  const mediaType = fields.text("mediaType");
  const isList = mediaType === undefined ? fields.has("manifests") : isIndexType(mediaType);
  return isList ? indexOf(fields, limits) : manifestOf(fields, limits);
}

/** Tells an index from a manifest. */
export function isIndex(document: Manifest | Index): document is Index {
  return "manifests" in document;
}

/** Encodes a manifest; the same value gives the same bytes. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  return encodeDocument(manifest);
}

/** Encodes an index; the same value gives the same bytes. */
export function encodeIndex(index: Index): Uint8Array {
  return encodeDocument(index);
}

function manifestOf(fields: Fields, { entriesMax = layersMax }: ManifestLimits): Manifest {
  // One document must not be an image to one reader and an index to another (CVE-2021-41190).
  if (fields.has("manifests")) fields.refuse("manifests", "a manifest has none");
  if (fields.has("fsLayers")) fields.refuse("fsLayers", "schema 1 manifests are not supported");
  const config = fields.object("config");
  const layers = fields.objects("layers");
  if (config === undefined) return fields.refuse("config", "missing");
  if (layers === undefined) return fields.refuse("layers", "missing");
  if (layers.length > entriesMax) fields.refuse("layers", `more than ${entriesMax} layers`);
  const decoded = decodeDescriptor(config);
  const isDocker = decoded.mediaType === dockerMediaTypes.config;
  const mediaType =
    fields.text("mediaType") ?? (isDocker ? dockerMediaTypes.manifest : ociMediaTypes.manifest);
  if (!isManifestType(mediaType)) fields.refuse("mediaType", "not that of a manifest");
  return compact({
    schemaVersion: schemaVersion(fields),
    mediaType,
    artifactType: fields.text("artifactType"),
    config: decoded,
    layers: layers.map(decodeDescriptor),
    subject: subject(fields),
    annotations: fields.textMap("annotations"),
  });
}

function indexOf(fields: Fields, { entriesMax = indexEntriesMax }: ManifestLimits): Index {
  for (const key of ["config", "layers", "fsLayers"]) {
    if (fields.has(key)) fields.refuse(key, "an index has none");
  }
  const manifests = fields.objects("manifests");
  if (manifests === undefined) return fields.refuse("manifests", "missing");
  if (manifests.length > entriesMax) {
    fields.refuse("manifests", `more than ${entriesMax} manifests`);
  }
  const mediaType = fields.text("mediaType") ?? ociMediaTypes.index;
  if (!isIndexType(mediaType)) fields.refuse("mediaType", "not that of an index");
  return compact({
    schemaVersion: schemaVersion(fields),
    mediaType,
    artifactType: fields.text("artifactType"),
    manifests: manifests.map(decodeDescriptor),
    subject: subject(fields),
    annotations: fields.textMap("annotations"),
  });
}

function schemaVersion(fields: Fields): 2 {
  const version = fields.integer("schemaVersion");
  return version === 2 ? 2 : fields.refuse("schemaVersion", "2 is wanted");
}

function subject(fields: Fields): Descriptor | undefined {
  const value = fields.object("subject");
  return value === undefined ? undefined : decodeDescriptor(value);
}
