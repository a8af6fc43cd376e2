/**
 * Control groups, version 1 (also the hybrid layout) and 2.
 *
 * A cgroup is named by its path below the root of the hierarchies (`/tug/4f0c…`), the same in all
 * of them. On version 1 each controller has a hierarchy of its own; what must be one (the PIDs) is
 * read from the first of `pids`, `memory`, or any.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join, normalize } from "node:path";
import { EngineError } from "../lib/errors.ts";
import { openFdReader } from "./fd-stream.ts";
import { check, lazyLibc, nodeFailure, openFlags, systemCode, translated } from "./libc.ts";
import { mount, readMountInfo } from "./mount/mount.ts";
import { signalProcess } from "./process/process.ts";

const libc = lazyLibc({ eventfd: { args: ["u32", "i32"], returns: "i32" } });

const folder = "/sys/fs/cgroup";
/** Version 1 tells of the shortage before it kills: when to look at the counter. */
const oomLookDelaysMs = [0, 20, 100, 500];
const killRoundCountMax = 50;
const removeAttemptCountMax = 20;
const removeRetryMs = 10;
/** A limit that large means none (version 1 writes 2^63 less a page). */
const unlimitedFromBytes = 2 ** 62;

interface Hierarchy {
  readonly controllers: readonly string[];
  readonly target: string;
}

/** 1 when the memory controller is mounted as version 1, as in the hybrid layout; else 2. */
export function cgroupVersion(): 1 | 2 {
  return cgroupMounts().hierarchies.some(({ controllers: names }) => names.includes("memory"))
    ? 1
    : 2;
}

/** The controllers that can be used. */
export function controllers(): string[] {
  if (cgroupVersion() === 1)
    return cgroupMounts().hierarchies.flatMap((hierarchy) => hierarchy.controllers);
  return (readOptional(join(folder, "cgroup.controllers")) ?? "").split(/\s+/).filter(Boolean);
}

/** What is mounted of control groups. */
interface CgroupMounts {
  /** Of version 1; named ones (`name=systemd`) have no controllers here. */
  readonly hierarchies: readonly Hierarchy[];
  /** Where any of them is. */
  readonly roots: readonly string[];
}

let mounts: CgroupMounts | undefined;

/** Looked for once: a system decides when it starts where it has them. */
function cgroupMounts(): CgroupMounts {
  mounts ??= findMounts();
  return mounts;
}

function findMounts(): CgroupMounts {
  const known = new Set(
    (readOptional("/proc/cgroups") ?? "").split("\n").map((line) => line.split("\t")[0] ?? ""),
  );
  const all = readMountInfo().filter(({ type }) => type === "cgroup" || type === "cgroup2");
  const hierarchies = all
    .filter((info) => info.type === "cgroup")
    .map((info) => ({
      controllers: info.superOptions.filter((option) => known.has(option)),
      target: info.target,
    }))
    .filter((hierarchy) => hierarchy.controllers.length > 0);
  return { hierarchies, roots: all.map((info) => info.target) };
}

/**
 * Mounts what the OCI runtime demands and the system did not: on version 1, `hugetlb`.
 *
 * @returns the controllers that were mounted now
 */
export function ensureCgroupMounts(): string[] {
  if (cgroupVersion() === 2) return [];
  const name = "hugetlb";
  // Name, hierarchy, count, enabled.
  const isEnabled = /^hugetlb\t0\t\d+\t1$/m.test(readOptional("/proc/cgroups") ?? "");
  if (!isEnabled || controllers().includes(name)) return [];
  const target = join(folder, name);
  translated(`make folder ${target}`, () => mkdirSync(target, { recursive: true }));
  mount({ source: name, target, type: "cgroup", data: name });
  mounts = undefined;
  return [name];
}

/** Where hierarchies are mounted, the named ones and the empty unified one included. */
export function cgroupRoots(): readonly string[] {
  return cgroupMounts().roots;
}

