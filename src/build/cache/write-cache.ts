/** Writes what a build has made to caches elsewhere, and into its own images. */
import { EngineError, messageOf } from "../../lib/errors.ts";
import { Semaphore } from "../../lib/concurrency/semaphore.ts";
import {
  type CacheConfig,
  cacheConfigType,
  type CacheLayer,
  type CacheRecord,
  encodeCacheConfig,
} from "../../oci/cache-config.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { encodeIndex, encodeManifest, layersMax } from "../../oci/manifest.ts";
import { dockerMediaTypes, layerCompression, ociMediaTypes } from "../../oci/media-types.ts";
import type { PackedLayer } from "../../image/distribution/distribution-records.ts";
import { recordOfLayer } from "../export/archive.ts";
import type { CachePlace } from "../build-service.ts";
import type { VertexProgress } from "../progress/progress.ts";
import type { MadeLayer } from "../step.ts";
import { type CacheStore, openCacheStore } from "./cache-store.ts";
import type { BuildWork } from "../environment.ts";
import type { RemoteCacheOptions } from "./remote-caches.ts";

/** Layers that are packed and sent at once. */
const sendingMax = 4;

/** Layers by the content keys of their steps. */
export type KeyedLayers = ReadonlyMap<Digest, MadeLayer>;

/**
 * Writes a cache to a place.
 *
 * @returns what the client is told: the manifest's descriptor
 * @throws what the place says, unless its attribute `ignore-error` is true
 */
export async function writeCache(
  options: RemoteCacheOptions,
  use: BuildWork,
  wanted: { readonly place: CachePlace; readonly layers: KeyedLayers },
): Promise<Readonly<Record<string, string>>> {
  const { place, layers } = wanted;
  const name = place.type === "local" ? "client directory" : "registry";
  try {
    return await use.progress.during(`exporting cache to ${name}`, async (vertex) => {
      const storeOptions = { ...options, client: use.request.client, signal: use.signal };
      const store = await openCacheStore(storeOptions, place, "to");
      const id = "preparing build cache for export";
      vertex.status({ id, current: 0 });
      const descriptor = await new CacheWriter(options, use, { store, place, vertex }).write(
        layers,
      );
      vertex.status({ id, current: 0, isCompleted: true });
      return { "cache.manifest": JSON.stringify(descriptor) };
    });
  } catch (error) {
    if (place.attributes["ignore-error"] !== "true" || use.signal.aborted) throw error;
    options.logger.warn("write a build cache", { error: messageOf(error) });
    return {};
  }
}

/** The records of an image's own layers. */
export function inlineRecords(
  imageLayers: readonly { readonly chainId: Digest }[],
  layers: KeyedLayers,
): readonly CacheRecord[] {
  const numbers = new Map(imageLayers.map(({ chainId }, number) => [chainId, number]));
  return Array.from(layers).flatMap(([digest, { chainId, createdNs }]) => {
    const layer = numbers.get(chainId);
    return layer === undefined ? [] : [{ digest, layer, createdNs, inputs: [] }];
  });
}

