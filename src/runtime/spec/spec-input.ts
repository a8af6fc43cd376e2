/**
 * What the OCI runtime spec of a container is made from: plain data, in the engine's words.
 */

/** A mount that somebody asked for: a bind, a volume's directory, or a tmpfs. */
export interface MountInput {
  readonly type: "bind" | "volume" | "tmpfs";
  /** Absolute host path; absent for tmpfs. */
  readonly source?: string;
  /** Absolute path inside the container. */
  readonly target: string;
  readonly isReadOnly: boolean;
  /** `rprivate` when absent. */
  readonly propagation?: string;
  /** `true`: `rbind`; false: `bind` only. */
  readonly isRecursive: boolean;
  /** How far read-only reaches: `recursive` (needs Linux 5.12; falls back to the mount alone),
   * `forced` (fails where it cannot), `top`. */
  readonly readOnlyDepth?: "recursive" | "forced" | "top";
  /** tmpfs: mount options as given (`size=64m`, `mode=1777`, `noexec`, …). */
  readonly options?: readonly string[];
  /** A Dockerfile asks for it, which may be anybody's: it may not cover /dev. No volume may. */
  readonly isUntrusted?: boolean;
}

/** Limits, in the units of the wire's HostConfig. Absent or 0: not limited. */
export interface ResourceInput {
  readonly memoryBytes?: number;
  /** −1: swap without limit. */
  readonly memorySwapBytes?: number;
  readonly memoryReservationBytes?: number;
  readonly memorySwappiness?: number;
  readonly isOomKillDisabled?: boolean;
  readonly cpuShares?: number;
  readonly cpuPeriodUs?: number;
  readonly cpuQuotaUs?: number;
  readonly cpuRealtimePeriodUs?: number;
  readonly cpuRealtimeRuntimeUs?: number;
  /** Billionths of a CPU. */
  readonly nanoCpus?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly pidsMax?: number;
  readonly blkioWeight?: number;
  readonly blkioWeightDevices?: readonly { readonly path: string; readonly weight: number }[];
  readonly readBps?: readonly { readonly path: string; readonly rate: number }[];
  readonly writeBps?: readonly { readonly path: string; readonly rate: number }[];
  readonly readIops?: readonly { readonly path: string; readonly rate: number }[];
  readonly writeIops?: readonly { readonly path: string; readonly rate: number }[];
  readonly ulimits?: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly deviceCgroupRules?: readonly string[];
}

/** Whose namespace a container uses. `path` is a file to join; `private` a new one. */
export type NamespaceInput =
  | { readonly kind: "private" }
  | { readonly kind: "host" }
  | { readonly kind: "path"; readonly path: string };

/** Everything about one container that its spec depends on. */
export interface SpecInput {
  readonly containerId: string;
  readonly hostname: string;
  readonly domainname?: string;
  /** Absolute path where the root file system will be mounted. */
  readonly rootfs: string;
  /** Directory whose files are looked up for users and groups before the rootfs is mounted: the
   * layers' directories, uppermost first. */
  readonly layerDirs: readonly string[];
  readonly isRootReadOnly: boolean;
  /** The command, entrypoint and arguments merged; at least one element. */
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  /** `user[:group]`, names or numbers, as asked; "" is root. */
  readonly user: string;
  readonly groupAdd: readonly string[];
  readonly hasTty: boolean;
  /** Size that the terminal has before the program starts. */
  readonly consoleSize?: { readonly height: number; readonly width: number };
  /** Run the init helper as pid 1; absolute host path of its binary. */
  readonly initPath?: string;
  readonly isPrivileged: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  /** As given: `seccomp=unconfined`, `no-new-privileges`, `systempaths=unconfined`, … */
  readonly securityOpt: readonly string[];
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly devices: readonly {
    readonly pathOnHost: string;
    readonly pathInContainer: string;
    readonly permissions: string;
  }[];
  readonly mounts: readonly MountInput[];
  /** Host paths of the container's own `hostname`, `hosts`, `resolv.conf`. */
  readonly etcFiles: {
    readonly hostname?: string;
    readonly hosts?: string;
    readonly resolvConf?: string;
    readonly areReadOnly?: boolean;
  };
  readonly shmSizeBytes: number;
  readonly namespaces: {
    /** `inherited`: the namespace of whoever runs the OCI runtime (the shim's sandbox), which is
     * the container's own. */
    readonly network: NamespaceInput | { readonly kind: "inherited" };
    readonly pid: NamespaceInput;
    readonly ipc: NamespaceInput | { readonly kind: "none" };
    readonly uts: NamespaceInput;
    readonly cgroup: NamespaceInput;
    readonly user: NamespaceInput;
  };
  /** `/dev/shm` of another container or the host to bind, where IPC is shared. */
  readonly shmPath?: string;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly resources: ResourceInput;
  /** As `/tug/<id>`. */
  readonly cgroupsPath: string;
  readonly oomScoreAdj: number;
  readonly annotations: Readonly<Record<string, string>>;
  readonly hasDefaultNoNewPrivileges?: boolean;
}
