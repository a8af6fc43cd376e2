/**
 * Images: names bound to content.
 *
 * An image is stored whole before it has a record: blobs synced, layers unpacked and synced, then
 * the record in one transaction. Its ID is the digest of its config.
 */
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { ImageConfig, ImageRunConfig } from "../oci/image-config.ts";
import type { Platform } from "../oci/platform.ts";
import type { Reference } from "../oci/reference.ts";
import type { DiffRequest } from "../snapshot/diff/diff.ts";
import type { LayerRecord } from "./image-records.ts";
import type { Credentials, RegistryCall, SearchHit } from "../remote/registry-client.ts";
import type {
  HistoryResponseItem,
  ImageDeleteResponseItem,
  ImageInspect,
  ImageSummary,
} from "../api/image.ts";
import type { FoundImageUse } from "./check-use.ts";
import type { PackedLayer } from "./distribution/distribution-records.ts";
import type { LayerPacking } from "./distribution/pack-layer.ts";
import type { DistributionDescription } from "./distribution/registry-queries.ts";

/** An image as a container is made from it. */
export interface ResolvedImage {
  /** Digest of the config. */
  readonly id: Digest;
  readonly config: ImageConfig;
  readonly platform: Platform;
  /** Name of the committed snapshot that is the image's file system; absent for no layers. */
  readonly chainId?: string;
  /** Digest of the manifest, where the image has one. */
  readonly manifestDigest?: Digest;
  /** Familiar names (`busybox:latest`), sorted. */
  readonly names: readonly string[];
}

/** Who uses an image; asked before one is removed, and for `Containers` in lists. */
export interface ImageUsers {
  /** Containers made from the image: their IDs and whether they run. */
  containersOf(id: Digest): readonly { readonly id: string; readonly isRunning: boolean }[];
}

/** One message of a progress stream (load, import, later pull and push). */
export interface ProgressMessage {
  readonly status?: string;
  readonly stream?: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly progress?: string;
  /** For programs, in place of a text. */
  readonly aux?: unknown;
}

/** Told as a long operation goes on. */
export type Progress = (message: ProgressMessage) => void;

/** How an image is looked for. */
export interface ResolveOptions {
  /** One of several platforms that a name is bound to. */
  readonly platform?: Platform;
  /** What it is wanted for: the policy is asked. @throws permission-denied when it refuses */
  readonly use?: "run" | "build";
}