/** Where a cgroup lies: controller → folder on version 1, `""` → folder on version 2. */
export function cgroupPaths(relativePath: string): ReadonlyMap<string, string> {
  if (normalize(`/${relativePath}`).slice(1) !== relativePath.replace(/^\//, "")) {
    throw new EngineError(
      "invalid-argument",
      `invalid cgroup path ${JSON.stringify(relativePath)}`,
    );
  }
  if (cgroupVersion() === 2) return new Map([["", join(folder, relativePath)]]);
  return new Map(
    cgroupMounts().hierarchies.flatMap(({ controllers: names, target }) =>
      names.map((name): [string, string] => [name, join(target, relativePath)]),
    ),
  );
}

function pathFor(relativePath: string, controller: string): string {
  const paths = cgroupPaths(relativePath);
  const found = paths.get("") ?? paths.get(controller);
  if (found !== undefined) return found;
  throw new EngineError("unavailable", `cgroup controller ${controller} is not mounted`);
}

/** The processes in a cgroup and those below it; none when it is gone. */
export function cgroupPids(path: string): number[] {
  const paths = cgroupPaths(path);
  const root = paths.get("") ?? paths.get("pids") ?? paths.get("memory") ?? [...paths.values()][0];
  return root === undefined ? [] : foldersBelow(root).flatMap(pidsOf);
}

function pidsOf(path: string): number[] {
  const text = readOptional(join(path, "cgroup.procs")) ?? "";
  // 0 stands for processes of another PID namespace.
  return text
    .split("\n")
    .map(Number)
    .filter((pid) => pid > 0);
}

/** A cgroup and those below it, a parent before its children; nothing when it is gone. */
function foldersBelow(path: string): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    const below = entries.filter((entry) => entry.isDirectory());
    return [path, ...below.flatMap((entry) => foldersBelow(join(path, entry.name)))];
  } catch (error) {
    if (isGone(error)) return [];
    throw nodeFailure(error, `list cgroup ${path}`);
  }
}

/** How many processes of a cgroup the kernel has killed for want of memory; 0 when it is gone. */
export function oomKillCount(path: string): number {
  const isFirst = cgroupVersion() === 1;
  const file = isFirst ? "memory.oom_control" : "memory.events";
  const text = readOptional(join(pathFor(path, "memory"), file)) ?? "";
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}

/**
 * Calls `onOom` after each time the kernel has killed in a cgroup for want of memory.
 *
 * Several kills at once may be one call. It ends with the cgroup, or by `close`.
 */
export function watchOom(path: string, onOom: () => void): { close(): void } {
  let seenCount = oomKillCount(path);
  const timers = new Set<ReturnType<typeof setTimeout>>();
  const look = (): void => {
    const count = oomKillCount(path);
    if (count <= seenCount) return;
    seenCount = count;
    onOom();
  };
  const lookSoon = (): void => {
    for (const delayMs of oomLookDelaysMs) {
      const timer = setTimeout(() => {
        timers.delete(timer);
        look();
      }, delayMs);
      timers.add(timer);
    }
  };
  const source = cgroupVersion() === 1 ? watchEvent(path, lookSoon) : watchFile(path, look);
  return {
    close() {
      source.close();
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
  };
}

/** Version 1: an eventfd that the kernel writes, also when the cgroup is removed. */
function watchEvent(path: string, onEvent: () => void): { close(): void } {
  const memory = pathFor(path, "memory");
  const event = check(
    libc().eventfd(0, openFlags.nonblock | openFlags.closeOnExec),
    "make eventfd",
  );
  try {
    const control = openSync(join(memory, "memory.oom_control"), openFlags.closeOnExec);
    try {
      writeFileSync(join(memory, "cgroup.event_control"), `${event} ${control}`, { flag: "r+" });
    } finally {
      closeSync(control);
    }
  } catch (error) {
    closeSync(event);
    throw nodeFailure(error, `watch memory of cgroup ${path}`);
  }
  const reader = openFdReader(event, {
    onData: () => {
      if (existsSync(memory)) onEvent();
      else reader.close();
    },
    onEnd: () => undefined,
  });
  return reader;
}

function watchFile(path: string, onEvent: () => void): { close(): void } {
  return translated(`watch memory of cgroup ${path}`, () => {
    const watcher = watch(join(pathFor(path, "memory"), "memory.events"), onEvent);
    watcher.on("error", () => watcher.close());
    return watcher;
  });
}

/** Kills every process of a cgroup and below, frozen ones too. It does not wait for their end. */
export function killCgroup(path: string): void {
  const paths = cgroupPaths(path);
  const unified = paths.get("");
  if (unified !== undefined && writeOptional(join(unified, "cgroup.kill"), "1")) return;
  const signaled = new Set<number>();
  for (let round = 0; round < killRoundCountMax; round += 1) {
    // What a process started before its end is met in the next round.
    const fresh = cgroupPids(path).filter((pid) => !signaled.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      signalProcess(pid, "SIGKILL");
      signaled.add(pid);
    }
  }
  const freezer = paths.get("freezer");
  if (freezer !== undefined) writeOptional(join(freezer, "freezer.state"), "THAWED");
  if (unified !== undefined) writeOptional(join(unified, "cgroup.freeze"), "0");
}

/**
 * Removes an empty cgroup with those below it, from every hierarchy; a missing one is no failure.
 *
 * @throws conflict when it still has processes after a moment
 */
export async function removeCgroup(path: string): Promise<void> {
  if (path.replaceAll("/", "") === "") {
    throw new EngineError("invalid-argument", "remove cgroup: not the root");
  }
  for (const root of new Set(cgroupPaths(path).values())) {
    for (const one of foldersBelow(root).reverse()) await removeOne(one);
  }
}

/**
 * Removes a cgroup from every hierarchy in which nothing is left of it: no process, nothing below.
 *
 * Never waits, and leaves alone what is in use.
 */
export function removeUnusedCgroup(path: string): void {
  if (path.replaceAll("/", "") === "") {
    throw new EngineError("invalid-argument", "remove cgroup: not the root");
  }
  for (const root of cgroupRoots()) {
    try {
      rmdirSync(join(root, path));
    } catch (error) {
      const failure = nodeFailure(error, `remove cgroup ${path}`);
      if (!isGone(error) && systemCode(failure) !== "EBUSY") throw failure;
    }
  }
}

async function removeOne(path: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (isGone(error)) return;
      const failure = nodeFailure(error, `remove cgroup ${path}`);
      if (systemCode(failure) !== "EBUSY") throw failure;
      if (attempt === removeAttemptCountMax) {
        throw new EngineError("conflict", `remove cgroup ${path}: it has processes`, {
          cause: error,
          details: { code: "EBUSY" },
        });
      }
    }
    // A process that has just ended is counted for a moment more.
    await Bun.sleep(removeRetryMs);
  }
}

