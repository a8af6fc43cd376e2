/**
 * What a runtime spec depends on besides the container: facts of the host, read once at start.
 */
import { readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { EngineError } from "../../lib/errors.ts";
import type { RuntimeRlimit } from "../../oci/runtime-spec.ts";
import { boundingCapabilities } from "../../sys/capability.ts";
import { cgroupVersion as detectCgroupVersion } from "../../sys/cgroup.ts";
import { type HostDevice, listHostDevices } from "./devices.ts";
import { parseHardLimits } from "./rlimits.ts";
import {
  decodeSeccompProfile,
  type SeccompProfile,
  withDockerAnswers,
} from "../seccomp/seccomp.ts";

/** Where Debian's golang-github-containers-common installs the profile. */
export const seccompProfilePath = "/usr/share/containers/seccomp.json";

const allowAll: SeccompProfile = {
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: [],
  archMap: [],
  flags: [],
  rules: [],
};
const nofileMax = 1_048_576;

/** What the kernel's cgroups can limit; a limit beyond it is dropped with a warning. */
export interface CgroupSupport {
  readonly memory: boolean;
  readonly swap: boolean;
  readonly swappiness: boolean;
  readonly reservation: boolean;
  readonly oomKillDisable: boolean;
  readonly cpuShares: boolean;
  readonly cpuQuota: boolean;
  readonly cpuRealtime: boolean;
  readonly cpuset: boolean;
  readonly pids: boolean;
  readonly blkioWeight: boolean;
  readonly blkioThrottle: boolean;
}

/** Facts of the host; all but `devices` are read once. */
export interface HostFacts {
  /** Capabilities that the engine can hand on, in the kernel's order. */
  readonly boundingCapabilities: readonly string[];
  readonly kernelVersion: { readonly major: number; readonly minor: number };
  /** As Go and OCI say it: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly cgroupVersion: 1 | 2;
  readonly cgroupSupport: CgroupSupport;
  /** CPUs that can ever be there (`0-3` as numbers): each may have files to mask. */
  readonly possibleCpus: readonly number[];
  readonly onlineCpus: readonly number[];
  readonly memoryNodes: readonly number[];
  /** Limits that every container starts with unless it asks for others. */
  readonly rlimits: readonly RuntimeRlimit[];
  /** What the engine itself may have, by type (`RLIMIT_NOFILE`). */
  readonly hardLimits: Readonly<Record<string, number>>;
  readonly hasAppArmor: boolean;
  readonly hasSelinux: boolean;
  /** Undefined where no profile is installed: containers are then refused, not run without. */
  readonly seccompProfile?: SeccompProfile;
  /** The device nodes under /dev, read now. */
  devices(): readonly HostDevice[];
}

/**
 * Reads the facts of this host.
 *
 * @param options.seccompPath the operator's own default profile, taken as it is, or `builtin` or
 * `unconfined`
 * @throws invalid-argument when a seccomp profile cannot be understood, or the operator's is missing
 */
export function readHostFacts(options: { readonly seccompPath?: string } = {}): HostFacts {
  const cgroupVersion = detectCgroupVersion();
  const seccompProfile = readSeccompProfile(options.seccompPath ?? "builtin");
  const hardLimits = parseHardLimits(readText("/proc/self/limits") ?? "");
  const onlineCpus = readSet("/sys/devices/system/cpu/online", [0]);
  return {
    boundingCapabilities: boundingCapabilities(),
    kernelVersion: parseKernelVersion(release()),
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    cgroupVersion,
    cgroupSupport: cgroupVersion === 2 ? readSupportV2() : readSupportV1(),
    possibleCpus: readSet("/sys/devices/system/cpu/possible", onlineCpus),
    onlineCpus,
    memoryNodes: readSet("/sys/devices/system/node/online", [0]),
    rlimits: inheritedRlimits(hardLimits),
    hardLimits,
    hasAppArmor: readText("/sys/module/apparmor/parameters/enabled")?.trim() === "Y",
    hasSelinux: exists("/sys/fs/selinux/enforce"),
    ...(seccompProfile === undefined ? {} : { seccompProfile }),
    devices: () => listHostDevices("/dev"),
  };
}

function readSeccompProfile(path: string): SeccompProfile | undefined {
  if (path === "unconfined") return allowAll;
  const isBuiltin = path === "builtin";
  const text = readText(isBuiltin ? seccompProfilePath : path);
  if (text !== undefined) {
    const profile = decodeSeccompProfile(text);
    return isBuiltin ? withDockerAnswers(profile) : profile;
  }
  if (isBuiltin) return undefined;
  throw new EngineError("invalid-argument", `opening seccomp profile (${path}): no such file`);
}

/** Parses `6.1.0-18-amd64`; 0.0 when it is something else. */
export function parseKernelVersion(text: string): {
  readonly major: number;
  readonly minor: number;
} {
  const match = /^(\d+)\.(\d+)/.exec(text);
  return { major: Number(match?.[1] ?? 0), minor: Number(match?.[2] ?? 0) };
}

/**
 * Parses a list of numbers as the kernel and cpusets write it: `0-2,7`.
 *
 * @returns the numbers in rising order; undefined when the text is no such list
 */
export function parseNumberSet(text: string): readonly number[] | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(",").map((piece) => piece.trim())) {
    if (part === "") continue;
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    if (match === null) return undefined;
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (last < first) return undefined;
    for (let number = first; number <= last; number += 1) numbers.add(number);
  }
  return [...numbers].sort((a, b) => a - b);
}

