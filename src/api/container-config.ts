/**
 * What a container is asked to be: its portable half (`ContainerConfig`) and the half that belongs
 * to this host (`HostConfig`).
 *
 * Both are written as the published Go structs print: a field that is always printed is required
 * here, one that is left out when empty (`omitempty`) is optional, a slice, map or pointer that may
 * be nil is `| null`. The decoder fills a request up to these types, so a reader never meets
 * `undefined` where a value has a zero.
 *
 * @see Engine API v1.51, ContainerConfig, HostConfig, Resources
 */

/** Texts by text, as labels and options are. */
export type StringMap = Readonly<Record<string, string>>;

/** A set as Go writes it: the members are keys, the values are `{}`. */
export type StringSet = Readonly<Record<string, Readonly<Record<never, never>>>>;

/**
 * How a container is probed. Durations in nanoseconds; 0 is "inherit".
 *
 * `Test`: absent or `[]` inherits, `["NONE"]` disables, `["CMD", …]` runs arguments,
 * `["CMD-SHELL", text]` runs a shell.
 *
 * @see Engine API v1.51, HealthConfig
 */
export interface HealthConfig {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

/**
 * The portable half of a container's configuration.
 *
 * @see Engine API v1.51, ContainerConfig
 */
export interface ContainerConfig {
  readonly Hostname: string;
  readonly Domainname: string;
  readonly User: string;
  readonly AttachStdin: boolean;
  readonly AttachStdout: boolean;
  readonly AttachStderr: boolean;
  readonly ExposedPorts?: StringSet;
  readonly Tty: boolean;
  readonly OpenStdin: boolean;
  readonly StdinOnce: boolean;
  readonly Env: readonly string[] | null;
  readonly Cmd: readonly string[] | null;
  readonly Healthcheck?: HealthConfig;
  readonly ArgsEscaped?: boolean;
  readonly Image: string;
  readonly Volumes: StringSet | null;
  readonly WorkingDir: string;
  readonly Entrypoint: readonly string[] | null;
  readonly NetworkDisabled?: boolean;
  /** Of API 1.43 and older; newer ones give it per endpoint. */
  readonly MacAddress?: string;
  readonly OnBuild: readonly string[] | null;
  readonly Labels: StringMap | null;
  readonly StopSignal?: string;
  /** Seconds; -1 waits for ever. */
  readonly StopTimeout?: number;
  readonly Shell?: readonly string[];
}

/**
 * A weight of one block device.
 *
 * @see Engine API v1.51, Resources.BlkioWeightDevice
 */
export interface WeightDevice {
  readonly Path: string;
  readonly Weight: number;
}

/**
 * A rate limit of one block device: bytes or operations per second.
 *
 * @see Engine API v1.51, ThrottleDevice
 */
export interface ThrottleDevice {
  readonly Path: string;
  readonly Rate: number;
}

/**
 * A host device given to a container. `CgroupPermissions` is a subset of "rwm".
 *
 * @see Engine API v1.51, DeviceMapping
 */
export interface DeviceMapping {
  readonly PathOnHost: string;
  readonly PathInContainer: string;
  readonly CgroupPermissions: string;
}

/**
 * A request to a device driver (GPUs, CDI). `Count` -1 is all.
 *
 * @see Engine API v1.51, DeviceRequest
 */
export interface DeviceRequest {
  readonly Driver: string;
  readonly Count: number;
  readonly DeviceIDs: readonly string[] | null;
  readonly Capabilities: readonly (readonly string[])[] | null;
  readonly Options: StringMap | null;
}

/**
 * A resource limit of a process; -1 is unlimited.
 *
 * @see Engine API v1.51, Resources.Ulimits
 */
export interface Ulimit {
  readonly Name: string;
  readonly Hard: number;
  readonly Soft: number;
}

/**
 * Limits on what a container may use: bytes, CPU shares, microseconds of a period, 1e-9 CPUs.
 *
 * @see Engine API v1.51, Resources
 */
export interface Resources {
  readonly CpuShares: number;
  readonly Memory: number;
  readonly NanoCpus: number;
  readonly CgroupParent: string;
  readonly BlkioWeight: number;
  readonly BlkioWeightDevice: readonly WeightDevice[] | null;
  readonly BlkioDeviceReadBps: readonly ThrottleDevice[] | null;
  readonly BlkioDeviceWriteBps: readonly ThrottleDevice[] | null;
  readonly BlkioDeviceReadIOps: readonly ThrottleDevice[] | null;
  readonly BlkioDeviceWriteIOps: readonly ThrottleDevice[] | null;
  readonly CpuPeriod: number;
  readonly CpuQuota: number;
  readonly CpuRealtimePeriod: number;
  readonly CpuRealtimeRuntime: number;
  readonly CpusetCpus: string;
  readonly CpusetMems: string;
  readonly Devices: readonly DeviceMapping[] | null;
  readonly DeviceCgroupRules: readonly string[] | null;
  readonly DeviceRequests: readonly DeviceRequest[] | null;
  /** Of API 1.41 and older; ignored since. */
  readonly KernelMemory?: number;
  readonly KernelMemoryTCP?: number;
  readonly MemoryReservation: number;
  readonly MemorySwap: number;
  readonly MemorySwappiness: number | null;
  readonly OomKillDisable: boolean | null;
  /** null leaves it as it is; 0 and -1 are unlimited. */
  readonly PidsLimit: number | null;
  readonly Ulimits: readonly Ulimit[] | null;
  readonly CpuCount: number;
  readonly CpuPercent: number;
  readonly IOMaximumIOps: number;
  readonly IOMaximumBandwidth: number;
}

/**
 * Where a container's output goes.
 *
 * @see Engine API v1.51, HostConfig.LogConfig
 */
export interface LogConfig {
  readonly Type: string;
  readonly Config: StringMap | null;
}

/**
 * When a container is started again. `Name` is "", "no", "always", "unless-stopped" or
 * "on-failure", and is checked by the engine, not by the decoder.
 *
 * @see Engine API v1.51, RestartPolicy
 */
export interface RestartPolicy {
  readonly Name: string;
  readonly MaximumRetryCount: number;
}

/**
 * One host address and port. Both are texts; an empty or "0" port asks for a free one, "a-b" for
 * one of a range.
 *
 * @see Engine API v1.51, PortBinding
 */
export interface PortBinding {
  readonly HostIp: string;
  readonly HostPort: string;
}

/**
 * Host bindings by container port ("80/tcp"); null is an exposed port without a binding.
 *
 * @see Engine API v1.51, PortMap
 */
export type PortMap = Readonly<Record<string, readonly PortBinding[] | null>>;

/** What a mount's source is. */
export const mountTypes = ["bind", "volume", "image", "tmpfs", "npipe", "cluster"] as const;

/** @see Engine API v1.51, MountType */
export type MountType = (typeof mountTypes)[number];

/** @see Engine API v1.51, Mount.BindOptions */
export interface BindOptions {
  readonly Propagation?: string;
  readonly NonRecursive?: boolean;
  readonly CreateMountpoint?: boolean;
  readonly ReadOnlyNonRecursive?: boolean;
  readonly ReadOnlyForceRecursive?: boolean;
}

/** @see Engine API v1.51, Mount.VolumeOptions.DriverConfig */
export interface MountDriver {
  readonly Name?: string;
  readonly Options?: StringMap;
}

/** @see Engine API v1.51, Mount.VolumeOptions */
export interface VolumeOptions {
  readonly NoCopy?: boolean;
  readonly Labels?: StringMap;
  readonly Subpath?: string;
  readonly DriverConfig?: MountDriver;
}

/** @see Engine API v1.51, Mount.ImageOptions */
export interface ImageOptions {
  readonly Subpath?: string;
}

/** @see Engine API v1.51, Mount.TmpfsOptions */
export interface TmpfsOptions {
  readonly SizeBytes?: number;
  readonly Mode?: number;
  /** Each is `[flag]` or `[key, value]`. */
  readonly Options?: readonly (readonly string[])[];
}

/**
 * A mount as `--mount` asks for it. `Type` is one of `mountTypes` or anything a client wrote: the
 * engine refuses the rest by name.
 *
 * @see Engine API v1.51, Mount
 */
export interface Mount {
  readonly Type?: string;
  readonly Source?: string;
  readonly Target?: string;
  readonly ReadOnly?: boolean;
  readonly Consistency?: string;
  readonly BindOptions?: BindOptions;
  readonly VolumeOptions?: VolumeOptions;
  readonly ImageOptions?: ImageOptions;
  readonly TmpfsOptions?: TmpfsOptions;
}

/**
 * The half of a container's configuration that belongs to this host.
 *
 * @see Engine API v1.51, HostConfig
 */
export interface HostConfig extends Resources {
  /** `source:target[:options]`. */
  readonly Binds: readonly string[] | null;
  readonly ContainerIDFile: string;
  readonly LogConfig: LogConfig;
  readonly NetworkMode: string;
  readonly PortBindings: PortMap | null;
  readonly RestartPolicy: RestartPolicy;
  readonly AutoRemove: boolean;
  readonly VolumeDriver: string;
  readonly VolumesFrom: readonly string[] | null;
  /** Rows, columns. */
  readonly ConsoleSize: readonly [height: number, width: number];
  readonly Annotations?: StringMap;
  readonly CapAdd: readonly string[] | null;
  readonly CapDrop: readonly string[] | null;
  readonly CgroupnsMode: string;
  readonly Dns: readonly string[] | null;
  readonly DnsOptions: readonly string[] | null;
  readonly DnsSearch: readonly string[] | null;
  readonly ExtraHosts: readonly string[] | null;
  readonly GroupAdd: readonly string[] | null;
  readonly IpcMode: string;
  readonly Cgroup: string;
  readonly Links: readonly string[] | null;
  readonly OomScoreAdj: number;
  readonly PidMode: string;
  readonly Privileged: boolean;
  readonly PublishAllPorts: boolean;
  readonly ReadonlyRootfs: boolean;
  readonly SecurityOpt: readonly string[] | null;
  readonly StorageOpt?: StringMap;
  /** Mount options by target. */
  readonly Tmpfs?: StringMap;
  readonly UTSMode: string;
  readonly UsernsMode: string;
  /** Bytes. */
  readonly ShmSize: number;
  readonly Sysctls?: StringMap;
  readonly Runtime?: string;
  readonly Isolation: string;
  readonly Mounts?: readonly Mount[];
  /** null takes the defaults, `[]` masks nothing. */
  readonly MaskedPaths: readonly string[] | null;
  /** null takes the defaults, `[]` protects nothing. */
  readonly ReadonlyPaths: readonly string[] | null;
  readonly Init?: boolean;
}
