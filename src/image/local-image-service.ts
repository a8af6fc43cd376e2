/**
 * The images of one data root: records in metadata, blobs in the content store, layers as snapshots.
 */
import { isKind } from "../lib/errors.ts";
import type { Digest } from "../oci/digest.ts";
import type { Platform } from "../oci/platform.ts";
import type {
  HistoryResponseItem,
  ImageDeleteResponseItem,
  ImageInspect,
  ImageSummary,
} from "../api/image.ts";
import type { Credentials, RegistryCall, SearchHit } from "../remote/registry-client.ts";
import { createIndex } from "./lifecycle/create-index.ts";
import { collectGarbage } from "./lifecycle/collect-garbage.ts";
import { commitImage } from "./lifecycle/commit-image.ts";
import { createImage } from "./lifecycle/create-image.ts";
import { DistributionRecords, type PackedLayer } from "./distribution/distribution-records.ts";
import type { ImageContext, ImageServiceOptions } from "./context.ts";
import { ImageIndex } from "./image-index.ts";
import { type LayerRecord, openImageTables } from "./image-records.ts";
import { openLayer, openLayerTar } from "./layer-source.ts";
import type {
  CommitDraft,
  CreatedImage,
  FilterMap,
  ForeseenPush,
  ImageDraft,
  ImageLayers,
  ImageService,
  ImageUsers,
  ImportOptions,
  IndexDraft,
  Progress,
  PullOptions,
  PushOptions,
  ResolveOptions,
  ResolvedImage,
} from "./image-service.ts";
import { checkUse, type FoundImageUse } from "./check-use.ts";
import { importImage } from "./archive/import-image.ts";
import { listImages, type ListOptions } from "./status/list-images.ts";
import { loadImages } from "./archive/load-images.ts";
import { openUrl } from "./archive/open-url.ts";
import { type LayerPacking, storePackedLayer } from "./distribution/pack-layer.ts";
import { pullAllTags, pullImage } from "./distribution/pull.ts";
import { type ForeseeOptions, foreseePush } from "./distribution/foresee-push.ts";
import { pushImages } from "./distribution/push.ts";
import {
  describeDistribution,
  type DistributionDescription,
  logIn,
  searchImages,
} from "./distribution/registry-queries.ts";
import { dropDamaged } from "./lifecycle/drop-damaged.ts";
import { pruneImages } from "./lifecycle/prune-images.ts";
import { removeImage } from "./lifecycle/remove-image.ts";
import { saveImages } from "./archive/save-images.ts";
import { describeManifests } from "./status/manifest-summaries.ts";
import { describeHistory, describeImage } from "./status/describe-image.ts";
import { publishImageEvent } from "./publish-event.ts";

const nobody: ImageUsers = { containersOf: () => [] };

/** An image service that has yet to learn who uses images. */
export interface OpenedImageService extends ImageService {
  useUsers(users: ImageUsers): void;
  /** `make` makes the image of a name that is not bound, when it knows how; it tells whether. */
  useMaker(make: (reference: string) => Promise<boolean>): void;
}

/** Opens the images of a data root. */
export function openImageService(options: ImageServiceOptions): OpenedImageService {
  return new LocalImageService(options);
}

class LocalImageService implements OpenedImageService {
  readonly #context: ImageContext;
  #users: ImageUsers = nobody;
  #make: ((reference: string) => Promise<boolean>) | undefined;
  #collecting: Promise<number> | undefined;
  #nextCollection: Promise<number> | undefined;
  /** Leases of what ended while the collection runs. */
  readonly #released = new Set<string>();

