/**
 * Builds: from a Dockerfile and its context to an image or to files.
 *
 * Terms: a *context* is a folder of files that a build may read; the *main* one has the Dockerfile's
 * neighbours, *named* ones are further folders, images or repositories. A *vertex* is one step as
 * progress shows it. A *step* has a *content key*, made from what it does and from the content of what
 * it reads; its result is a committed snapshot, and the *build cache* maps the key to it.
 *
 * 1. The Dockerfile is parsed (`dockerfile/`) and becomes a graph of steps (`graph/`); stages nobody
 *    needs are not in it.
 * 2. The graph is solved (`solver/`): independent steps at the same time, a step that two builds share
 *    once.
 * 3. Each output is exported (`export/`): an image into the store, a tar, a folder.
 *
 * This folder knows no client: the classic `POST /build` and BuildKit's protocol both call `build`.
 */
import type { DebugRequest } from "./failed-steps.ts";
import type { CacheBounds } from "./cache/cache-bounds.ts";
import type { Credentials } from "../remote/registry-client.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { Platform } from "../oci/platform.ts";

/** A folder on this machine's disk that a build reads and never writes. */
export interface ContextFolder extends AsyncDisposable {
  readonly path: string;
  /**
   * Whether files at a path of a kept folder or below it, a byte string, are others than when it was
   * used last; "" is the whole. A hint: who acts on it is right in either case.
   */
  hasChanged?(path: string): boolean;
}

/** What to take from a client's folder. */
export interface LocalRequest {
  /** `context`, `dockerfile`, or what a named context says (`local:name`). */
  readonly name: string;
  /** Patterns in the form of .dockerignore; the client's side leaves out what they exclude. */
  readonly excludes: readonly string[];
  /** Only these paths and what is below them; all when absent. */
  readonly followPaths?: readonly string[];
  /** Told of the bytes that have come so far, a few times a second. */
  readonly onProgress?: (currentBytes: number) => void;
  readonly signal?: AbortSignal;
}

/** The client's side of a build: its files, secrets, credentials and outputs. */
export interface BuildClient {
  /** @throws not-found when the client has no folder of that name */
  folder(request: LocalRequest): Promise<ContextFolder>;
  /** Undefined when the client has none of that name. The value is never logged. */
  secret(id: string): Promise<Uint8Array | undefined>;
  /** Path of a unix socket that speaks the ssh agent protocol for `id`. */
  sshAgent(id: string): Promise<ContextFolder | undefined>;
  /** For a registry's host. */
  credentials(host: string): Promise<Credentials | undefined>;
  /** Gives a tar to the client, as the output of number `index`. */
  sendTar(tar: ReadableStream<Uint8Array>, options: { readonly index: number }): Promise<void>;
  /** A folder of the client's that holds blobs by digest (an image layout), by the name that both
   * sides know it under; undefined from a client that serves none. Names are not checked here. */
  contentStore?(id: string): ClientContent | undefined;
  /** Gives a folder's content to the client. */
  sendFolder(path: string, options: { readonly index: number }): Promise<void>;
}

/** Blobs that lie at the client's. */
export interface ClientContent {
  /** Undefined when the blob is not there. */
  sizeOf(digest: Digest): Promise<number | undefined>;
  /** Streams a blob; nothing of it is checked. @throws not-found */
  open(digest: Digest): AsyncIterable<Uint8Array>;
  /** Sends a blob unless it is there. */
  put(
    descriptor: Pick<Descriptor, "digest" | "size">,
    open: (offset: number) => ReadableStream<Uint8Array>,
  ): Promise<void>;
}

/** Where the main context or a named one comes from. */
export type ContextSource =
  | { readonly kind: "local"; readonly name: string }
  /** A folder that the caller has filled already: a classic build's tar. */
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "git" | "http"; readonly url: string }
  | { readonly kind: "image"; readonly reference: string }
  | { readonly kind: "oci-layout"; readonly name: string; readonly reference: string }
  | { readonly kind: "stage"; readonly name: string };

/** A word about an image, in a document beside its config. */
export interface ImageAnnotation {
  /** A manifest, an index, or what names one of them. */
  readonly level: "manifest" | "manifest-descriptor" | "index" | "index-descriptor";
  /** Of the image of that platform alone; of each when absent. */
  readonly platform?: Platform;
  readonly key: string;
  readonly value: string;
}

