/**
 * The OCI runtime-spec's config.json, as far as this program writes it, and the runtime's answer.
 *
 * @see OCI runtime-spec v1.2, config.md, config-linux.md, runtime.md
 */

/** config.json: all that the runtime is told about a container. */
export interface RuntimeSpec {
  readonly ociVersion: string;
  readonly process?: RuntimeProcess;
  readonly root?: { readonly path: string; readonly readonly?: boolean };
  readonly hostname?: string;
  readonly domainname?: string;
  readonly mounts?: readonly RuntimeMount[];
  readonly hooks?: RuntimeHooks;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux?: RuntimeLinux;
}

/** A process of a container: the first one, or one added by exec. */
export interface RuntimeProcess {
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly user: RuntimeUser;
  readonly args: readonly string[];
  readonly env?: readonly string[];
  /** Absolute, inside the container. */
  readonly cwd: string;
  readonly capabilities?: RuntimeCapabilities;
  readonly rlimits?: readonly RuntimeRlimit[];
  readonly noNewPrivileges?: boolean;
  readonly apparmorProfile?: string;
  readonly oomScoreAdj?: number;
  readonly selinuxLabel?: string;
  readonly ioPriority?: { readonly class: string; readonly priority: number };
  readonly scheduler?: {
    readonly policy: string;
    readonly nice?: number;
    readonly priority?: number;
    readonly flags?: readonly string[];
  };
}

/** Who a process runs as; numbers alone, names are looked up before. */
export interface RuntimeUser {
  readonly uid: number;
  readonly gid: number;
  readonly umask?: number;
  readonly additionalGids?: readonly number[];
}

/** Sets of capabilities by their names ("CAP_CHOWN"). */
export interface RuntimeCapabilities {
  readonly bounding?: readonly string[];
  readonly effective?: readonly string[];
  readonly inheritable?: readonly string[];
  readonly permitted?: readonly string[];
  readonly ambient?: readonly string[];
}

/** A limit of setrlimit(2), by name ("RLIMIT_NOFILE"). */
export interface RuntimeRlimit {
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

/** A mount, made in the order of the list. */
export interface RuntimeMount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options?: readonly string[];
  readonly uidMappings?: readonly RuntimeIdMapping[];
  readonly gidMappings?: readonly RuntimeIdMapping[];
}

/** A range of user or group IDs and where it stands on the host. */
export interface RuntimeIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** Programs that the runtime calls on its way. */
export interface RuntimeHooks {
  readonly prestart?: readonly RuntimeHook[];
  readonly createRuntime?: readonly RuntimeHook[];
  readonly createContainer?: readonly RuntimeHook[];
  readonly startContainer?: readonly RuntimeHook[];
  readonly poststart?: readonly RuntimeHook[];
  readonly poststop?: readonly RuntimeHook[];
}

/** One program that the runtime calls; `timeout` in seconds. */
export interface RuntimeHook {
  readonly path: string;
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  readonly timeout?: number;
}

/** How a mount of the root spreads to others and from them. */
export type RootfsPropagation =
  | "private"
  | "shared"
  | "slave"
  | "unbindable"
  | "rprivate"
  | "rshared"
  | "rslave"
  | "runbindable";

/** What only Linux has. */
export interface RuntimeLinux {
  readonly namespaces?: readonly RuntimeNamespace[];
  readonly uidMappings?: readonly RuntimeIdMapping[];
  readonly gidMappings?: readonly RuntimeIdMapping[];
  readonly timeOffsets?: Readonly<
    Record<string, { readonly secs?: number; readonly nanosecs?: number }>
  >;
  readonly devices?: readonly RuntimeDevice[];
  readonly cgroupsPath?: string;
  readonly resources?: RuntimeResources;
  readonly rootfsPropagation?: RootfsPropagation;
  readonly seccomp?: RuntimeSeccomp;
  readonly sysctl?: Readonly<Record<string, string>>;
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly mountLabel?: string;
  readonly personality?: {
    readonly domain: "LINUX" | "LINUX32";
    readonly flags?: readonly string[];
  };
}

/** Kinds of namespaces. */
export type NamespaceType =
  | "pid"
  | "network"
  | "mount"
  | "ipc"
  | "uts"
  | "user"
  | "cgroup"
  | "time";

/** A namespace: a new one, or the one at `path`. */
export interface RuntimeNamespace {
  readonly type: NamespaceType;
  readonly path?: string;
}

