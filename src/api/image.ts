/**
 * Images on the wire.
 *
 * @see Engine API v1.51, tag Image
 */
import type { DriverData } from "./container.ts";
import type { HealthConfig, StringMap, StringSet } from "./container-config.ts";

/** @see Engine API v1.51, OCIPlatform */
export interface OciPlatform {
  readonly architecture: string;
  readonly os: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
  readonly variant?: string;
}

/** @see Engine API v1.51, OCIDescriptor */
export interface OciDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly urls?: readonly string[];
  readonly annotations?: StringMap;
  readonly data?: string;
  readonly platform?: OciPlatform;
  readonly artifactType?: string;
}

/** @see Engine API v1.51, ImageManifestSummary */
export interface ImageManifestSummary {
  readonly ID: string;
  readonly Descriptor: OciDescriptor;
  readonly Available: boolean;
  readonly Size: { readonly Total: number; readonly Content: number };
  readonly Kind: "image" | "attestation" | "unknown";
  readonly ImageData?: {
    readonly Platform: OciPlatform;
    readonly Containers: readonly string[];
    readonly Size: { readonly Unpacked: number };
  };
  readonly AttestationData?: { readonly For: string };
}

/** @see Engine API v1.51, ImageSummary */
export interface ImageSummary {
  readonly Containers: number;
  /** Seconds since 1970. */
  readonly Created: number;
  readonly Id: string;
  readonly Labels: StringMap | null;
  readonly ParentId: string;
  readonly RepoDigests: readonly string[];
  readonly RepoTags: readonly string[];
  /** Bytes; -1 when it was not asked for. */
  readonly SharedSize: number;
  readonly Size: number;
  readonly Manifests?: readonly ImageManifestSummary[];
  readonly Descriptor?: OciDescriptor;
}

/**
 * The image's own half of a container configuration.
 *
 * @see Engine API v1.51, ImageConfig
 */
export interface ImageConfig {
  readonly User?: string;
  readonly ExposedPorts?: StringSet;
  readonly Env?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Healthcheck?: HealthConfig;
  readonly ArgsEscaped?: boolean;
  readonly Volumes?: StringSet | null;
  readonly WorkingDir?: string;
  readonly Entrypoint?: readonly string[] | null;
  readonly OnBuild?: readonly string[] | null;
  readonly Labels?: StringMap | null;
  readonly StopSignal?: string;
  readonly Shell?: readonly string[];
}

/** @see Engine API v1.51, ImageInspect.RootFS */
export interface RootFs {
  readonly Type: string;
  readonly Layers?: readonly string[];
}

/** @see Engine API v1.51, ImageInspect */
export interface ImageInspect {
  readonly Id: string;
  readonly RepoTags: readonly string[];
  readonly RepoDigests: readonly string[];
  readonly Parent: string;
  readonly Comment: string;
  readonly Created?: string;
  readonly DockerVersion: string;
  readonly Author: string;
  readonly Config: ImageConfig | null;
  readonly Architecture: string;
  readonly Variant?: string;
  readonly Os: string;
  readonly OsVersion?: string;
  readonly Size: number;
  /** Until API 1.43. */
  readonly VirtualSize?: number;
  readonly GraphDriver: DriverData;
  readonly RootFS: RootFs;
  readonly Metadata: { readonly LastTagTime: string };
  readonly Descriptor?: OciDescriptor;
  readonly Manifests?: readonly ImageManifestSummary[];
}

/** @see Engine API v1.51, ImageHistoryResponseItem */
export interface HistoryResponseItem {
  readonly Comment: string;
  /** Seconds since 1970. */
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Id: string;
  readonly Size: number;
  readonly Tags: readonly string[] | null;
}

/** One of the two is set. @see Engine API v1.51, ImageDeleteResponseItem */
export interface ImageDeleteResponseItem {
  readonly Deleted?: string;
  readonly Untagged?: string;
}

/** @see Engine API v1.51, ImagePruneResponse */
export interface ImagePruneResponse {
  readonly ImagesDeleted: readonly ImageDeleteResponseItem[] | null;
  /** Bytes. */
  readonly SpaceReclaimed: number;
}

/** @see Engine API v1.51, ProgressDetail */
export interface ProgressDetail {
  readonly current?: number;
  readonly total?: number;
}

/**
 * One line of the progress of a pull, push, load, import or build.
 *
 * A failure after the first byte is a last line with both `error` and `errorDetail`.
 *
 * @see Engine API v1.51, CreateImageInfo, PushImageInfo, BuildInfo
 */
export interface JsonMessage {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
  readonly progress?: string;
  readonly progressDetail?: ProgressDetail;
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message: string };
  readonly aux?: unknown;
}

/** What of an image may be signed, and the signatures there are. Tug's own. */
export interface ImageSignatures {
  /** Manifests of the image: as it is here, and as repositories know it. */
  readonly Manifests: readonly {
    readonly Digest: string;
    /** Repositories that have it under this digest: `localhost:5000/web`. */
    readonly Repositories: readonly string[];
    /** "push": what a push of the name will make. "here": no push sends it as it is. "listed": another
     * platform's or an attestation, named by the same index. */
    readonly Use?: "push" | "here" | "listed";
  }[];
  readonly Signatures: readonly ImageSignatureItem[];
}

/** One signature, in the form of cosign. Tug's own. */
export interface ImageSignatureItem {
  /** Of the manifest that is signed. */
  readonly Digest: string;
  /** The signed document, in base64. */
  readonly Payload: string;
  /** In base64. */
  readonly Signature: string;
}

/** What a registry has under a name. @see Engine API v1.51, DistributionInspect */
export interface DistributionInspect {
  readonly Descriptor: OciDescriptor;
  readonly Platforms: readonly OciPlatform[] | null;
}

/** A repository that a search found. @see Engine API v1.51, ImageSearchResponse */
export interface ImageSearchItem {
  readonly name: string;
  readonly description: string;
  readonly star_count: number;
  readonly is_official: boolean;
  readonly is_automated: boolean;
}

/** What `docker login` sends. @see Engine API v1.51, AuthConfig */
export interface AuthConfig {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly email?: string;
  readonly serveraddress?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
}
