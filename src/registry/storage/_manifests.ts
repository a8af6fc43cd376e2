import { isKind, messageOf } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { createDigester, type Digest } from "../../oci/digest.ts";
import {
  decodeIndex,
  decodeManifest,
  decodeManifestOrIndex,
  type Index,
  isIndex,
  type Manifest,
  type ManifestLimits,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import { dockerMediaTypes, isIndexType, isManifestType } from "../../oci/media-types.ts";
import type { Repository } from "./_catalog.ts";
import { type RegistryContext, withDigest } from "./_context.ts";
import type { BlobLink, ManifestRecord } from "./_records.ts";
import { refusal } from "../errors.ts";
import type { ManifestName } from "../names.ts";
import type { StoredManifest } from "../registry.ts";

/** A manifest as it comes. */
export interface IncomingManifest {
  readonly name: ManifestName;
  /** Its `Content-Type`. */
  readonly mediaType: string | undefined;
  readonly bytes: Uint8Array;
}

/** Bytes of the descriptors of one page of referrers: well below what a client takes for a manifest. */
const referrersPageMaxBytes = 2 * 1024 * 1024;
/** Manifests that are read for one page of referrers. */
const referrersPageMax = 1_000;
/** Artifacts may have more parts than an image that is run: the bytes of a manifest are bound enough. */
export const keptLimits: ManifestLimits = { entriesMax: Number.POSITIVE_INFINITY };
/** Missing blobs that are named in a refusal. */
const missingMax = 100;

let ingestCount = 0;

/** @see Registry.putManifest */
export async function putManifest(
  context: RegistryContext,
  repository: string,
  incoming: IncomingManifest,
): Promise<StoredManifest & { readonly subject?: Digest }> {
  const { name, bytes } = incoming;
  const document = decodeIncoming(incoming);
  const digest = digestOfIncoming(incoming);
  const record = recordOf(document, { sizeBytes: bytes.byteLength, nowMs: context.nowMs() });
  checkLinks(context.catalog.find(repository), record);
  await withDigest(context, digest, async () => {
    const isKnown = context.catalog.find(repository)?.manifests.has(digest) === true;
    if (!isKnown) context.quota.admit(repository, { sizeBytes: bytes.byteLength });
    if (context.content.find(digest) === undefined) await storeBytes(context, { digest, bytes });
    // Again, in one step with the record: the collector may have been here meanwhile.
    checkLinks(context.catalog.find(repository), record);
    context.catalog.apply([
      { kind: "put-manifest", repository, digest, record },
      ...(name.kind === "tag"
        ? [
            {
              kind: "put-tag",
              repository,
              tag: name.tag,
              record: { digest, updatedMs: context.nowMs() },
            } as const,
          ]
        : []),
    ]);
  });
  const { mediaType, sizeBytes, subject } = record;
  return { digest, mediaType, sizeBytes, ...(subject === undefined ? {} : { subject }) };
}

/** Finds the manifest that a name means. @throws MANIFEST_UNKNOWN, NAME_UNKNOWN */
export function findManifest(
  context: RegistryContext,
  repository: string,
  name: ManifestName,
): StoredManifest {
  const found = context.catalog.find(repository);
  const digest = name.kind === "digest" ? name.digest : found?.tags.get(name.tag)?.digest;
  const record = digest === undefined ? undefined : found?.manifests.get(digest);
  if (digest === undefined || record === undefined) {
    const wanted = name.kind === "digest" ? name.digest : name.tag;
    throw refusal("MANIFEST_UNKNOWN", { detail: { name: repository, reference: wanted } });
  }
  return { digest, mediaType: record.mediaType, sizeBytes: record.sizeBytes };
}

/** @see Registry.removeManifest */
export function removeManifest(
  context: RegistryContext,
  repository: string,
  name: ManifestName,
): void {
  const found = context.catalog.find(repository);
  if (name.kind === "tag") {
    if (found?.tags.has(name.tag) !== true) {
      throw refusal("MANIFEST_UNKNOWN", { detail: { name: repository, reference: name.tag } });
    }
    context.catalog.apply([{ kind: "remove-tag", repository, tag: name.tag }]);
    return;
  }
  const { digest } = findManifest(context, repository, name);
  const tags = [...(found?.tags ?? [])].filter(([, record]) => record.digest === digest);
  context.catalog.apply([
    ...tags.map(([tag]) => ({ kind: "remove-tag", repository, tag }) as const),
    { kind: "remove-manifest", repository, digest },
  ]);
}

/** @see Registry.listReferrers */
export async function listReferrers(
  context: RegistryContext,
  repository: string,
  options: { readonly digest: Digest; readonly artifactType?: string; readonly after?: string },
): Promise<{ readonly manifests: readonly Descriptor[]; readonly hasMore: boolean }> {
  const { digest, artifactType, after } = options;
  const found = context.catalog.find(repository);
  const names = [...(found?.referrers.get(digest) ?? [])].sort();
  const manifests: Descriptor[] = [];
  let sizeBytes = 0;
  for (const name of names) {
    if (after !== undefined && name <= after) continue;
    const record = context.catalog.find(repository)?.manifests.get(name);
    if (record === undefined) continue;
    if (artifactType !== undefined && record.artifactType !== artifactType) continue;
    const bytes = await context.content.read(name, { sizeMaxBytes: manifestSizeMaxBytes });
    const { annotations } = decodeManifestOrIndex(bytes, keptLimits);
    const descriptor: Descriptor = {
      mediaType: record.mediaType,
      digest: name,
      size: record.sizeBytes,
      ...(annotations === undefined ? {} : { annotations }),
      ...(record.artifactType === undefined ? {} : { artifactType: record.artifactType }),
    };
    sizeBytes += JSON.stringify(descriptor).length;
    const isFull = sizeBytes > referrersPageMaxBytes || manifests.length >= referrersPageMax;
    if (isFull && manifests.length > 0) {
      return { manifests, hasMore: true };
    }
    manifests.push(descriptor);
  }
  return { manifests, hasMore: false };
}

/** A page of referrers that are at hand. */
export function pageOfReferrers(
  referrers: readonly Descriptor[],
  options: { readonly artifactType?: string; readonly after?: string },
): { readonly manifests: readonly Descriptor[]; readonly hasMore: boolean } {
  const { artifactType, after } = options;
  const manifests: Descriptor[] = [];
  let sizeBytes = 0;
  for (const one of referrers.toSorted((left, right) => (left.digest < right.digest ? -1 : 1))) {
    if (after !== undefined && one.digest <= after) continue;
    if (artifactType !== undefined && one.artifactType !== artifactType) continue;
    sizeBytes += JSON.stringify(one).length;
    const isFull = sizeBytes > referrersPageMaxBytes || manifests.length >= referrersPageMax;
    if (isFull && manifests.length > 0) return { manifests, hasMore: true };
    manifests.push(one);
  }
  return { manifests, hasMore: false };
}

function decodeIncoming(incoming: IncomingManifest): Manifest | Index {
  const { bytes } = incoming;
  const mediaType = incoming.mediaType?.split(";")[0]?.trim().toLowerCase();
  if (
    mediaType === dockerMediaTypes.manifestV1 ||
    mediaType === dockerMediaTypes.signedManifestV1
  ) {
    throw invalid("manifests of schema 1 are not taken: push schema 2 or OCI");
  }
  try {
    const document = decodeFor(mediaType, bytes);
    if (mediaType !== undefined && isKnownType(mediaType) && document.mediaType !== mediaType) {
      throw invalid(`Content-Type is ${mediaType}, the manifest says ${document.mediaType}`);
    }
    return document;
  } catch (error) {
    if (!isKind(error, "invalid-argument") || "distributionCode" in error.details) throw error;
    throw refusal("MANIFEST_INVALID", { message: messageOf(error), cause: error });
  }
}

function decodeFor(mediaType: string | undefined, bytes: Uint8Array): Manifest | Index {
  if (mediaType === undefined || mediaType === "application/json") {
    return decodeManifestOrIndex(bytes, keptLimits);
  }
  if (isIndexType(mediaType)) return decodeIndex(bytes, keptLimits);
  if (isManifestType(mediaType)) return decodeManifest(bytes, keptLimits);
  throw invalid(
    `Content-Type ${JSON.stringify(mediaType.slice(0, 128))} is not that of a manifest`,
  );
}

function isKnownType(mediaType: string): boolean {
  return isIndexType(mediaType) || isManifestType(mediaType);
}

function digestOfIncoming({ name, bytes }: IncomingManifest): Digest {
  const digester = createDigester(name.kind === "digest" ? name.digest : undefined);
  digester.update(bytes);
  const digest = digester.digest();
  if (name.kind === "digest" && name.digest !== digest) {
    throw refusal("DIGEST_INVALID", { detail: { digest: name.digest, found: digest } });
  }
  return digest;
}

function recordOf(
  document: Manifest | Index,
  facts: { readonly sizeBytes: number; readonly nowMs: number },
): ManifestRecord {
  const { mediaType, subject } = document;
  const artifactType = isIndex(document)
    ? document.artifactType
    : (document.artifactType ?? document.config.mediaType);
  const children = isIndex(document) ? document.manifests : [];
  const parts = isIndex(document) ? [] : [document.config, ...document.layers];
  const named = [...parts, ...children.filter((child) => !isKnownType(child.mediaType))];
  // What has addresses of its own need not be here: Windows' base layers may not be.
  const blobs = named.filter(({ urls }) => urls === undefined || urls.length === 0);
  return {
    mediaType,
    sizeBytes: facts.sizeBytes,
    pushedMs: facts.nowMs,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(subject === undefined ? {} : { subject: subject.digest }),
    blobs: uniqueLinks(blobs),
    manifests: [
      ...new Set(children.filter((one) => isKnownType(one.mediaType)).map((one) => one.digest)),
    ],
  };
}

function uniqueLinks(descriptors: readonly Descriptor[]): readonly BlobLink[] {
  const links = new Map(
    descriptors.map(({ digest, size }) => [digest, { digest, sizeBytes: size }] as const),
  );
  return [...links.values()];
}

/** @throws MANIFEST_BLOB_UNKNOWN for what the repository lacks */
function checkLinks(repository: Repository | undefined, record: ManifestRecord): void {
  const missing = [
    ...record.blobs.map(({ digest }) => digest).filter((one) => !repository?.blobs.has(one)),
    ...record.manifests.filter((one) => !repository?.manifests.has(one)),
  ];
  if (missing.length > 0) {
    throw refusal("MANIFEST_BLOB_UNKNOWN", {
      message: `blob unknown to registry: ${missing[0]}`,
      detail: { digests: missing.slice(0, missingMax) },
    });
  }
  for (const { digest, sizeBytes } of record.blobs) {
    const has = repository?.blobs.get(digest)?.sizeBytes;
    if (has !== undefined && has !== sizeBytes) {
      throw invalid(`${digest} has ${has} bytes, the manifest says ${sizeBytes}`);
    }
  }
}

async function storeBytes(
  context: RegistryContext,
  blob: { readonly digest: Digest; readonly bytes: Uint8Array },
): Promise<void> {
  ingestCount += 1;
  await using ingest = await context.content.ingest({
    ref: `manifest-${ingestCount}`,
    expected: blob.digest,
  });
  await ingest.write(blob.bytes);
  await ingest.commit();
}

function invalid(message: string): Error {
  return refusal("MANIFEST_INVALID", { message });
}
