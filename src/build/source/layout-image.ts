/** Images of OCI layouts that lie at a client's. */
import type { ContentStore } from "../../content/content-store.ts";
import { verifyBytes } from "../../content/verify.ts";
import type { LayerRecord } from "../../image/image-records.ts";
import type { ImageLayers, ImageService } from "../../image/image-service.ts";
import { layerRecord, planLayers, unpackStored } from "../../image/store-image.ts";
import { EngineError } from "../../lib/errors.ts";
import { readAll } from "../../lib/stream-limit.ts";
import type { Leases } from "../../metadata/leases.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { decodeImageConfig, imageConfigMaxBytes } from "../../oci/image-config.ts";
import {
  decodeManifestOrIndex,
  isIndex,
  type Manifest,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import { isImageConfigType, isLayerType } from "../../oci/media-types.ts";
import { choosePlatform, formatPlatform, type Platform } from "../../oci/platform.ts";
import type { Snapshotter } from "../../snapshot/snapshotter.ts";
import type { Unpacker } from "../../snapshot/unpack/unpack-client.ts";
import type { ClientContent } from "../build-service.ts";
import { fetchFromClient } from "../cache/cache-store.ts";

/** Indexes within indexes that are followed. */
const indexDepthMax = 3;

/** What such images are brought with. */
export interface LayoutOptions {
  readonly content: ContentStore;
  readonly snapshots: Snapshotter;
  readonly unpacker: Unpacker;
  readonly leases: Leases;
  /** Knows what may be built on. */
  readonly images: Pick<ImageService, "checkUse">;
}

/** Which image is meant. */
export interface LayoutImage {
  /** The folder of the client's. */
  readonly folder: Pick<ClientContent, "open">;
  /** `<folder>[:tag]@<digest>`: the client looks up tags itself. */
  readonly reference: string;
  readonly platform: Platform;
  /** Holds blobs and layers. */
  readonly leaseId: string;
  readonly signal: AbortSignal;
}

/**
 * Brings an image and unpacks its layers.
 *
 * @throws permission-denied where the policy refuses it, invalid-argument for a reference without a digest
 * and for what is no image, not-found for another platform, data-loss for blobs that are not what their names say
 */
export async function openLayoutImage(
  options: LayoutOptions,
  image: LayoutImage,
): Promise<ImageLayers> {
  const [, digestText] = /@(\w+:[0-9a-f]+)$/.exec(image.reference) ?? [];
  if (digestText === undefined) {
    throw new EngineError("invalid-argument", `oci-layout ${image.reference} has no digest`);
  }
  const { digest, manifest } = await findManifest(image, { digest: parseDigest(digestText) });
  const { config: configOf } = manifest;
  if (!isImageConfigType(configOf.mediaType) || configOf.size > imageConfigMaxBytes) {
    throw new EngineError("invalid-argument", `oci-layout ${image.reference}: it is no image`);
  }
  const { digest: id } = configOf;
  await options.images.checkUse({ action: "build", reference: id, id, manifestDigest: digest });
  await bring(options, image, configOf);
  const bytes = await options.content.read(configOf.digest, { sizeMaxBytes: imageConfigMaxBytes });
  const config = decodeImageConfig(bytes);
  const layers: LayerRecord[] = [];
  for (const layer of planLayers(manifest, config)) {
    if (!isLayerType(layer.descriptor.mediaType)) {
      throw new EngineError("invalid-argument", `${layer.digest} is no layer that can be unpacked`);
    }
    await bring(options, image, layer.descriptor);
    options.leases.add(image.leaseId, `snapshot:${layer.chainId}`);
    const sizeBytes = await unpackStored(options, { layer, signal: image.signal });
    layers.push(layerRecord(layer, sizeBytes));
  }
  const chainId = layers.at(-1)?.chainId;
  return {
    id: configOf.digest,
    config,
    layers,
    manifestDigest: digest,
    ...(chainId === undefined ? {} : { chainId }),
  };
}

async function bring(
  { content, leases }: LayoutOptions,
  { folder, leaseId }: LayoutImage,
  descriptor: Descriptor,
): Promise<void> {
  leases.add(leaseId, `content:${descriptor.digest}`);
  await fetchFromClient(content, folder, descriptor);
}

interface FoundManifest {
  readonly digest: Digest;
  readonly manifest: Manifest;
}

async function findManifest(
  image: LayoutImage,
  { digest, depth = 0 }: { readonly digest: Digest; readonly depth?: number },
): Promise<FoundManifest> {
  const limit = { sizeMaxBytes: manifestSizeMaxBytes, what: `manifest ${digest}` };
  const bytes = await readAll(image.folder.open(digest), limit);
  verifyBytes(bytes, { digest });
  const document = decodeManifestOrIndex(bytes);
  if (!isIndex(document)) return { digest, manifest: document };
  const platforms = document.manifests.map(
    ({ platform }) => platform ?? { os: "", architecture: "" },
  );
  const best = choosePlatform(image.platform, platforms);
  const chosen = best === undefined ? undefined : document.manifests[best];
  if (chosen === undefined || depth >= indexDepthMax) {
    throw new EngineError(
      "not-found",
      `no match for platform in manifest: ${formatPlatform(image.platform)}`,
    );
  }
  return await findManifest(image, { digest: chosen.digest, depth: depth + 1 });
}