/** How an image is pulled. */
export interface PullOptions {
  /** For the registry of the reference; none: anonymous. */
  readonly credentials?: Credentials;
  /** The host's when absent. */
  readonly platform?: Platform;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

/** A layer that was made here: a committed snapshot, whose bytes were hashed and not kept. */
export interface NewLayer {
  /** Name of the committed snapshot: the chain ID of this layer on those below. */
  readonly chainId: Digest;
  /** As `DiffHasher.hash` tells it of that snapshot, as the next three. */
  readonly diffId: Digest;
  readonly tarSizeBytes: number;
  /** Bytes of its files. */
  readonly sizeBytes: number;
  /** The epoch that it was hashed with. */
  readonly epochS?: number;
}

/** An image to be made of snapshots. */
export interface ImageDraft {
  /** Its `rootfs.diff_ids` are those of the layers. */
  readonly config: ImageConfig;
  /** Bottom first; those of a base image as `layersOf` gives them. */
  readonly layers: readonly (NewLayer | LayerRecord)[];
  /** Move here from other images; none: the image has no name. */
  readonly names: readonly Reference[];
  /** ID of the image that it was made from step by step, as `commit` and classic builds do: it is
   * told as the parent, and goes with its last child unless it has a name. */
  readonly parentId?: Digest;
  /** Of the manifest. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Format of the manifest; `oci` when absent. */
  readonly mediaTypes?: "oci" | "docker";
  readonly signal?: AbortSignal;
}

/** Changes to an image's files that become a new image. */
export interface CommitDraft {
  /** The files; read once. */
  readonly changes: DiffRequest;
  /** Called when all of them have been read. */
  readonly onRead?: () => Promise<void>;
  /** The image below; absent: nothing. */
  readonly baseId?: string;
  /** How containers of the new image run. */
  readonly run: ImageRunConfig;
  readonly author: string;
  readonly comment: string;
  /** The command whose result it is, for the history. */
  readonly createdBy: string;
  readonly containerId: string;
  readonly containerConfig: ImageRunConfig;
  readonly name?: Reference;
  readonly signal?: AbortSignal;
}

/** An image that was made. */
export interface CreatedImage {
  /** Digest of the config. */
  readonly id: Digest;
  readonly manifestDigest: Digest;
  /** As recorded. */
  readonly layers: readonly LayerRecord[];
  /** The file system was synced for it; not for an image that was here before. */
  readonly isSynced?: boolean;
}

/** Images of several platforms that get names together. */
export interface IndexDraft {
  /** IDs of images that are here; the first is what the names mean on this machine. */
  readonly images: readonly Digest[];
  readonly names: readonly Reference[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of what names each image in the index, in the order of `images`. */
  readonly imageAnnotations?: readonly (Readonly<Record<string, string>> | undefined)[];
  /** Manifests beside those of the images, as attestations are, with all blobs that they need. */
  readonly attachments?: readonly IndexAttachment[];
}

/** A manifest of an index that is no image. */
export interface IndexAttachment {
  /** As the index names it: with platform and annotations. */
  readonly descriptor: Descriptor;
  /** The manifest and its blobs; held by a lease of the caller's. */
  readonly blobs: readonly Digest[];
}

/** What an image is made of: for who adds to it. */
export interface ImageLayers {
  readonly id: Digest;
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly layers: readonly LayerRecord[];
  /** Name of the committed snapshot of the topmost layer; absent for no layers. */
  readonly chainId?: Digest;
  readonly manifestDigest: Digest;
}

/** How an image is pushed. */
export interface PushOptions {
  /** In place of the reference's; all tags that are here when neither has one. */
  readonly tag?: string;
  readonly credentials?: Credentials;
  /** Sends the image of that platform alone. */
  readonly platform?: Platform;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

/** What a push of a tag would give a registry. */
export interface ForeseenPush {
  /** A manifest is made of what is packed: the one that is here stays here. */
  readonly isMadeAnew: boolean;
  /** Manifests, and the index that names them; absent when layers were not packed yet. */
  readonly digests?: readonly Digest[];
}

/** A filter value by name, as in the `filters` query: name → values. */
export type FilterMap = ReadonlyMap<string, readonly string[]>;

/** How an image is made from a tar. */
export interface ImportOptions {
  readonly repo?: string;
  readonly tag?: string;
  readonly message?: string;
  readonly changes?: readonly string[];
  readonly platform?: Platform;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

/** The images of one data root. */
export interface ImageService {
  /** By name, `name@digest`, full ID or unambiguous ID prefix.
   * @throws not-found `No such image: x:latest`, conflict/invalid-argument when ambiguous */
  resolve(reference: string, options?: ResolveOptions): Promise<ResolvedImage>;
  /** Whether a name or ID, as it was given once, still stands for that image; makes nothing. */
  isCalled(reference: string, id: string): boolean;
  /** Asks the policy about an image that was found before, or elsewhere. @throws permission-denied */
  checkUse(use: FoundImageUse): Promise<void>;
  list(options: {
    readonly all?: boolean;
    readonly filters?: FilterMap;
    readonly sharedSize?: boolean;
    readonly digests?: boolean;
    readonly manifests?: boolean;
  }): Promise<readonly ImageSummary[]>;
  inspect(
    reference: string,
    options?: { readonly platform?: Platform; readonly manifests?: boolean },
  ): Promise<ImageInspect>;
  history(
    reference: string,
    options?: { readonly platform?: Platform },
  ): Promise<readonly HistoryResponseItem[]>;
  tag(reference: string, target: { readonly repo: string; readonly tag: string }): Promise<void>;
  remove(
    reference: string,
    options: {
      readonly force?: boolean;
      readonly noPrune?: boolean;
      /** Only these of the images that the name stands for; all of them when absent or empty. */
      readonly platforms?: readonly Platform[];
    },
  ): Promise<readonly ImageDeleteResponseItem[]>;
  prune(filters: FilterMap): Promise<{
    readonly deleted: readonly ImageDeleteResponseItem[];
    readonly spaceReclaimedBytes: number;
  }>;
  /** Reads docker-archive or OCI layout tar (gzip and zstd recognised). Acknowledged when durable. */
  load(
    archive: ReadableStream<Uint8Array>,
    options: {
      readonly progress: Progress;
      readonly platform?: Platform;
      readonly signal?: AbortSignal;
    },
  ): Promise<void>;
  /** One tar that is docker-archive and OCI layout at once, as Docker 25+ writes it. */
  save(
    references: readonly string[],
    options?: { readonly platform?: Platform; readonly signal?: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>>;
  /** Opens an archive that is at a URL, for `import`. @throws invalid-argument, unavailable */
  openUrl(
    url: string,
    options: { readonly progress: Progress; readonly signal?: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>>;
  /** Makes an image of one layer from a tar. @returns its ID */
  import(layer: ReadableStream<Uint8Array>, options: ImportOptions): Promise<Digest>;
  /** Brings an image from a registry; without tag or digest the one tagged `latest`.
   * @returns its ID, once it is durable
   * @throws what the registry says; canceled: then no image is there, and the next pull goes on */
  pull(reference: string, options: PullOptions): Promise<Digest>;
  /** Brings all tags of a repository. */
  pullAll(repository: string, options: PullOptions): Promise<void>;
  /**
   * Makes an image of committed snapshots: stores config and manifest, syncs, records image and names
   * in one transaction, and tells each name as an event `tag`.
   *
   * The snapshots may be committed with `durable: false`: all is synced here. From before their
   * commit until this returns the caller holds them by a lease (`snapshot:<chainId>`), and the blobs
   * of a base image's layers (`content:<digest>`), whose image may be removed meanwhile; from then on
   * the image does. The layers' bytes are never read: whoever needs them has them made from the
   * snapshots (`layer-source.ts`). The same config makes the same image.
   *
   * @throws invalid-argument when layers and config differ, not-found for a snapshot that is not
   * there, canceled: then no image is there
   */
  create(draft: ImageDraft): Promise<CreatedImage>;
  /** Makes an image of changes to another's files. @throws not-found when that one is gone */
  commit(draft: CommitDraft): Promise<CreatedImage>;
  /** Binds names to an index of images that are here. @returns the index's digest
   * @throws not-found for an image that is not here */
  createIndex(draft: IndexDraft): Promise<Digest>;
  /** What to build on. @throws as `resolve` */
  layersOf(reference: string, options?: ResolveOptions): Promise<ImageLayers>;
  /** Streams a layer's bytes as its digest names them, from its blob or made anew; `isTar`: those
   * its diff ID names. @throws data-loss when they are not to be had any more */
  openLayer(
    layer: LayerRecord,
    options?: { readonly isTar?: boolean; readonly signal?: AbortSignal },
  ): ReadableStream<Uint8Array>;
  /** Has a layer as a blob of that packing, which the lease holds; packed once.
   * @throws data-loss as `openLayer`, canceled */
  packLayer(
    layer: LayerRecord,
    options: {
      readonly packing: LayerPacking;
      readonly leaseId: string;
      readonly signal: AbortSignal;
    },
  ): Promise<PackedLayer>;
  /** Sends an image to the registry of its name. */
  push(reference: string, options: PushOptions): Promise<void>;
  /** Tells what a push would send, and packs layers for that if asked to; undefined for no tag. */
  foreseePush(
    reference: string,
    options: { readonly packs: boolean; readonly signal?: AbortSignal },
  ): Promise<ForeseenPush | undefined>;
  /** Searches a registry: the one that the term begins with, or Docker Hub. */
  search(
    term: string,
    options: RegistryCall & { readonly limit?: number; readonly filters: FilterMap },
  ): Promise<readonly SearchHit[]>;
  /** Asks a registry what a name stands for, without bringing it. */
  describeDistribution(reference: string, call: RegistryCall): Promise<DistributionDescription>;
  /** Checks credentials against a registry. @throws unauthorized */
  logIn(
    server: string,
    options: { readonly credentials: Credentials; readonly signal?: AbortSignal },
  ): Promise<{ readonly identityToken?: string }>;
  /** Images there are; for `info`. */
  readonly count: number;
  /** Chain IDs of the layers of all images. */
  layerChains(): ReadonlySet<string>;
  /** Removes what neither an image nor a lease needs, now or when no image is being made.
   * @returns bytes freed */
  collect(): Promise<number>;
  /** Bytes of the files of all layers, each counted once. */
  readonly layersSizeBytes: number;
  /** Removes blobs and snapshots that no image, container or lease needs; finishes what a crash left. */
  recover(): Promise<void>;
}
