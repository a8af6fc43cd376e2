/**
 * Build caches in registries: results of steps that another machine has made.
 *
 * A cache is a manifest whose config has the keys of steps and whose layers are their results; or it
 * is an image whose own config has the keys of its own layers. Only what a build comes to want is
 * fetched.
 */
import { EngineError, isKind, messageOf } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import {
  type CacheConfig,
  cacheConfigMaxBytes,
  cacheConfigType,
  type CacheLayer,
  decodeCacheConfig,
  decodeInlineCache,
  encodeCacheConfig,
} from "../oci/cache-config.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { decodeImageConfig } from "../oci/image-config.ts";
import { decodeManifest, encodeManifest } from "../oci/manifest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import {
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../oci/reference.ts";
import type { RegistryCall } from "../remote/registry-client.ts";
import type { BuildRequest, CachePlace } from "./build-service.ts";
import type { BuildServiceOptions } from "./environment.ts";
import { recordOfLayer } from "./archive.ts";
import type { Progress } from "./progress.ts";
import { chainIdOf, type MadeLayer, type StepResult } from "./step.ts";

/** What works with caches elsewhere. */
export type RemoteCacheOptions = Pick<
  BuildServiceOptions,
  "registry" | "content" | "snapshots" | "images" | "leases" | "logger" | "unpacker"
>;

interface Place {
  readonly reference: Reference;
  readonly config: CacheConfig;
  /** Of a blob, as the manifest has it. */
  readonly descriptors: ReadonlyMap<Digest, Descriptor>;
  readonly call: RegistryCall;
}

/** How caches are reached in one build. */
export interface RemoteCacheUse {
  readonly request: BuildRequest;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Holds what is fetched. */
  readonly leaseId: string;
}

/** Caches that a build may take from. */
export class RemoteCaches {
  readonly #options: RemoteCacheOptions;
  readonly #use: RemoteCacheUse;
  readonly #places: Place[] = [];

  constructor(options: RemoteCacheOptions, use: RemoteCacheUse) {
    this.#options = options;
    this.#use = use;
  }