  constructor(options: ImageServiceOptions) {
    const index = new ImageIndex(openImageTables(options.metadata), options.content);
    this.#context = {
      ...options,
      index,
      distribution: new DistributionRecords(options.metadata),
      users: () => this.#users,
      making: (work) => this.#making(work),
      collect: () => this.#collect(),
    };
  }

  useUsers(users: ImageUsers): void {
    this.#users = users;
  }

  useMaker(make: (reference: string) => Promise<boolean>): void {
    this.#make = make;
  }

  get count(): number {
    return this.#context.index.list().length;
  }

  get layersSizeBytes(): number {
    const layers = this.#context.index.list().flatMap((record) => record.layers);
    const sizes = new Map(layers.map((layer) => [layer.chainId, layer.unpackedSizeBytes]));
    return [...sizes.values()].reduce((sum, sizeBytes) => sum + sizeBytes, 0);
  }

  async resolve(reference: string, options: ResolveOptions = {}): Promise<ResolvedImage> {
    const image = await this.#resolve(reference, options);
    const { use } = options;
    if (use !== undefined) await checkUse(this.#context, { action: use, reference, id: image.id });
    return image;
  }

  async checkUse(use: FoundImageUse): Promise<void> {
    await checkUse(this.#context, use);
  }

  async #resolve(reference: string, options: ResolveOptions): Promise<ResolvedImage> {
    const { index } = this.#context;
    try {
      return await index.resolve(reference, options);
    } catch (error) {
      if (!isKind(error, "not-found") || (await this.#make?.(reference)) !== true) throw error;
      return await index.resolve(reference, options);
    }
  }

  isCalled(reference: string, id: string): boolean {
    return this.#context.index.isCalled(reference, id);
  }

  async list(options: ListOptions): Promise<readonly ImageSummary[]> {
    return await listImages(this.#context, options);
  }

  async inspect(
    reference: string,
    options: { readonly platform?: Platform; readonly manifests?: boolean } = {},
  ): Promise<ImageInspect> {
    const { id } = await this.#resolve(reference, options);
    const context = this.#context;
    const described = await describeImage(context, options.platform === undefined ? reference : id);
    if (options.manifests !== true) return described;
    return { ...described, Manifests: await describeManifests(context, context.index.getById(id)) };
  }

  async history(
    reference: string,
    options: { readonly platform?: Platform } = {},
  ): Promise<readonly HistoryResponseItem[]> {
    const { platform } = options;
    const id = platform === undefined ? reference : (await this.#resolve(reference, options)).id;
    return await describeHistory(this.#context, id);
  }

  async tag(
    reference: string,
    target: { readonly repo: string; readonly tag: string },
  ): Promise<void> {
    const { index, metadata } = this.#context;
    const record = index.find(reference);
    const name = index.parseTarget(target);
    // The new name stands for all that the old one does, further platforms too.
    const { target: origin, others, attachments } = index.findBound(reference) ?? {};
    const bind = (): void =>
      index.bind(name, record.id, {
        ...(attachments === undefined ? {} : { attachments }),
        ...(origin === undefined ? {} : { target: origin }),
        ...(others === undefined ? {} : { others }),
      });
    await metadata.commit(bind);
    publishImageEvent(this.#context, { action: "tag", record, name: index.show(name) });
  }

  async remove(
    reference: string,
    options: Parameters<ImageService["remove"]>[1],
  ): Promise<readonly ImageDeleteResponseItem[]> {
    const { force, noPrune, platforms = [] } = options;
    return await removeImage(this.#context, {
      reference,
      isForced: force === true,
      keepsParents: noPrune === true,
      platforms,
    });
  }

  async prune(filters: FilterMap): ReturnType<ImageService["prune"]> {
    return await pruneImages(this.#context, filters);
  }

  async load(
    archive: ReadableStream<Uint8Array>,
    options: {
      readonly progress: Progress;
      readonly platform?: Platform;
      readonly signal?: AbortSignal;
    },
  ): Promise<void> {
    await loadImages(this.#context, { archive, ...options });
  }

  async save(
    references: readonly string[],
    options: { readonly platform?: Platform; readonly signal?: AbortSignal } = {},
  ): Promise<ReadableStream<Uint8Array>> {
    return await saveImages(this.#context, { references, ...options });
  }

  async openUrl(
    url: string,
    options: { readonly progress: Progress; readonly signal?: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>> {
    return await openUrl(url, options);
  }

  async import(layer: ReadableStream<Uint8Array>, options: ImportOptions): Promise<Digest> {
    return await importImage(this.#context, { layer, ...options });
  }

  async pull(reference: string, options: PullOptions): Promise<Digest> {
    return await pullImage(this.#context, { reference, ...options });
  }

  async pullAll(repository: string, options: PullOptions): Promise<void> {
    await pullAllTags(this.#context, { repository, ...options });
  }

  async create(draft: ImageDraft): Promise<CreatedImage> {
    return await createImage(this.#context, draft);
  }

  async commit(draft: CommitDraft): Promise<CreatedImage> {
    return await commitImage(this.#context, draft);
  }

  async layersOf(reference: string, options: ResolveOptions = {}): Promise<ImageLayers> {
    const { index } = this.#context;
    const { id, config } = await this.resolve(reference, options);
    const { layers, manifestDigest } = index.find(id);
    const chainId = layers.at(-1)?.chainId;
    return { id, config, layers, manifestDigest, ...(chainId === undefined ? {} : { chainId }) };
  }

  openLayer(
    layer: LayerRecord,
    options: { readonly isTar?: boolean; readonly signal?: AbortSignal } = {},
  ): ReadableStream<Uint8Array> {
    const open = options.isTar === true ? openLayerTar : openLayer;
    return open(this.#context, layer, options);
  }

  async packLayer(
    layer: LayerRecord,
    options: {
      readonly packing: LayerPacking;
      readonly leaseId: string;
      readonly signal: AbortSignal;
    },
  ): Promise<PackedLayer> {
    return await storePackedLayer(this.#context, { layer, ...options });
  }

  async push(reference: string, options: PushOptions): Promise<void> {
    await pushImages(this.#context, { reference, ...options });
  }

  async foreseePush(reference: string, options: ForeseeOptions): Promise<ForeseenPush | undefined> {
    return await foreseePush(this.#context, { reference, ...options });
  }

  async search(
    term: string,
    options: RegistryCall & { readonly limit?: number; readonly filters: FilterMap },
  ): Promise<readonly SearchHit[]> {
    return await searchImages(this.#context, { term, ...options });
  }

  async describeDistribution(
    reference: string,
    call: RegistryCall,
  ): Promise<DistributionDescription> {
    return await describeDistribution(this.#context, { reference, ...call });
  }

  async logIn(
    server: string,
    options: { readonly credentials: Credentials; readonly signal?: AbortSignal },
  ): Promise<{ readonly identityToken?: string }> {
    return await logIn(this.#context, { server, ...options });
  }

  async createIndex(draft: IndexDraft): Promise<Digest> {
    return await createIndex(this.#context, draft);
  }

  layerChains(): ReadonlySet<string> {
    const records = this.#context.index.list();
    return new Set(records.flatMap(({ layers }) => layers.map(({ chainId }) => chainId)));
  }

  async collect(): Promise<number> {
    return await this.#collect();
  }

  async recover(): Promise<void> {
    const { content, snapshots, logger } = this.#context;
    for (const damaged of dropDamaged(this.#context)) {
      logger.error("an image is damaged and not offered any more", { image: damaged });
    }
    const ingestCount = await content.sweep();
    await snapshots.sweep();
    const removedCount = await this.#collect({ isStart: true });
    logger.debug("images recovered", { ingestCount, removedCount });
  }

  async #making<T>(work: (leaseId: string) => Promise<T>): Promise<T> {
    const leaseId = this.#context.leases.create();
    try {
      return await work(leaseId);
    } catch (error) {
      // What was made so far belongs to nobody.
      this.#release(leaseId);
      await this.#collect();
      throw error;
    } finally {
      this.#release(leaseId);
    }
  }

  /** A collection under way may have looked at the records before the image was in them. */
  #release(leaseId: string): void {
    if (this.#collecting === undefined) this.#context.leases.remove(leaseId);
    else this.#released.add(leaseId);
  }

  /** Collects what is garbage now: one that runs has looked before, and the next serves all who wait. */
  async #collect(options: { readonly isStart?: boolean } = {}): Promise<number> {
    const running = this.#collecting;
    const isFree = running === undefined && this.#nextCollection === undefined;
    if (isFree) return await this.#begin(options);
    this.#nextCollection ??= Promise.resolve(running)
      .catch(() => undefined)
      .then(async () => {
        this.#nextCollection = undefined;
        return await this.#begin(options);
      });
    return await this.#nextCollection;
  }

  async #begin(options: { readonly isStart?: boolean }): Promise<number> {
    const collecting = collectGarbage(this.#context, options).finally(() => {
      this.#collecting = undefined;
      for (const leaseId of this.#released) this.#context.leases.remove(leaseId);
      this.#released.clear();
    });
    this.#collecting = collecting;
    return await collecting;
  }
}
