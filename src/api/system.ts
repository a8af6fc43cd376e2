/**
 * The engine itself on the wire: what it is, what happens in it.
 *
 * @see Engine API v1.51, tag System
 */
import type { ContainerSummary } from "./container.ts";
import type { StringMap } from "./container-config.ts";
import type { AuthConfig, ImageSummary } from "./image.ts";
import type { Volume } from "./volume.ts";

/** Names of two, as `info` prints key and value. */
export type Pair = readonly [key: string, value: string];

/** @see Engine API v1.51, SystemVersion.Components */
export interface VersionComponent {
  readonly Name: string;
  readonly Version: string;
  readonly Details?: StringMap;
}

/** @see Engine API v1.51, SystemVersion */
export interface SystemVersion {
  readonly Platform?: { readonly Name: string };
  readonly Components?: readonly VersionComponent[];
  readonly Version: string;
  readonly ApiVersion: string;
  readonly MinAPIVersion?: string;
  readonly GitCommit: string;
  readonly GoVersion: string;
  readonly Os: string;
  readonly Arch: string;
  readonly KernelVersion?: string;
  readonly Experimental?: boolean;
  readonly BuildTime?: string;
}

/** @see Engine API v1.51, PluginsInfo */
export interface PluginsInfo {
  readonly Volume: readonly string[];
  readonly Network: readonly string[];
  readonly Authorization: readonly string[] | null;
  readonly Log: readonly string[];
}

/** @see Engine API v1.51, IndexInfo */
export interface IndexInfo {
  readonly Name: string;
  readonly Mirrors: readonly string[];
  readonly Secure: boolean;
  readonly Official: boolean;
}

/** @see Engine API v1.51, RegistryServiceConfig */
export interface RegistryServiceConfig {
  readonly InsecureRegistryCIDRs: readonly string[];
  readonly IndexConfigs: Readonly<Record<string, IndexInfo>>;
  readonly Mirrors: readonly string[] | null;
}

/** @see Engine API v1.51, Runtime */
export interface Runtime {
  readonly path?: string;
  readonly runtimeArgs?: readonly string[];
  readonly status?: StringMap;
}

/** @see Engine API v1.51, Commit */
export interface Commit {
  readonly ID: string;
  /** Until API 1.48. */
  readonly Expected?: string;
}

/** @see Engine API v1.51, SwarmInfo */
export interface SwarmInfo {
  readonly NodeID: string;
  readonly NodeAddr: string;
  readonly LocalNodeState: "" | "inactive" | "pending" | "active" | "error" | "locked";
  readonly ControlAvailable: boolean;
  readonly Error: string;
  readonly RemoteManagers: readonly { readonly NodeID: string; readonly Addr: string }[] | null;
  readonly Nodes?: number;
  readonly Managers?: number;
}

/** @see Engine API v1.51, FirewallInfo */
export interface FirewallInfo {
  readonly Driver: string;
  readonly Info?: readonly Pair[];
}

/** @see Engine API v1.51, ContainerdInfo */
export interface ContainerdInfo {
  readonly Address?: string;
  readonly Namespaces: {
    readonly Containers: string;
    readonly Plugins: string;
  };
}