  /** Reads what the places know. One that cannot be read is told, and left out. */
  async open(): Promise<void> {
    await Promise.all(this.#use.request.cacheFrom.map(async (place) => await this.#open(place)));
  }

  /** The layer of a step, brought here; undefined when no place has it. */
  async find(key: Digest, below: StepResult): Promise<MadeLayer | undefined> {
    for (const place of this.#places) {
      const layer = place.config.get(key);
      const descriptor = layer === undefined ? undefined : place.descriptors.get(layer.blob);
      if (layer === undefined || descriptor === undefined) continue;
      try {
        return await this.#bring(place, { layer, descriptor, below });
      } catch (error) {
        if (this.#use.signal.aborted) throw error;
        this.#options.logger.warn("take a step from a cache", { key, error });
      }
    }
    return undefined;
  }

  async #open(place: CachePlace): Promise<void> {
    const text = place.attributes["ref"] ?? "";
    if (place.type === "local" || text === "") {
      this.#options.logger.warn("a cache of this type is not read", { type: place.type });
      return;
    }
    const { progress } = this.#use;
    try {
      await progress.during(`importing cache manifest from ${text}`, async () => {
        this.#places.push(await this.#read(withDefaultTag(parseReference(text))));
      });
    } catch (error) {
      if (this.#use.signal.aborted) throw error;
      this.#options.logger.debug("read a cache", { reference: text, reason: messageOf(error) });
    }
  }

  async #read(reference: Reference): Promise<Place> {
    const { registry } = this.#options;
    const call = await callOf(this.#use, reference);
    const fetched = await registry.fetchManifest(reference, call);
    const manifest = decodeManifest(fetched.bytes);
    const bytes = await this.#document(reference, { descriptor: manifest.config, call });
    const isCache = manifest.config.mediaType === cacheConfigType;
    const config = isCache ? decodeCacheConfig(bytes) : decodeInlineCache(bytes);
    if (config === undefined) {
      throw new EngineError("not-found", `${formatReference(reference)} has no cache in it`);
    }
    const blobs = [...config.values()].map(({ blob }) => blob);
    // An image packs its layers: they are told by their place, bottom first.
    const diffIds = isCache ? [] : inlineDiffIds(bytes);
    const descriptors = new Map<Digest, Descriptor>();
    for (const [index, descriptor] of manifest.layers.entries()) {
      const diffId = diffIds[index];
      descriptors.set(diffId ?? descriptor.digest, descriptor);
    }
    return { reference, config, descriptors: pick(descriptors, blobs), call };
  }

  async #document(
    reference: Reference,
    wanted: { readonly descriptor: Descriptor; readonly call: RegistryCall },
  ): Promise<Uint8Array> {
    const { registry, content, leases } = this.#options;
    leases.add(this.#use.leaseId, `content:${wanted.descriptor.digest}`);
    await registry.fetchBlob(reference, {
      ...wanted.call,
      descriptor: wanted.descriptor,
      content,
    });
    return await content.read(wanted.descriptor.digest, { sizeMaxBytes: cacheConfigMaxBytes });
  }

  async #bring(
    place: Place,
    wanted: {
      readonly layer: CacheLayer;
      readonly descriptor: Descriptor;
      readonly below: StepResult;
    },
  ): Promise<MadeLayer> {
    const { registry, content, snapshots, leases } = this.#options;
    const { layer, descriptor, below } = wanted;
    const parent = chainIdOf(below);
    const { diffId } = layer;
    const chainId = parent === undefined ? diffId : digestOf(`${parent} ${diffId}`);
    const { blob: _, ...sizes } = layer;
    const made: MadeLayer = { ...sizes, chainId };
    leases.add(this.#use.leaseId, `snapshot:${chainId}`);
    if (snapshots.find(chainId) !== undefined) return made;
    leases.add(this.#use.leaseId, `content:${descriptor.digest}`);
    const blob = await registry.fetchBlob(place.reference, { ...place.call, descriptor, content });
    const key = `build-${createId()}`;
    const mount = await snapshots.prepare(key, parent === undefined ? {} : { parent });
    try {
      const unpacked = await this.#options.unpacker.unpack(
        {
          blobPath: blob.path,
          targetDir: mount.upperDir ?? mount.source ?? "",
          parentDirs: mount.lowerDirs ?? [],
          whiteouts:
            mount.type === "overlay" || snapshots.driverName === "overlay2" ? "overlay" : "remove",
          expectedDiffId: diffId,
        },
        { signal: this.#use.signal },
      );
      const { sizeBytes } = unpacked;
      await snapshots.commit(key, { name: chainId, sizeBytes, durable: false });
      return made;
    } catch (error) {
      await snapshots.remove(key);
      // Somebody else has brought the same.
      if (isKind(error, "already-exists")) return made;
      throw error;
    }
  }
}

function pick(
  descriptors: ReadonlyMap<Digest, Descriptor>,
  wanted: readonly Digest[],
): ReadonlyMap<Digest, Descriptor> {
  const found = new Map<Digest, Descriptor>();
  for (const digest of wanted) {
    const descriptor = descriptors.get(digest);
    if (descriptor !== undefined) found.set(digest, descriptor);
  }
  return found;
}

function inlineDiffIds(imageConfig: Uint8Array): readonly Digest[] {
  return decodeImageConfig(imageConfig).rootfs.diff_ids;
}

/** Sends a cache to a registry. @throws what the registry says */
export async function pushCache(
  options: RemoteCacheOptions,
  use: RemoteCacheUse,
  wanted: { readonly place: CachePlace; readonly layers: ReadonlyMap<Digest, MadeLayer> },
): Promise<void> {
  const { registry, images } = options;
  const text = wanted.place.attributes["ref"] ?? "";
  if (text === "") throw new EngineError("invalid-argument", "ref is required to export a cache");
  const reference = withDefaultTag(parseReference(text));
  const call = await callOf(use, reference);
  await use.progress.during("exporting cache to registry", async (vertex) => {
    vertex.status({ id: "preparing build cache for export", current: 0, isCompleted: true });
    const descriptors = new Map<Digest, Descriptor>();
    for (const layer of wanted.layers.values()) {
      const record = recordOfLayer(layer);
      const { digest, sizeBytes: size, mediaType } = record;
      if (descriptors.has(digest)) continue;
      const descriptor = { mediaType, digest, size };
      descriptors.set(digest, descriptor);
      await registry.pushBlob(reference, {
        ...call,
        descriptor,
        open: (offset) => skip(images.openLayer(record, { signal: use.signal }), offset),
      });
      vertex.status({
        id: `writing layer ${digest}`,
        current: size,
        total: size,
        isCompleted: true,
      });
    }
    const config = encodeCacheConfig(cacheOf(wanted.layers));
    const configDescriptor: Descriptor = {
      mediaType: cacheConfigType,
      digest: digestOf(config),
      size: config.length,
    };
    await registry.pushBlob(reference, {
      ...call,
      descriptor: configDescriptor,
      open: (offset) => new Blob([config.slice(offset)]).stream(),
    });
    vertex.status({
      id: `writing config ${configDescriptor.digest}`,
      current: 0,
      isCompleted: true,
    });
    const bytes = encodeManifest({
      schemaVersion: 2,
      mediaType: ociMediaTypes.manifest,
      config: configDescriptor,
      layers: [...descriptors.values()],
    });
    await registry.pushManifest(reference, {
      ...call,
      mediaType: ociMediaTypes.manifest,
      bytes,
    });
    const id = `writing cache manifest ${digestOf(bytes)}`;
    vertex.status({ id, current: 0, isCompleted: true });
  });
}

/** The document of layers by the keys of their steps. */
export function cacheOf(layers: ReadonlyMap<Digest, MadeLayer>): CacheConfig {
  return new Map(
    Array.from(layers, ([key, layer]) => {
      const { diffId, tarSizeBytes, sizeBytes, createdNs, epochS } = layer;
      const epoch = epochS === undefined ? {} : { epochS };
      return [key, { blob: diffId, diffId, tarSizeBytes, sizeBytes, createdNs, ...epoch }];
    }),
  );
}

async function callOf(use: RemoteCacheUse, reference: Reference): Promise<RegistryCall> {
  const credentials = await use.request.client.credentials(reference.domain);
  return { signal: use.signal, ...(credentials === undefined ? {} : { credentials }) };
}

function skip(stream: ReadableStream<Uint8Array>, offset: number): ReadableStream<Uint8Array> {
  let leftBytes = offset;
  if (leftBytes === 0) return stream;
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        const rest = chunk.subarray(Math.min(leftBytes, chunk.length));
        leftBytes -= chunk.length - rest.length;
        if (rest.length > 0) controller.enqueue(rest);
      },
    }),
  );
}