/** A device node made in the container; type c, b, u or p as in mknod(1). */
export interface RuntimeDevice {
  readonly type: "c" | "b" | "u" | "p";
  readonly path: string;
  readonly major?: number;
  readonly minor?: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** Limits that cgroups hold. */
export interface RuntimeResources {
  readonly devices?: readonly RuntimeDeviceRule[];
  readonly memory?: RuntimeMemory;
  readonly cpu?: RuntimeCpu;
  readonly pids?: { readonly limit: number };
  readonly blockIO?: RuntimeBlockIo;
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly network?: {
    readonly classID?: number;
    readonly priorities?: readonly { readonly name: string; readonly priority: number }[];
  };
  readonly rdma?: Readonly<
    Record<string, { readonly hcaHandles?: number; readonly hcaObjects?: number }>
  >;
  /** Files of cgroup v2, written as they are. */
  readonly unified?: Readonly<Record<string, string>>;
}

/** Allows or denies a device; -1 or nothing stands for every number. */
export interface RuntimeDeviceRule {
  readonly allow: boolean;
  readonly type?: "a" | "b" | "c";
  readonly major?: number;
  readonly minor?: number;
  /** Of "r", "w" and "m". */
  readonly access?: string;
}

/** Memory in bytes; -1 for no limit. */
export interface RuntimeMemory {
  readonly limit?: number;
  readonly reservation?: number;
  /** Memory and swap together. */
  readonly swap?: number;
  readonly kernel?: number;
  readonly kernelTCP?: number;
  readonly swappiness?: number;
  readonly disableOOMKiller?: boolean;
  readonly useHierarchy?: boolean;
  readonly checkBeforeUpdate?: boolean;
}

/** Processor time; quota and period in microseconds. */
export interface RuntimeCpu {
  readonly shares?: number;
  readonly quota?: number;
  readonly burst?: number;
  readonly period?: number;
  readonly realtimeRuntime?: number;
  readonly realtimePeriod?: number;
  readonly cpus?: string;
  readonly mems?: string;
  readonly idle?: number;
}

/** Weights and rates of block devices. */
export interface RuntimeBlockIo {
  readonly weight?: number;
  readonly leafWeight?: number;
  readonly weightDevice?: readonly RuntimeWeightDevice[];
  readonly throttleReadBpsDevice?: readonly RuntimeThrottleDevice[];
  readonly throttleWriteBpsDevice?: readonly RuntimeThrottleDevice[];
  readonly throttleReadIOPSDevice?: readonly RuntimeThrottleDevice[];
  readonly throttleWriteIOPSDevice?: readonly RuntimeThrottleDevice[];
}

/** The weight of one block device. */
export interface RuntimeWeightDevice {
  readonly major: number;
  readonly minor: number;
  readonly weight?: number;
  readonly leafWeight?: number;
}

/** The rate of one block device: bytes or operations a second. */
export interface RuntimeThrottleDevice {
  readonly major: number;
  readonly minor: number;
  readonly rate: number;
}

/** What a filter does with a call. */
export type SeccompAction =
  | "SCMP_ACT_KILL"
  | "SCMP_ACT_KILL_PROCESS"
  | "SCMP_ACT_KILL_THREAD"
  | "SCMP_ACT_TRAP"
  | "SCMP_ACT_ERRNO"
  | "SCMP_ACT_TRACE"
  | "SCMP_ACT_ALLOW"
  | "SCMP_ACT_LOG"
  | "SCMP_ACT_NOTIFY";

/** How an argument of a call is compared. */
export type SeccompOperator =
  | "SCMP_CMP_NE"
  | "SCMP_CMP_LT"
  | "SCMP_CMP_LE"
  | "SCMP_CMP_EQ"
  | "SCMP_CMP_GE"
  | "SCMP_CMP_GT"
  | "SCMP_CMP_MASKED_EQ";

/** The filter of system calls. */
export interface RuntimeSeccomp {
  readonly defaultAction: SeccompAction;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  readonly listenerPath?: string;
  readonly listenerMetadata?: string;
  readonly syscalls?: readonly RuntimeSyscall[];
}

/** What happens to the calls named, when their arguments match. */
export interface RuntimeSyscall {
  readonly names: readonly string[];
  readonly action: SeccompAction;
  readonly errnoRet?: number;
  readonly args?: readonly {
    readonly index: number;
    readonly value: number;
    readonly valueTwo?: number;
    readonly op: SeccompOperator;
  }[];
}

/** What `state` of a runtime prints. @see OCI runtime-spec v1.2, runtime.md, "State" */
export interface RuntimeState {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: "creating" | "created" | "running" | "stopped" | "paused";
  /** Missing once stopped. */
  readonly pid?: number;
  readonly bundle: string;
  readonly annotations?: Readonly<Record<string, string>>;
}