/**
 * The limits a container is born with: the engine's own runtime has raised its soft limit of open
 * files to the hard one, so this one is told explicitly; the others pass on unchanged.
 */
function inheritedRlimits(hardLimits: Readonly<Record<string, number>>): readonly RuntimeRlimit[] {
  const hard = hardLimits["RLIMIT_NOFILE"];
  if (hard === undefined) return [];
  // Docker: soft and hard alike, at most 1048576 as its service file says, seen in 28.5
  const limit = Math.min(hard, nofileMax);
  return [{ type: "RLIMIT_NOFILE", soft: limit, hard: limit }];
}

function readSupportV1(): CgroupSupport {
  const has = (name: string): boolean => exists(`/sys/fs/cgroup/${name}`);
  return {
    memory: has("memory/memory.limit_in_bytes"),
    swap: has("memory/memory.memsw.limit_in_bytes"),
    swappiness: has("memory/memory.swappiness"),
    reservation: has("memory/memory.soft_limit_in_bytes"),
    oomKillDisable: has("memory/memory.oom_control"),
    cpuShares: has("cpu/cpu.shares"),
    cpuQuota: has("cpu/cpu.cfs_quota_us"),
    cpuRealtime: has("cpu/cpu.rt_runtime_us"),
    cpuset: has("cpuset/cpuset.cpus"),
    pids: has("pids"),
    blkioWeight: has("blkio/blkio.weight") || has("blkio/blkio.bfq.weight"),
    blkioThrottle: has("blkio/blkio.throttle.read_bps_device"),
  };
}

function readSupportV2(): CgroupSupport {
  const names = (readText("/sys/fs/cgroup/cgroup.controllers") ?? "").trim().split(" ");
  const memory = names.includes("memory");
  return {
    memory,
    swap: memory && exists("/proc/swaps"),
    swappiness: false,
    reservation: memory,
    oomKillDisable: false,
    cpuShares: names.includes("cpu"),
    cpuQuota: names.includes("cpu"),
    cpuRealtime: false,
    cpuset: names.includes("cpuset"),
    pids: names.includes("pids"),
    blkioWeight: names.includes("io"),
    blkioThrottle: names.includes("io"),
  };
}

function readSet(path: string, fallback: readonly number[]): readonly number[] {
  const numbers = parseNumberSet(readText(path) ?? "");
  return numbers === undefined || numbers.length === 0 ? fallback : numbers;
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function readText(path: string): string | undefined {
  return exists(path) ? readFileSync(path, "utf8") : undefined;
}
