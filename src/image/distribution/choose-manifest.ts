/**
 * From a reference to the manifest of one image: resolves, and chooses a platform.
 */
import { verifyBytes } from "../../content/verify.ts";
import { EngineError } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestOf, type Digest } from "../../oci/digest.ts";
import {
  decodeIndex,
  decodeManifest,
  type Index,
  type Manifest,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import {
  dockerMediaTypes,
  isImageConfigType,
  isIndexType,
  isManifestType,
  layerCompression,
} from "../../oci/media-types.ts";
import { choosePlatform, formatPlatform, hostPlatform, type Platform } from "../../oci/platform.ts";
import { formatReference, type Reference, withDigest } from "../../oci/reference.ts";
import type {
  FetchedManifest,
  RegistryCall,
  RegistryClient,
} from "../../remote/registry-client.ts";
import type { NameTarget } from "../image-records.ts";

/** Indexes within indexes that are followed. */
const indexDepthMax = 3;

/** Type of a config that very old registries hand out for an image's. */
const legacyConfigType = "application/octet-stream";

/** A manifest, or an index, with its bytes. */
export interface StoredDocument {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** The manifest of one image, and what led to it. */
export interface ChosenManifest {
  readonly manifest: Manifest;
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** What the reference stands for: an index, or the manifest itself. */
  readonly target: NameTarget;
  /** All that was read on the way, the manifest last. */
  readonly documents: readonly StoredDocument[];
}

/** What is asked for. */
export interface ManifestChoice extends RegistryCall {
  readonly platform?: Platform;
}

/**
 * Resolves a reference to the manifest of the image for a platform.
 *
 * @throws not-found when the registry has none, or none for the platform
 * @throws invalid-argument for what is no image, data-loss for bytes that are not what was named
 */
export async function chooseManifest(
  registry: RegistryClient,
  { reference, platform, ...call }: ManifestChoice & { readonly reference: Reference },
): Promise<ChosenManifest> {
  let fetched = await fetchChecked(registry, { reference, ...call });
  const { descriptor } = fetched;
  const target = {
    digest: descriptor.digest,
    mediaType: descriptor.mediaType,
    sizeBytes: fetched.bytes.length,
  };
  const documents: StoredDocument[] = [];
  for (let depth = 0; isIndexType(fetched.descriptor.mediaType); depth += 1) {
    if (depth === indexDepthMax) {
      throw new EngineError("invalid-argument", "the index names indexes that name indexes again");
    }
    documents.push({ digest: fetched.descriptor.digest, bytes: fetched.bytes });
    const chosen = chooseEntry(decodeIndex(fetched.bytes), platform);
    const next = withDigest(reference, chosen.digest);
    fetched = await fetchChecked(registry, { reference: next, ...call });
    checkEntry(chosen, fetched);
  }
  refuseSchema1(fetched.descriptor.mediaType, reference);
  const manifest = decodeManifest(fetched.bytes);
  refuseOther(manifest);
  const { digest } = fetched.descriptor;
  documents.push({ digest, bytes: fetched.bytes });
  return { manifest, digest, sizeBytes: fetched.bytes.length, target, documents };
}

/** The manifest's or index's bytes, which have the digest that they go by. */
async function fetchChecked(
  registry: RegistryClient,
  { reference, ...call }: RegistryCall & { readonly reference: Reference },
): Promise<FetchedManifest> {
  const fetched = await registry.fetchManifest(reference, call);
  if (fetched.bytes.length > manifestSizeMaxBytes) {
    throw new EngineError(
      "invalid-argument",
      `the manifest has ${fetched.bytes.length} bytes: at most ${manifestSizeMaxBytes} are read`,
    );
  }
  const digest = reference.digest ?? fetched.descriptor.digest ?? digestOf(fetched.bytes);
  verifyBytes(fetched.bytes, { digest });
  return { descriptor: { ...fetched.descriptor, digest }, bytes: fetched.bytes };
}

/**
 * Picks the entry of an index for a platform.
 *
 * @throws not-found with Docker's sentence
 */
export function chooseEntry(index: Index, platform?: Platform): Descriptor {
  const isImage = ({ mediaType }: Descriptor): boolean =>
    isManifestType(mediaType) || isIndexType(mediaType);
  const entries = index.manifests.filter(isImage);
  const wanted = platform ?? hostPlatform();
  const at = choosePlatform(
    wanted,
    entries.map((entry) => entry.platform),
  );
  const [only, ...further] = entries;
  // An index of one that does not say for what is meant for everybody.
  const isUnsaid = further.length === 0 && only?.platform === undefined;
  const chosen = at === undefined ? (isUnsaid ? only : undefined) : entries[at];
  if (chosen !== undefined) return chosen;
  // Docker: names the variant of the platform that nobody asked for, seen in its source
  const isVariantMeant = platform === undefined && wanted.architecture === "arm64";
  const shown = `${formatPlatform(wanted)}${isVariantMeant && !wanted.variant ? "/v8" : ""}`;
  throw new EngineError(
    "not-found",
    `no matching manifest for ${shown} in the manifest list entries`,
  );
}

function checkEntry(entry: Descriptor, fetched: FetchedManifest): void {
  if (entry.size !== fetched.bytes.length) {
    throw new EngineError(
      "data-loss",
      `the index says that ${entry.digest} has ${entry.size} bytes, it has ${fetched.bytes.length}`,
    );
  }
  // What is an index to one reader must not be an image to another.
  if (isIndexType(entry.mediaType) !== isIndexType(fetched.descriptor.mediaType)) {
    throw new EngineError(
      "invalid-argument",
      `the index says that ${entry.digest} is ${entry.mediaType}, the registry says ` +
        fetched.descriptor.mediaType,
    );
  }
}

function refuseSchema1(mediaType: string, reference: Reference): void {
  const { manifestV1, signedManifestV1 } = dockerMediaTypes;
  if (mediaType !== manifestV1 && mediaType !== signedManifestV1) return;
  throw new EngineError(
    "invalid-argument",
    "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 " +
      "support is disabled by default and will be removed in an upcoming release. Suggest the " +
      `author of ${formatReference(reference)} to upgrade the image to the OCI Format or Docker ` +
      "Image manifest v2, schema 2. More information at " +
      "https://docs.docker.com/go/deprecated-image-specs/",
  );
}

/** Refuses charts, plugins, signatures, …: what has no config of an image, or no layers of one. */
function refuseOther(manifest: Manifest): void {
  const { mediaType } = manifest.config;
  if (!isImageConfigType(mediaType) && mediaType !== legacyConfigType) {
    const kind = mediaType === dockerMediaTypes.pluginConfig ? "plugin" : "unknown";
    throw new EngineError(
      "invalid-argument",
      `Encountered remote ${JSON.stringify(mediaType)}(${kind}) when fetching`,
    );
  }
  const other = manifest.layers.find((layer) => layerCompression(layer.mediaType) === undefined);
  if (other !== undefined) {
    throw new EngineError(
      "invalid-argument",
      `unsupported layer media type ${JSON.stringify(other.mediaType)}`,
    );
  }
}
