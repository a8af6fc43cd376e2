/** The parts that an image goes out in: its config, and layers of one packing. */
import type { LayerRecord } from "../../image/image-records.ts";
import type { LayerPacking } from "../../image/distribution/pack-layer.ts";
import { encodeInlineCache, inlineCacheField } from "../../oci/cache-config.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { ImageConfig } from "../../oci/image-config.ts";
import { layerCompression, ociMediaTypes } from "../../oci/media-types.ts";
import { choosePlatform, hostPlatform } from "../../oci/platform.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";
import { recordOfLayer } from "./archive.ts";
import { inlineRecords } from "../cache/write-cache.ts";
import { makeImageConfig } from "../graph/image-config.ts";
import type { BuiltLayer } from "../step.ts";
import type { ExportOptions, PlatformResult } from "./result.ts";

/** Config and layers of a result. */
export function draftOf(
  how: ExportOptions,
  { graph, result }: PlatformResult,
): { readonly config: ImageConfig; readonly layers: readonly BuiltLayer[] } {
  const { sourceDateEpoch: epochS } = how.request;
  const { layers } = result;
  const epoch = epochS === undefined ? {} : { epochS };
  const config = makeImageConfig(graph.draft, { layers, ...epoch });
  if (how.inlineLayers === undefined) return { config, layers };
  const records = inlineRecords(layers, how.inlineLayers);
  if (records.length === 0) return { config, layers };
  const withCache = { ...config, [inlineCacheField]: encodeInlineCache(records) };
  return { config: withCache, layers };
}

/** The image that this machine runs goes before the others. */
export function hostFirst(results: readonly PlatformResult[]): readonly PlatformResult[] {
  const best = choosePlatform(
    hostPlatform(),
    results.map(({ graph }) => graph.platform),
  );
  const first = best === undefined ? undefined : results[best];
  if (first === undefined) return results;
  return [first, ...results.filter((each) => each !== first)];
}

/** How layers are wanted. */
export interface Packing {
  readonly packing: LayerPacking;
  /** Also those of base images, which else stay as they came. */
  readonly isForced?: boolean;
}

const ociTypes = {
  none: ociMediaTypes.layer,
  gzip: ociMediaTypes.layerGzip,
  zstd: ociMediaTypes.layerZstd,
} as const;

/**
 * Has layers packed as they are wanted; blobs are held by the export's lease.
 *
 * Layers that were made here and are wanted as they are have no blob: `images.openLayer` reads either.
 */
export async function packLayers(
  how: ExportOptions,
  layers: readonly BuiltLayer[],
  wanted: Packing,
): Promise<readonly LayerRecord[]> {
  return await Promise.all(layers.map(async (layer) => await packOne(how, layer, wanted)));
}

async function packOne(
  { options, leaseId, signal }: ExportOptions,
  layer: BuiltLayer,
  { packing, isForced = false }: Packing,
): Promise<LayerRecord> {
  const record = recordOfLayer(layer);
  options.leases.add(leaseId, `content:${record.digest}`);
  const now = layerCompression(record.mediaType);
  if (now === undefined) return record;
  const target = packing === "uncompressed" ? "none" : packing;
  const stays = now === target || ("digest" in layer && now !== "none" && !isForced);
  if (stays) return { ...record, mediaType: ociTypes[now] };
  const { fromSnapshot: _, ...rest } = record;
  const { digest, sizeBytes } = await options.images.packLayer(record, {
    packing,
    leaseId,
    signal,
  });
  return { ...rest, digest, sizeBytes, mediaType: ociTypes[target] };
}

/** Names as clients are told of them: whole, and without a tag where nobody gave one. */
export function shownNames(names: readonly string[]): readonly string[] {
  return names.map((name) => formatReference(parseReference(name)));
}

/** What a client reads of an image: `--metadata-file`. */
export function metadataOf(made: {
  readonly config: Digest;
  readonly digest: Digest;
  /** As `shownNames` gives them. */
  readonly names: readonly string[];
  /** Of the manifest or index. */
  readonly descriptor?: Descriptor;
}): Readonly<Record<string, string>> {
  const { config, digest, names, descriptor } = made;
  const text = descriptor === undefined ? "" : JSON.stringify(descriptor);
  return {
    "containerimage.config.digest": config,
    "containerimage.digest": digest,
    ...(text === "" ? {} : { "containerimage.descriptor": Buffer.from(text).toString("base64") }),
    ...(names.length === 0 ? {} : { "image.name": names.join(",") }),
  };
}
