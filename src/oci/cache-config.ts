/**
 * What a build cache in a registry knows: layers, and the keys of steps that made them.
 *
 * @see BuildKit, cache/remotecache/v1/doc.go; keys are the engine's own
 */
import { decodeDocument, encodeDocument, type Fields } from "./_json.ts";
import { type Digest, isDigest } from "./digest.ts";

/** Media type of the config of a manifest that is a cache and no image. */
export const cacheConfigType = "application/vnd.buildkit.cacheconfig.v0";
/** Field of an image config that has the cache of the image's own layers, as base64. */
export const inlineCacheField = "moby.buildkit.cache.v0";
/** Largest document. */
export const cacheConfigMaxBytes: number = 16 * 1024 * 1024;

/** One layer of a cache. */
export interface CacheLayer {
  /** Of the blob as it is stored; in an image's own cache the diff ID. */
  readonly blob: Digest;
  readonly diffId: Digest;
  /** Of the layer's tar and of its files. */
  readonly tarSizeBytes: number;
  readonly sizeBytes: number;
  /** Nanoseconds since 1970 as digits. */
  readonly createdNs: string;
  readonly epochS?: number;
}

/** The layers of a cache by the content keys of their steps. */
export type CacheConfig = ReadonlyMap<Digest, CacheLayer>;

/** Encodes a cache. */
export function encodeCacheConfig(config: CacheConfig): Uint8Array {
  const layers = [...config.values()];
  return encodeDocument({
    layers: layers.map(({ blob, diffId, ...layer }) => ({
      blob,
      parent: -1,
      annotations: {
        "containerd.io/uncompressed": diffId,
        "tug.tar-size": String(layer.tarSizeBytes),
        "tug.size": String(layer.sizeBytes),
        "tug.created": layer.createdNs,
        ...(layer.epochS === undefined ? {} : { "tug.epoch": String(layer.epochS) }),
      },
    })),
    records: [...config.keys()].map((digest, layer) => ({ digest, layers: [{ layer }] })),
  });
}

/** Decodes a cache; records that are not the engine's own are left out. @throws invalid-argument */
export function decodeCacheConfig(bytes: Uint8Array): CacheConfig {
  const fields = decodeDocument(bytes, {
    sizeMaxBytes: cacheConfigMaxBytes,
    what: "cache config",
  });
  const layers = (fields.objects("layers") ?? []).map(decodeLayer);
  const config = new Map<Digest, CacheLayer>();
  for (const record of fields.objects("records") ?? []) {
    const digest = record.text("digest") ?? "";
    const [first] = record.objects("layers") ?? [];
    const layer = layers[first?.integer("layer") ?? -1];
    if (isDigest(digest) && layer !== undefined) config.set(digest, layer);
  }
  return config;
}

/** The cache that an image's config has; undefined for one without. @throws invalid-argument */
export function decodeInlineCache(imageConfig: Uint8Array): CacheConfig | undefined {
  const fields = decodeDocument(imageConfig, {
    sizeMaxBytes: cacheConfigMaxBytes,
    what: "image config",
  });
  const text = fields.text(inlineCacheField);
  return text === undefined ? undefined : decodeCacheConfig(Buffer.from(text, "base64"));
}

function decodeLayer(fields: Fields): CacheLayer | undefined {
  const annotations = fields.textMap("annotations") ?? {};
  const blob = fields.text("blob") ?? "";
  const diffId = annotations["containerd.io/uncompressed"] ?? "";
  const number = (key: string): number | undefined => {
    const text = annotations[key] ?? "";
    return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  };
  const [tarSizeBytes, sizeBytes] = [number("tug.tar-size"), number("tug.size")];
  const createdNs = annotations["tug.created"] ?? "";
  const epochS = number("tug.epoch");
  const isOwn =
    isDigest(blob) &&
    isDigest(diffId) &&
    tarSizeBytes !== undefined &&
    sizeBytes !== undefined &&
    /^\d{1,20}$/.test(createdNs);
  if (!isOwn) return undefined;
  return {
    blob,
    diffId,
    tarSizeBytes,
    sizeBytes,
    createdNs,
    ...(epochS === undefined ? {} : { epochS }),
  };
}