/** @see Engine API v1.51, SystemInfo */
export interface SystemInfo {
  readonly ID: string;
  readonly Containers: number;
  readonly ContainersRunning: number;
  readonly ContainersPaused: number;
  readonly ContainersStopped: number;
  readonly Images: number;
  readonly Driver: string;
  readonly DriverStatus: readonly Pair[];
  readonly SystemStatus?: readonly Pair[] | null;
  readonly Plugins: PluginsInfo;
  readonly MemoryLimit: boolean;
  readonly SwapLimit: boolean;
  readonly KernelMemory?: boolean;
  readonly KernelMemoryTCP?: boolean;
  readonly CpuCfsPeriod: boolean;
  readonly CpuCfsQuota: boolean;
  readonly CPUShares: boolean;
  readonly CPUSet: boolean;
  readonly PidsLimit: boolean;
  readonly IPv4Forwarding: boolean;
  /** Until API 1.49. */
  readonly BridgeNfIptables?: boolean;
  /** Until API 1.49. */
  readonly BridgeNfIp6tables?: boolean;
  readonly Debug: boolean;
  readonly NFd: number;
  readonly OomKillDisable: boolean;
  readonly NGoroutines: number;
  readonly SystemTime: string;
  readonly LoggingDriver: string;
  readonly CgroupDriver: string;
  readonly CgroupVersion?: string;
  readonly NEventsListener: number;
  readonly KernelVersion: string;
  readonly OperatingSystem: string;
  readonly OSVersion: string;
  readonly OSType: string;
  readonly Architecture: string;
  readonly IndexServerAddress: string;
  readonly RegistryConfig: RegistryServiceConfig | null;
  readonly NCPU: number;
  /** Bytes. */
  readonly MemTotal: number;
  readonly GenericResources: readonly unknown[] | null;
  readonly DockerRootDir: string;
  readonly HttpProxy: string;
  readonly HttpsProxy: string;
  readonly NoProxy: string;
  readonly Name: string;
  readonly Labels: readonly string[];
  readonly ExperimentalBuild: boolean;
  readonly ServerVersion: string;
  readonly Runtimes: Readonly<Record<string, Runtime>>;
  readonly DefaultRuntime: string;
  readonly Swarm: SwarmInfo;
  readonly LiveRestoreEnabled: boolean;
  readonly Isolation: string;
  readonly InitBinary: string;
  readonly ContainerdCommit: Commit;
  readonly RuncCommit: Commit;
  readonly InitCommit: Commit;
  readonly SecurityOptions: readonly string[];
  readonly ProductLicense?: string;
  readonly DefaultAddressPools?: readonly {
    readonly Base: string;
    readonly Size: number;
  }[];
  readonly FirewallBackend?: FirewallInfo;
  readonly CDISpecDirs: readonly string[];
  readonly DiscoveredDevices?: readonly {
    readonly Source: string;
    readonly ID: string;
  }[];
  readonly Containerd?: ContainerdInfo;
  readonly Warnings: readonly string[] | null;
}

/** Nouns that events are about. */
export const eventTypes = [
  "builder",
  "config",
  "container",
  "daemon",
  "image",
  "network",
  "node",
  "plugin",
  "secret",
  "service",
  "volume",
] as const;

/** @see Engine API v1.51, EventMessage.Type */
export type EventType = (typeof eventTypes)[number];

/** @see Engine API v1.51, EventActor */
export interface EventActor {
  readonly ID: string;
  readonly Attributes: StringMap;
}

/**
 * One event. `status`, `id` and `from` repeat Action, Actor.ID and the image for old clients, and
 * only on container and image events.
 *
 * @see Engine API v1.51, EventMessage
 */
export interface EventMessage {
  readonly status?: string;
  readonly id?: string;
  readonly from?: string;
  readonly Type: EventType;
  /** The verb; may carry more after a colon ("exec_create: sh", "health_status: healthy"). */
  readonly Action: string;
  readonly Actor: EventActor;
  readonly scope: "local" | "swarm";
  /** Seconds since 1970. */
  readonly time: number;
  /** Nanoseconds since 1970: more than a number holds, so it is written from a bigint. */
  readonly timeNano: bigint;
}

/** What the headers of `_ping` say. @see Engine API v1.51, SystemPing */
export interface Ping {
  readonly apiVersion: string;
  readonly osType: string;
  readonly experimental: boolean;
  readonly builderVersion: string;
  readonly swarm: string;
}

/** A decoded body of `POST /auth`. @see Engine API v1.51, AuthConfig */
export type AuthRequest = AuthConfig;

/** @see Engine API v1.51, SystemAuthResponse */
export interface AuthResponse {
  readonly Status: string;
  readonly IdentityToken: string;
}

/** A record of the build cache. @see Engine API v1.51, BuildCache */
export interface BuildCacheRecord {
  readonly ID: string;
  /** Docker: with a blank before it, seen in 28.5 */
  readonly " Parents"?: readonly string[];
  readonly Type: string;
  readonly Description: string;
  readonly InUse: boolean;
  readonly Shared: boolean;
  readonly Size: number;
  readonly CreatedAt: string;
  readonly LastUsedAt: string | null;
  readonly UsageCount: number;
}

/** What disk usage can be asked of. */
export const diskUsageTypes = ["container", "image", "volume", "build-cache"] as const;
/** One of `diskUsageTypes`. */
export type DiskUsageType = (typeof diskUsageTypes)[number];

/** An image without names has null for them here. */
export type ImageUsage = Omit<ImageSummary, "RepoTags" | "RepoDigests"> & {
  readonly RepoTags: readonly string[] | null;
  readonly RepoDigests: readonly string[] | null;
};

/** What was not asked for is null. @see Engine API v1.51, SystemDataUsageResponse */
export interface SystemDiskUsage {
  readonly LayersSize: number;
  readonly Images: readonly ImageUsage[] | null;
  readonly Containers: readonly ContainerSummary[] | null;
  readonly Volumes: readonly Volume[] | null;
  readonly BuildCache: readonly BuildCacheRecord[] | null;
  /** Before API 1.42. */
  readonly BuilderSize?: number;
}
