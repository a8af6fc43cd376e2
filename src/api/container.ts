/**
 * What is asked of and told about containers on the wire.
 *
 * @see Engine API v1.51, tag Container
 */
import type {
  ContainerConfig,
  HostConfig,
  PortMap,
  Resources,
  RestartPolicy,
  StringMap,
} from "./container-config.ts";
import type { OciDescriptor } from "./image.ts";
import type { EndpointSettings, NetworkingConfig } from "./network.ts";

/**
 * Body of `POST /containers/create` as a client may send it. The server decodes it to
 * `ContainerCreateOptions`.
 *
 * @see Engine API v1.51, ContainerCreate
 */
export type ContainerCreateRequest = Partial<ContainerConfig> & {
  readonly HostConfig?: Partial<HostConfig>;
  readonly NetworkingConfig?: NetworkingConfig;
};

/** A decoded create body: both halves filled up with zero values. */
export interface ContainerCreateOptions {
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  readonly networkingConfig: NetworkingConfig;
}

/** @see Engine API v1.51, ContainerCreateResponse */
export interface ContainerCreateResponse {
  readonly Id: string;
  readonly Warnings: readonly string[];
}

/** Every state a container can be in. */
export const containerStatuses = [
  "created",
  "running",
  "paused",
  "restarting",
  "removing",
  "exited",
  "dead",
] as const;

/** @see Engine API v1.51, ContainerState.Status */
export type ContainerStatus = (typeof containerStatuses)[number];

/** @see Engine API v1.51, Health.Status */
export type HealthStatus = "none" | "starting" | "healthy" | "unhealthy";

/** @see Engine API v1.51, HealthcheckResult */
export interface HealthcheckResult {
  readonly Start: string;
  readonly End: string;
  readonly ExitCode: number;
  readonly Output: string;
}

/** @see Engine API v1.51, Health */
export interface Health {
  readonly Status: HealthStatus;
  readonly FailingStreak: number;
  readonly Log: readonly HealthcheckResult[] | null;
}

/**
 * Times are RFC 3339 with nanoseconds; "0001-01-01T00:00:00Z" is never.
 *
 * @see Engine API v1.51, ContainerState
 */
export interface ContainerState {
  readonly Status: ContainerStatus;
  readonly Running: boolean;
  readonly Paused: boolean;
  readonly Restarting: boolean;
  readonly OOMKilled: boolean;
  readonly Dead: boolean;
  readonly Pid: number;
  readonly ExitCode: number;
  readonly Error: string;
  readonly StartedAt: string;
  readonly FinishedAt: string;
  readonly Health?: Health;
}

/** @see Engine API v1.51, MountPoint */
export interface MountPoint {
  readonly Type: string;
  readonly Name?: string;
  readonly Source: string;
  readonly Destination: string;
  readonly Driver?: string;
  readonly Mode: string;
  readonly RW: boolean;
  readonly Propagation: string;
}

/** @see Engine API v1.51, DriverData */
export interface DriverData {
  readonly Data: StringMap | null;
  readonly Name: string;
}

/** @see Engine API v1.51, Address */
export interface Address {
  readonly Addr: string;
  readonly PrefixLen: number;
}

/** @see Engine API v1.51, NetworkSettings */
export interface NetworkSettings {
  readonly Bridge: string;
  readonly SandboxID: string;
  readonly SandboxKey: string;
  readonly Ports: PortMap;
  readonly HairpinMode: boolean;
  readonly LinkLocalIPv6Address: string;
  readonly LinkLocalIPv6PrefixLen: number;
  readonly SecondaryIPAddresses: readonly Address[] | null;
  readonly SecondaryIPv6Addresses: readonly Address[] | null;
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly MacAddress: string;
  readonly Networks: Readonly<Record<string, EndpointSettings>>;
}

/** @see Engine API v1.51, ContainerInspectResponse */
export interface ContainerInspectResponse {
  readonly Id: string;
  readonly Created: string;
  readonly Path: string;
  readonly Args: readonly string[];
  readonly State: ContainerState;
  readonly Image: string;
  readonly ResolvConfPath: string;
  readonly HostnamePath: string;
  readonly HostsPath: string;
  readonly LogPath: string;
  readonly Name: string;
  readonly RestartCount: number;
  readonly Driver: string;
  readonly Platform: string;
  readonly ImageManifestDescriptor?: OciDescriptor;
  readonly MountLabel: string;
  readonly ProcessLabel: string;
  readonly AppArmorProfile: string;
  readonly ExecIDs: readonly string[] | null;
  readonly HostConfig: HostConfig;
  readonly GraphDriver: DriverData;
  /** Bytes; only with `size=1`. */
  readonly SizeRw?: number;
  /** Bytes; only with `size=1`. */
  readonly SizeRootFs?: number;
  readonly Mounts: readonly MountPoint[];
  readonly Config: ContainerConfig;
  readonly NetworkSettings: NetworkSettings;
}

/**
 * A port of a listed container; without `PublicPort` it is exposed only.
 *
 * @see Engine API v1.51, Port
 */
export interface Port {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
}

/** @see Engine API v1.51, ContainerSummary */
export interface ContainerSummary {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly ImageID: string;
  readonly ImageManifestDescriptor?: OciDescriptor;
  readonly Command: string;
  /** Seconds since 1970. */
  readonly Created: number;
  readonly Ports: readonly Port[];
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly Labels: StringMap;
  readonly State: ContainerStatus;
  readonly Status: string;
  readonly HostConfig: {
    readonly NetworkMode: string;
    readonly Annotations?: StringMap;
  };
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, EndpointSettings>>;
  };
  readonly Mounts: readonly MountPoint[];
}

/** @see Engine API v1.51, ContainerTopResponse */
export interface ContainerTopResponse {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

/** @see Engine API v1.51, ContainerWaitExitError */
export interface ContainerWaitExitError {
  readonly Message: string;
}

/** @see Engine API v1.51, ContainerWaitResponse */
export interface ContainerWaitResponse {
  readonly StatusCode: number;
  readonly Error?: ContainerWaitExitError;
}

/** What `POST /containers/{id}/wait` may wait for. */
export const waitConditions = ["not-running", "next-exit", "removed"] as const;

/** @see Engine API v1.51, ContainerWait */
export type WaitCondition = (typeof waitConditions)[number];

/** Body of `POST /containers/{id}/update`. @see Engine API v1.51, ContainerUpdate */
export type ContainerUpdateRequest = Partial<Resources> & {
  readonly RestartPolicy?: Partial<RestartPolicy>;
};

/** @see Engine API v1.51, ContainerUpdateResponse */
export interface ContainerUpdateResponse {
  readonly Warnings: readonly string[];
}

/** @see Engine API v1.51, ContainerPruneResponse */
export interface ContainerPruneResponse {
  readonly ContainersDeleted: readonly string[] | null;
  /** Bytes. */
  readonly SpaceReclaimed: number;
}

/** One changed file. `Kind`: 0 modified, 1 added, 2 removed. @see Engine API v1.51, FilesystemChange */
export interface FilesystemChange {
  readonly Path: string;
  readonly Kind: 0 | 1 | 2;
}
