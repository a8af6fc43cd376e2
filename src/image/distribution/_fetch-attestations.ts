/**
 * Brings what an index names beside an image: its attestations. With them the index is whole, and
 * can be pushed as it came.
 */
import { blobHolder } from "../hold-image.ts";
import { verifyBytes } from "../../content/verify.ts";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { attestedImage } from "../../oci/attestation.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  decodeIndex,
  decodeManifest,
  type Manifest,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import { isIndexType, isManifestType } from "../../oci/media-types.ts";
import { type Reference, withDigest } from "../../oci/reference.ts";
import type { RegistryCall, RegistryClient } from "../../remote/registry-client.ts";
import { syncFileSystemAsync } from "../../sys/fs/fs.ts";
import type { ImageContext } from "../context.ts";
import type { ChosenManifest } from "./choose-manifest.ts";

/** Attestations of one image, and bytes of the blobs of each: what has more is left in the registry. */
const attestationsMax = 4;
const blobsMaxBytes = 32 * 1024 * 1024;

/** What to fetch. */
export interface AttestationFetch extends RegistryCall {
  readonly registry: RegistryClient;
  readonly reference: Reference;
  readonly chosen: ChosenManifest;
  readonly leaseId: string;
}

/**
 * Fetches the attestations of the image that was chosen. What does not come, also because of the
 * signal, is done without: an image is no less for it.
 *
 * @returns the digests of all that they are made of, held by the lease and on the disk
 */
export async function fetchAttestations(
  context: ImageContext,
  fetch: AttestationFetch,
): Promise<readonly Digest[]> {
  const { content, logger } = context;
  const digests: Digest[] = [];
  for (const descriptor of attestationsOf(fetch.chosen)) {
    if (fetch.signal?.aborted === true) break;
    try {
      digests.push(...(await fetchOne(context, { ...fetch, descriptor })));
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      const { digest } = descriptor;
      logger.info("an attestation did not come", { digest, error: messageOf(error) });
    }
  }
  // What a record names must be there after a power cut.
  if (digests.length > 0) await syncFileSystemAsync(content.root);
  return digests;
}

/** The entries of the index that say something of the image. */
function attestationsOf({ target, digest, documents }: ChosenManifest): readonly Descriptor[] {
  const [index] = documents;
  if (index === undefined || !isIndexType(target.mediaType) || documents.length !== 2) return [];
  return decodeIndex(index.bytes)
    .manifests.filter(
      (descriptor) => isManifestType(descriptor.mediaType) && attestedImage(descriptor) === digest,
    )
    .slice(0, attestationsMax);
}

async function fetchOne(
  context: ImageContext,
  fetch: AttestationFetch & { readonly descriptor: Descriptor },
): Promise<readonly Digest[]> {
  const { content } = context;
  const { registry, reference, descriptor, leaseId, credentials, signal } = fetch;
  const call = {
    ...(credentials === undefined ? {} : { credentials }),
    ...(signal === undefined ? {} : { signal }),
  };
  const hold = blobHolder(context, leaseId);
  const named = descriptor.digest;
  hold(named);
  const bytes =
    content.find(named) === undefined
      ? (await registry.fetchManifest(withDigest(reference, named), call)).bytes
      : await content.read(named, { sizeMaxBytes: manifestSizeMaxBytes });
  verifyBytes(bytes, { digest: named });
  const blobs = blobsOf(decodeManifest(bytes));
  for (const { digest } of blobs) hold(digest);
  for (const blob of blobs) {
    await registry.fetchBlob(reference, { ...call, descriptor: blob, content });
  }
  await content.put(bytes, { durable: false });
  return [named, ...blobs.map(({ digest }) => digest)];
}

/** @throws invalid-argument when they are too large */
function blobsOf({ config, layers }: Manifest): readonly Descriptor[] {
  const blobs = [config, ...layers];
  const sizeBytes = blobs.reduce((sum, { size }) => sum + size, 0);
  if (sizeBytes <= blobsMaxBytes) return blobs;
  throw new EngineError(
    "invalid-argument",
    `the attestation has ${sizeBytes} bytes: at most ${blobsMaxBytes} are fetched`,
  );
}