class CacheWriter {
  readonly #options: RemoteCacheOptions;
  readonly #use: BuildWork;
  readonly #to: {
    readonly store: CacheStore;
    readonly place: CachePlace;
    readonly vertex: VertexProgress;
  };

  constructor(
    options: RemoteCacheOptions,
    use: BuildWork,
    to: {
      readonly store: CacheStore;
      readonly place: CachePlace;
      readonly vertex: VertexProgress;
    },
  ) {
    this.#options = options;
    this.#use = use;
    this.#to = to;
  }

  async write(layers: KeyedLayers): Promise<Descriptor> {
    const { store, vertex } = this.#to;
    const packed = await this.#sendLayers(layers);
    const config = encodeCacheConfig(this.#describe(layers, packed));
    const configDescriptor: Descriptor = {
      mediaType: cacheConfigType,
      digest: digestOf(config),
      size: config.length,
    };
    await store.push(configDescriptor, (offset) => new Blob([config.slice(offset)]).stream());
    const configId = `writing config ${configDescriptor.digest}`;
    vertex.status({ id: configId, current: config.length, isCompleted: true });
    const { id, ...document } = this.#document(configDescriptor, packed);
    const { mediaType, bytes } = document;
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await store.pushManifest(document);
    vertex.status({ id: `${id} ${descriptor.digest}`, current: 0, isCompleted: true });
    return descriptor;
  }

  /** Sends each layer once. @returns how it was packed, by chain ID */
  async #sendLayers(layers: KeyedLayers): Promise<ReadonlyMap<Digest, PackedLayer>> {
    const places = new Semaphore(sendingMax);
    const all = new Map(Array.from(layers.values(), (layer) => [layer.chainId, layer]));
    const sent = await Promise.allSettled(
      Array.from(all.values(), async (layer) => {
        const packed = await places.run(async () => await this.#sendLayer(layer));
        return [layer.chainId, packed] as const;
      }),
    );
    const packed = new Map<Digest, PackedLayer>();
    for (const each of sent) {
      if (each.status === "rejected") throw each.reason;
      packed.set(...each.value);
    }
    return packed;
  }

  async #sendLayer(layer: MadeLayer): Promise<PackedLayer> {
    const { store, vertex, place } = this.#to;
    const { images, content } = this.#options;
    const { signal, leaseId } = this.#use;
    if (signal.aborted) throw new EngineError("canceled", "context canceled");
    const packing = packingOf(place);
    const packed = await images.packLayer(recordOfLayer(layer), { packing, leaseId, signal });
    const { digest, sizeBytes: size, mediaType } = packed;
    const id = `writing layer ${digest}`;
    vertex.status({ id, current: 0, total: size });
    await store.push({ digest, size, mediaType }, (offset) => content.open(digest, { offset }));
    vertex.status({ id, current: size, total: size, isCompleted: true });
    return packed;
  }

  #describe(layers: KeyedLayers, packed: ReadonlyMap<Digest, PackedLayer>): CacheConfig {
    const { snapshots } = this.#options;
    const byChain = new Map(Array.from(layers.values(), (layer) => [layer.chainId, layer]));
    const numbers = new Map([...byChain.keys()].map((chainId, number) => [chainId, number]));
    const parentOf = (chainId: Digest): number | undefined => {
      const parent = snapshots.find(chainId)?.parent;
      return parent === undefined ? undefined : numbers.get(parent as Digest);
    };
    const described = Array.from(byChain.values(), ({ chainId, diffId }): CacheLayer => {
      const { digest = diffId, mediaType = "", sizeBytes = 0 } = packed.get(chainId) ?? {};
      const parent = parentOf(chainId);
      return {
        blob: digest,
        diffId,
        mediaType,
        sizeBytes,
        ...(parent === undefined ? {} : { parent }),
      };
    });
    const keys = [...layers.keys()];
    const records = Array.from(layers, ([digest, { chainId, createdNs }]): CacheRecord => {
      const parent = snapshots.find(chainId)?.parent;
      const below = keys.findIndex((key) => layers.get(key)?.chainId === parent);
      const layer = numbers.get(chainId) ?? 0;
      return { digest, layer, createdNs, inputs: below < 0 ? [] : [below] };
    });
    return { layers: described, records };
  }

  /** An image manifest, or (asked for, or too long for one) an index that names blobs. */
  #document(
    config: Descriptor,
    packed: ReadonlyMap<Digest, PackedLayer>,
  ): { readonly id: string; readonly mediaType: string; readonly bytes: Uint8Array } {
    const { attributes } = this.#to.place;
    const isOci = attributes["oci-mediatypes"] !== "false";
    const blobs = new Map<Digest, Descriptor>();
    for (const { digest, sizeBytes: size, mediaType } of packed.values()) {
      blobs.set(digest, { mediaType: isOci ? mediaType : dockerTypeOf(mediaType), digest, size });
    }
    const layers = [...blobs.values()];
    const isManifest = isOci && attributes["image-manifest"] !== "false";
    if (isManifest && layers.length <= layersMax) {
      const mediaType = ociMediaTypes.manifest;
      const bytes = encodeManifest({ schemaVersion: 2, mediaType, config, layers });
      return { id: "writing cache image manifest", mediaType, bytes };
    }
    const mediaType = isOci ? ociMediaTypes.index : dockerMediaTypes.manifestList;
    const bytes = encodeIndex({ schemaVersion: 2, mediaType, manifests: [...layers, config] });
    return { id: "writing cache manifest", mediaType, bytes };
  }
}

function packingOf({ attributes }: CachePlace): "gzip" | "zstd" | "uncompressed" {
  if (attributes["compression-level"] !== undefined) {
    throw new EngineError("not-implemented", "a cache's compression-level is not supported");
  }
  const compression = attributes["compression"] ?? "gzip";
  if (compression === "gzip" || compression === "zstd" || compression === "uncompressed") {
    return compression;
  }
  throw new EngineError("invalid-argument", `unsupported layer compression type: ${compression}`);
}

const dockerTypes = {
  none: dockerMediaTypes.layer,
  gzip: dockerMediaTypes.layerGzip,
  zstd: dockerMediaTypes.layerZstd,
} as const;

function dockerTypeOf(mediaType: string): string {
  return dockerTypes[layerCompression(mediaType) ?? "none"];
}
