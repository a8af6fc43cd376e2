/**
 * What a shim does to its own network sandbox and mounts before the container starts: plain data,
 * made by the daemon.
 */

/** The root file system to mount at `target`. Same shape as a snapshot's mount, with its place. */
export interface SnapshotMountPlan {
  readonly type: "overlay" | "bind";
  readonly source?: string;
  readonly lowerDirs?: readonly string[];
  readonly upperDir?: string;
  readonly workDir?: string;
  readonly isReadOnly: boolean;
  /** Absolute path on the exec root. */
  readonly target: string;
}

/** An interface that the daemon has put into the sandbox, to be configured there. */
export interface InterfacePlan {
  /** Name inside, as created by the daemon. */
  readonly name: string;
  /** CIDR, as `172.17.0.2/16`. */
  readonly addresses: readonly string[];
  readonly gateway?: string;
  readonly gateway6?: string;
}

/** A host port to reserve, and to serve for clients of the host itself. */
export interface PortPlan {
  readonly protocol: "tcp" | "udp";
  readonly hostIp: string;
  /** First and last host port to try, in order; 0 and 0 let the kernel choose. */
  readonly hostPortFirst: number;
  readonly hostPortLast: number;
  readonly containerPort: number;
  /** Ports with the same group get the same number on each of their host addresses. */
  readonly group: number;
}

/** A host port that is bound. */
export interface BoundPort {
  readonly protocol: "tcp" | "udp";
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** What networks want inside the sandbox of one container. */
export interface SandboxWishes {
  readonly interfaces: readonly InterfacePlan[];
  /** Listen on 127.0.0.11:53 and forward. `upstreams` empty: the host's /etc/resolv.conf, read
   * again whenever it changes. `names`: answered here. */
  readonly dns?: {
    readonly upstreams: readonly string[];
    readonly names: Readonly<Record<string, readonly string[]>>;
  };
  readonly ports: readonly PortPlan[];
}

/** What a shim does in its network sandbox. */
export interface SandboxPlan extends SandboxWishes {
  /** Sysctls that its interfaces need, before they are up. */
  readonly sysctls: Readonly<Record<string, string>>;
}

/** The plan for what networks want inside; undefined when they want nothing. */
export function planSandbox(inside: SandboxWishes): SandboxPlan | undefined {
  const { interfaces, dns, ports } = inside;
  if (interfaces.length === 0 && dns === undefined && ports.length === 0) return undefined;
  // An endpoint without IPv6 must not give itself an address.
  const plain = interfaces.filter(({ addresses }) => !addresses.some((each) => each.includes(":")));
  const sysctls = plain.map(({ name }) => [`net.ipv6.conf.${name}.disable_ipv6`, "1"]);
  return { ...inside, sysctls: Object.fromEntries(sysctls) };
}