/** The limits of a cgroup; a field is absent where there is no limit. */
export interface CgroupLimits {
  readonly memoryMaxBytes?: number;
  readonly pidsMax?: number;
  /** Processors' worth of time. */
  readonly cpuMax?: number;
}

/** Reads the limits of a cgroup itself, not of those above it. */
export function readLimits(path: string): CgroupLimits {
  const isFirst = cgroupVersion() === 1;
  const paths = cgroupPaths(path);
  const read = (controller: string, file: string): string | undefined => {
    const base = paths.get("") ?? paths.get(controller);
    return base === undefined ? undefined : readOptional(join(base, file))?.trim();
  };
  const memory = finite(read("memory", isFirst ? "memory.limit_in_bytes" : "memory.max"));
  const pids = finite(read("pids", "pids.max"));
  const [quota, period] = isFirst
    ? [read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.cfs_period_us")]
    : (read("cpu", "cpu.max") ?? "").split(" ");
  const cpu = finite(quota);
  return {
    ...(memory === undefined ? {} : { memoryMaxBytes: memory }),
    ...(pids === undefined ? {} : { pidsMax: pids }),
    ...(cpu === undefined ? {} : { cpuMax: cpu / Number(period) }),
  };
}

function finite(text: string | undefined): number | undefined {
  const value = Number(text || "max");
  return value >= 0 && value < unlimitedFromBytes ? value : undefined;
}

/** The path of the cgroup this process is in (on version 1, of the memory controller). */
export function ownCgroup(): string {
  const text = translated("read own cgroup", () => readFileSync("/proc/self/cgroup", "utf8"));
  const pattern =
    cgroupVersion() === 2 ? /^0::(.*)$/m : /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.*)$/m;
  return pattern.exec(text)?.[1] ?? "/";
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isGone(error)) return undefined;
    throw nodeFailure(error, `read ${path}`);
  }
}

/** @returns false when the file is not there */
function writeOptional(path: string, value: string): boolean {
  try {
    writeFileSync(path, value, { flag: "r+" });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw nodeFailure(error, `write ${path}`);
  }
}

/** Not there, or removed while it was open. */
function isGone(error: unknown): boolean {
  const code = systemCode(nodeFailure(error, "read cgroup"));
  return code === "ENOENT" || code === "ENODEV" || code === "ENOTDIR";
}