/** What becomes of the result. */
export type BuildOutput =
  | {
      readonly kind: "image";
      readonly names: readonly string[];
      readonly isPushed: boolean;
      /** The push names no tag: who pushes several makes an index of their digests. */
      readonly isByDigest?: boolean;
      /** Of layers that are packed here; gzip when absent. */
      readonly compression?: "gzip" | "zstd" | "uncompressed";
      readonly isForced?: boolean;
      /** Format of its documents; `oci` when absent. */
      readonly mediaTypes?: "oci" | "docker";
      readonly annotations?: readonly ImageAnnotation[];
    }
  | {
      readonly kind: "docker" | "oci";
      readonly names: readonly string[];
      readonly isTar: boolean;
      /** Layers that are packed another way are so only when asked for: `isForced`. */
      readonly compression: "gzip" | "zstd" | "uncompressed";
      readonly isForced?: boolean;
      readonly annotations?: readonly ImageAnnotation[];
    }
  | { readonly kind: "local" | "tar"; readonly splitsPlatforms?: boolean };

/** A place that cache is read from or written to. */
export interface CachePlace {
  readonly type: "local" | "registry" | "inline";
  readonly mode: "min" | "max";
  readonly attributes: Readonly<Record<string, string>>;
  /** Only an image of that name that is here: what the classic builder means. */
  readonly isLocalOnly?: boolean;
}

/** What a Dockerfile may do only when its client, and the engine, let it: it may be anybody's. */
export type Entitlement = "security.insecure" | "network.host" | "device";

/** One build. */
export interface BuildRequest {
  /** Names the build for `cancel` and for who asks twice. */
  readonly id: string;
  readonly client: BuildClient;
  readonly main: ContextSource;
  /** Where the Dockerfile is read from when that is not `main`. */
  readonly dockerfileFrom?: ContextSource;
  /** Folder of a fetched context that is built from; the Dockerfile is looked for in the whole. */
  readonly contextSubdir?: string;
  /** Path in its context; `Dockerfile` when absent. */
  readonly dockerfileName?: string;
  /** By lower-case name. */
  readonly contexts: ReadonlyMap<string, ContextSource>;
  readonly args: ReadonlyMap<string, string>;
  readonly labels: ReadonlyMap<string, string>;
  readonly target?: string;
  readonly platforms: readonly Platform[];
  readonly hasNoCache: boolean;
  readonly noCacheStages: readonly string[];
  readonly isPulled: boolean;
  readonly network: "default" | "none" | "host";
  /** `host:address`. */
  readonly extraHosts: readonly string[];
  readonly shmSizeBytes?: number;
  readonly cgroupParent?: string;
  readonly ulimits: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly resources?: {
    readonly memoryBytes?: number;
    readonly memorySwapBytes?: number;
    readonly cpuShares?: number;
    readonly cpuPeriod?: number;
    readonly cpuQuota?: number;
    readonly cpusetCpus?: string;
    readonly cpusetMems?: string;
  };
  readonly isSquashed: boolean;
  /** Each instruction's result is an image without a name, also of a build that fails: what the
   * classic builder's IDs stand for. */
  readonly keepsSteps?: boolean;
  /** Each step says why it hit or missed. */
  readonly explains?: boolean;
  /** Keeps the file system of a command that fails, for its client to look at. */
  readonly debug?: DebugRequest;
  /** It says by which names the results of its instructions can be run. */
  readonly listsSteps?: boolean;
  /** Entitlements given: RUN --security=insecure, --network=host. */
  readonly allows: ReadonlySet<Entitlement>;
  readonly cacheFrom: readonly CachePlace[];
  readonly cacheTo: readonly CachePlace[];
  readonly outputs: readonly BuildOutput[];
  /** Seconds since 1970 that every time of the result is clamped to. */
  readonly sourceDateEpoch?: number;
  readonly attestations: {
    readonly sbom: boolean;
    readonly provenance?: "min" | "max";
    /** The provenance is for images that leave the machine: a client's habit, not a wish. */
    readonly isInlineOnly?: boolean;
    /** Who builds, as the provenance is to say. */
    readonly builderId?: string;
    /** The client says that the same sources give the same result. */
    readonly isReproducible?: boolean;
  };
  /** `check` lints and builds nothing; `outline` and `targets` describe. */
  readonly subrequest?: "check" | "outline" | "targets";
  readonly progress: (event: BuildEvent) => void;
  readonly signal: AbortSignal;
}

