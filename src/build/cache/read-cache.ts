/** What a cache elsewhere offers: layers by the content keys of their steps. */
import {
  cacheConfigMaxBytes,
  cacheConfigType,
  type CacheRecord,
  decodeCacheConfig,
  decodeInlineCache,
} from "../../oci/cache-config.ts";
import type { ContentStore } from "../../content/content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { decodeImageConfig } from "../../oci/image-config.ts";
import { decodeManifestOrIndex, type Index, isIndex, type Manifest } from "../../oci/manifest.ts";
import { isImageConfigType, isLayerType, isManifestType } from "../../oci/media-types.ts";
import type { CacheStore } from "./cache-store.ts";

/** Images of one index whose own caches are read. */
const imagesMax = 32;

/** One layer that a cache has. */
export interface CachedLayer {
  readonly store: Pick<CacheStore, "fetch">;
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  readonly createdNs: string;
}

/** Layers by the keys of their steps. */
export type CachedLayers = ReadonlyMap<Digest, CachedLayer>;

/** Reads what a place offers; the layers stay where they are. */
export async function readCache(
  store: CacheStore,
  read: {
    readonly content: ContentStore;
    /** Holds a blob from now on. */
    readonly hold: (digest: Digest) => void;
    /** Told what kind of document the place has. */
    readonly onType?: (mediaType: string) => void;
  },
): Promise<CachedLayers> {
  const config = async (descriptor: Descriptor): Promise<Uint8Array> => {
    if (descriptor.size > 2 * cacheConfigMaxBytes) {
      throw new EngineError(
        "invalid-argument",
        `the config of ${descriptor.size} bytes is too large for a cache`,
      );
    }
    read.hold(descriptor.digest);
    await store.fetch(descriptor);
    return await read.content.read(descriptor.digest, { sizeMaxBytes: 2 * cacheConfigMaxBytes });
  };
  const document = decodeManifestOrIndex(await store.readManifest());
  read.onType?.(document.mediaType);
  if (!isIndex(document)) return await ofManifest(store, document, config);
  const cache = document.manifests.find(({ mediaType }) => mediaType === cacheConfigType);
  if (cache !== undefined) return ofCache(store, document.manifests, await config(cache));
  return await ofImages(store, document, config);
}

type ReadConfig = (descriptor: Descriptor) => Promise<Uint8Array>;

async function ofManifest(
  store: CacheStore,
  manifest: Manifest,
  readConfig: ReadConfig,
): Promise<CachedLayers> {
  const { mediaType } = manifest.config;
  if (mediaType === cacheConfigType) {
    return ofCache(store, manifest.layers, await readConfig(manifest.config));
  }
  if (!isImageConfigType(mediaType)) return new Map();
  const bytes = await readConfig(manifest.config);
  const records = decodeInlineCache(bytes) ?? [];
  const diffIds = decodeImageConfig(bytes).rootfs.diff_ids;
  return layersOf(store, records, (number) => {
    const [descriptor, diffId] = [manifest.layers[number], diffIds[number]];
    return descriptor === undefined || diffId === undefined ? undefined : { descriptor, diffId };
  });
}

/** An index of images: each of them may have a cache of its own. */
async function ofImages(
  store: CacheStore,
  index: Index,
  readConfig: ReadConfig,
): Promise<CachedLayers> {
  const found = new Map<Digest, CachedLayer>();
  const images = index.manifests.filter(
    ({ mediaType, platform }) => isManifestType(mediaType) && platform?.os !== "unknown",
  );
  for (const { digest } of images.slice(0, imagesMax)) {
    const document = decodeManifestOrIndex(await store.readDocument(digest));
    if (isIndex(document)) continue;
    const layers = await ofManifest(store, document, readConfig);
    for (const [key, layer] of layers) found.set(key, layer);
  }
  return found;
}

function ofCache(
  store: CacheStore,
  entries: readonly Descriptor[],
  config: Uint8Array,
): CachedLayers {
  const { layers, records } = decodeCacheConfig(config);
  const descriptors = new Map(entries.map((entry) => [entry.digest, entry]));
  return layersOf(store, records, (number) => {
    const layer = layers[number];
    const descriptor = layer === undefined ? undefined : descriptors.get(layer.blob);
    return layer === undefined || descriptor === undefined
      ? undefined
      : { descriptor, diffId: layer.diffId };
  });
}

function layersOf(
  store: CacheStore,
  records: readonly CacheRecord[],
  find: (
    number: number,
  ) => { readonly descriptor: Descriptor; readonly diffId: Digest } | undefined,
): CachedLayers {
  const found = new Map<Digest, CachedLayer>();
  for (const { digest, layer, createdNs } of records) {
    const one = find(layer);
    if (one === undefined || !isLayerType(one.descriptor.mediaType)) continue;
    found.set(digest, { ...one, store, createdNs });
  }
  return found;
}
