/**
 * Build caches elsewhere: results of steps that another machine has made.
 *
 * 1. When a build begins, each place that it names tells the keys that it knows (`read-cache.ts`). A
 *    place that cannot be read is shown as such, and left out.
 * 2. A step that is not in the cache here is looked for there; its layer is brought and unpacked on
 *    what the step stands on (`restore-layer.ts`). Layers that no step wants stay where they are.
 *
 * A cache is believed in one thing: that a key's step comes to a layer. Whatever else is wrong with
 * it — a missing blob, other bytes, an archive that is none — makes the step run.
 */
import { isKind, messageOf } from "../../lib/errors.ts";
import { Semaphore } from "../../lib/concurrency/semaphore.ts";
import { decodeInlineCache } from "../../oci/cache-config.ts";
import type { Digest } from "../../oci/digest.ts";
import { imageConfigMaxBytes } from "../../oci/image-config.ts";
import type { CachePlace } from "../build-service.ts";
import type { BuildServiceOptions, BuildWork } from "../environment.ts";
import type { VertexProgress } from "../progress/progress.ts";
import { chainIdOf, type MadeLayer, type StepResult } from "../step.ts";
import { openCacheStore } from "./cache-store.ts";
import { type CachedLayer, type CachedLayers, readCache } from "./read-cache.ts";
import { restoreLayer } from "./restore-layer.ts";

/** Places that are asked at once. */
const readingMax = 8;

/** What works with caches elsewhere. */
export type RemoteCacheOptions = Pick<
  BuildServiceOptions,
  "registry" | "content" | "snapshots" | "images" | "leases" | "logger" | "unpacker" | "hasher"
>;

/** A layer that is looked for. */
export interface WantedLayer {
  /** What the step stands on. */
  readonly below: StepResult;
  /** Holds what is brought. */
  readonly leaseId: string;
  readonly vertex: VertexProgress;
  /** Fires when nobody waits for the step any more. */
  readonly signal: AbortSignal;
}

/** Caches that a build may take from. */
export class RemoteCaches {
  readonly #options: RemoteCacheOptions;
  readonly #use: BuildWork;
  /** In the order in which the build names them. */
  #places: readonly CachedLayers[] = [];

  constructor(options: RemoteCacheOptions, use: BuildWork) {
    this.#options = options;
    this.#use = use;
  }

  /** Asks all places what they know. @throws canceled, and nothing else */
  async open(): Promise<void> {
    const { cacheFrom } = this.#use.request;
    const places = new Semaphore(readingMax);
    const read = await Promise.all(
      cacheFrom.map(async (place) => await places.run(async () => await this.#read(place))),
    );
    this.#places = read.flat();
  }

  /** The layer of a step, brought here; undefined when no place has it. @throws canceled */
  async find(key: Digest, wanted: WantedLayer): Promise<MadeLayer | undefined> {
    for (const place of this.#places) {
      const cached = place.get(key);
      if (cached === undefined) continue;
      try {
        return await this.#restore(cached, wanted);
      } catch (error) {
        if (wanted.signal.aborted) throw error;
        const { digest } = cached.descriptor;
        this.#options.logger.warn("a step runs that a cache has", { key, digest, error });
      }
    }
    return undefined;
  }

  async #restore(cached: CachedLayer, wanted: WantedLayer): Promise<MadeLayer> {
    const { leases } = this.#options;
    const { below, leaseId, vertex, signal } = wanted;
    const { sourceDateEpoch: epochS } = this.#use.request;
    const { store, descriptor, diffId, createdNs } = cached;
    const { digest: id, size: total } = descriptor;
    return await restoreLayer(this.#options, {
      below: chainIdOf(below),
      diffId,
      createdNs,
      ...(epochS === undefined ? {} : { epochS }),
      fetch: async () => {
        leases.add(leaseId, `content:${id}`);
        vertex.status({ id, current: 0, total });
        const blob = await store.fetch(descriptor);
        vertex.status({ id, current: total, total, isCompleted: true });
        return blob;
      },
      leaseId,
      signal,
    });
  }

  async #read(place: CachePlace): Promise<readonly CachedLayers[]> {
    const { progress, request, signal, leaseId } = this.#use;
    const { content, leases } = this.#options;
    const name = place.attributes["ref"] ?? `local:${place.attributes["src"] ?? ""}`;
    const found: CachedLayers[] = [];
    try {
      const own = await this.#readOwn(place);
      if (own !== undefined) found.push(own);
      if (place.isLocalOnly === true) return found;
      await progress.during(`importing cache manifest from ${name}`, async (vertex) => {
        const options = { ...this.#options, client: request.client, signal };
        const store = await openCacheStore(options, place, "from");
        const hold = (digest: Digest): void => leases.add(leaseId, `content:${digest}`);
        const onType = (mediaType: string): void => {
          const id = `inferred cache manifest type: ${mediaType}`;
          vertex.status({ id, current: 0, isCompleted: true });
        };
        found.push(await readCache(store, { content, hold, onType }));
      });
    } catch (error) {
      if (signal.aborted) throw error;
      this.#options.logger.debug("read a cache", { name, reason: messageOf(error) });
    }
    return found;
  }

  /** The cache of an image that is here under the place's name, as its own config tells it. */
  async #readOwn(place: CachePlace): Promise<CachedLayers | undefined> {
    const { images, content } = this.#options;
    const { ref } = place.attributes;
    if (place.type === "local" || ref === undefined || ref === "") return undefined;
    try {
      const { id, layers } = await images.layersOf(ref);
      const bytes = await content.read(id, { sizeMaxBytes: imageConfigMaxBytes });
      const found = new Map<Digest, CachedLayer>();
      for (const { digest: key, layer: number, createdNs } of decodeInlineCache(bytes) ?? []) {
        const layer = layers[number];
        if (layer === undefined) continue;
        const { diffId, digest, sizeBytes: size, mediaType } = layer;
        const descriptor = { digest, size, mediaType };
        const store = { fetch: async () => await Promise.resolve(content.get(digest)) };
        found.set(key, { store, descriptor, diffId, createdNs });
      }
      return found;
    } catch (error) {
      if (isKind(error, "not-found", "invalid-argument", "conflict")) return undefined;
      throw error;
    }
  }
}