/** One step, as progress shows it. */
export interface VertexInfo {
  readonly digest: Digest;
  /** `[build 2/5] RUN make`. */
  readonly name: string;
  readonly inputs: readonly Digest[];
}

/** What progress is made of. Times in nanoseconds since 1970, as digits. */
export type BuildEvent =
  | { readonly kind: "vertex"; readonly vertex: VertexInfo }
  | { readonly kind: "started"; readonly digest: Digest; readonly atNs: string }
  | {
      readonly kind: "completed";
      readonly digest: Digest;
      readonly atNs: string;
      readonly isCached: boolean;
      readonly error?: string;
    }
  | {
      readonly kind: "status";
      readonly digest: Digest;
      readonly id: string;
      readonly name: string;
      readonly current: number;
      readonly total: number;
      readonly atNs: string;
      readonly isCompleted: boolean;
    }
  | {
      readonly kind: "log";
      readonly digest: Digest;
      readonly stream: "stdout" | "stderr";
      readonly bytes: Uint8Array;
      readonly atNs: string;
    }
  | { readonly kind: "warning"; readonly digest?: Digest; readonly warning: BuildWarning }
  /** Classic builder only: `Step 1/3 : FROM busybox`, ` ---> id`. */
  | { readonly kind: "classic"; readonly text: string };

/** A lint finding. @see BuildKit, frontend/dockerfile/linter */
export interface BuildWarning {
  readonly rule: string;
  readonly description: string;
  readonly url: string;
  readonly detail: string;
  readonly startLine: number;
  readonly endLine: number;
}

/** How a result was built and of what. */
export interface BuildProvenance {
  readonly platform: Platform;
  readonly predicateType: string;
  /** JSON. */
  readonly predicate: Uint8Array;
}

/** What a build made. */
export interface BuildResult {
  /** The image's ID, of the first platform; absent when there is no image. */
  readonly imageId?: Digest;
  /** Of the manifest or index. */
  readonly digest?: Digest;
  /** `containerimage.digest` and the like, for --metadata-file. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly warnings: readonly BuildWarning[];
  /** Of a subrequest: `result.json`, `result.txt`, …. */
  readonly answers?: Readonly<Record<string, string>>;
  /** One for each platform; absent for a subrequest. */
  readonly provenance?: readonly BuildProvenance[];
}

/** A record of the build cache, as `builder du` shows it. */
export interface CacheRecord {
  readonly id: string;
  readonly parents: readonly string[];
  readonly type: "regular" | "source.local" | "exec.cachemount" | "internal" | "frontend";
  readonly description: string;
  readonly isInUse: boolean;
  readonly isShared: boolean;
  readonly sizeBytes: number;
  readonly createdNs: string;
  readonly lastUsedNs?: string;
  readonly usageCount: number;
}

/** The builder of one data root. */
export interface BuildService {
  /** @throws invalid-argument with the place in the Dockerfile, canceled, and what a step throws */
  build(request: BuildRequest): Promise<BuildResult>;
  /** Tells whether there was such a build. */
  cancel(id: string): boolean;
  diskUsage(): Promise<readonly CacheRecord[]>;
  prune(options: {
    readonly all?: boolean;
    readonly keepBytes?: number;
    /** Instead of `keepBytes`: what it is to be worked out from. */
    readonly bounds?: CacheBounds;
    readonly filters: ReadonlyMap<string, readonly string[]>;
  }): Promise<{ readonly removed: readonly string[]; readonly spaceReclaimedBytes: number }>;
  /** A client's own main folder for a classic build: made empty, removed when closed. */
  makeContextFolder(): Promise<ContextFolder>;
  /** Such a folder with the files of a tar, packed or not; nothing leads out of it.
   * @throws invalid-argument for what is no tar, or a hostile one */
  unpackContext(
    tar: ReadableStream<Uint8Array>,
    options: { readonly signal: AbortSignal },
  ): Promise<ContextFolder>;
  recover(): Promise<void>;
}
