/**
 * Processes: run one to its end, start one that outlives us, reap orphans, signal without races.
 */
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { check, errno, errnoName, lazyLibc, nodeFailure, systemCall } from "../libc.ts";
import { signalName, signalNumber } from "./signal.ts";

// biome-ignore lint/performance/noBarrelFile: the public face of one noun in several files
export { run, type RunOptions, type RunResult } from "./_run.ts";
export { signalNumber } from "./signal.ts";

const libc = lazyLibc({
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
  kill: { args: ["i32", "i32"], returns: "i32" },
});
const dupLibc = lazyLibc({ dup2: { args: ["i32", "i32"], returns: "i32" } });
const pidfdLibc = lazyLibc({
  // long syscall(number, pid or pidfd, flags or signal, siginfo, flags)
  syscall: { args: ["i64", "i32", "i32", "ptr", "u32"], returns: "i64" },
});

// linux/prctl.h
const prSetParentDeathSignal = 1;
const prSetChildSubreaper = 36;
const waitNoHang = 1;
/** SIGCHLD can be missed while the loop is blocked; nobody waits longer than this. */
const sweepIntervalMs = 2000;

/** What `spawnDetached` starts. */
export interface SpawnDetachedOptions {
  readonly argv: readonly string[];
  /** The whole environment; the own one when absent. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Descriptor of the child's 0, 1, 2, …; every other descriptor is closed. */
  readonly stdio: readonly (number | "ignore")[];
}

/**
 * Starts a process in a session of its own; it lives on when this one ends.
 *
 * While this process lives, the runtime reaps the child: never `waitPid` it.
 *
 * @throws not-found when there is no such program
 */
export function spawnDetached(options: SpawnDetachedOptions): { readonly pid: number } {
  try {
    const child = Bun.spawn([...options.argv], {
      stdio: stdioOf(options.stdio),
      detached: true,
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    child.unref();
    return { pid: child.pid };
  } catch (error) {
    throw nodeFailure(error, `start ${JSON.stringify(options.argv[0])}`);
  }
}

/** Has this process write what it prints to the end of a file; the file is made, mode 0600. */
export function redirectOutput(path: string): void {
  const fd = openSync(path, "a", 0o600);
  try {
    for (const stream of [1, 2]) check(dupLibc().dup2(fd, stream), `redirect output to ${path}`);
  } finally {
    closeSync(fd);
  }
}

type Stdio = number | "ignore";

function stdioOf(stdio: readonly Stdio[]): [Stdio, Stdio, Stdio, ...Stdio[]] {
  const [stdin = "ignore", stdout = "ignore", stderr = "ignore", ...others] = stdio;
  return [stdin, stdout, stderr, ...others];
}

let isSubreaper = false;

/**
 * Makes this process the parent of orphans below it. They must be watched; those of other PID
 * namespaces that nobody watches are reaped as long as anything is: unreaped, they would keep the
 * first process of their namespace from ending.
 */
export function becomeSubreaper(): void {
  check(libc().prctl(prSetChildSubreaper, 1, 0, 0, 0), "become subreaper");
  isSubreaper = true;
}

/** Has the kernel send `signal` to this process when its parent thread ends. */
export function setParentDeathSignal(signal: number | string): void {
  const number = signalNumber(String(signal));
  check(libc().prctl(prSetParentDeathSignal, number, 0, 0, 0), "set parent death signal");
}

/** How a child stands; after `exited` exactly one of the other two is set, when it is known. */
export interface WaitStatus {
  readonly exited: boolean;
  readonly exitCode?: number;
  /** Number of the signal that ended it. */
  readonly signal?: number;
}

/**
 * Asks after one child without waiting, and reaps it when it has ended.
 *
 * Only for children that the runtime did not spawn (orphans of a subreaper).
 *
 * @throws not-found with code ECHILD when it is no child of ours, or was reaped before
 */
export function waitPid(pid: number): WaitStatus {
  const status = new Int32Array(1);
  const result = libc().waitpid(pid, status, waitNoHang);
  if (result === 0) return { exited: false };
  if (result < 0 && errnoName(errno()) === "ECHILD") {
    throw new EngineError("not-found", `wait for process ${pid}: not a child`, {
      details: { code: "ECHILD" },
    });
  }
  check(result, `wait for process ${pid}`);
  const value = status[0] ?? 0;
  const signal = value & 0x7f;
  return signal === 0 ? { exited: true, exitCode: (value >> 8) & 0xff } : { exited: true, signal };
}

/** A descriptor of a process that never names another; the caller closes it. */
export function openPidfd(pid: number): number {
  const fd = Number(pidfdLibc().syscall(systemCall.pidfdOpen, pid, 0, null, 0));
  if (fd < 0 && errnoName(errno()) === "ESRCH") {
    throw new EngineError("not-found", `open process ${pid}: no such process`, {
      details: { code: "ESRCH" },
    });
  }
  return check(fd, `open process ${pid}`);
}

/**
 * Sends a signal; 0 only asks whether the process is there.
 *
 * @param options.startTime of the process that is meant: a later one of that PID is left alone
 * @returns false when the process is gone
 */
export function signalProcess(
  pid: number,
  signal: number | string,
  options: { readonly startTime?: bigint } = {},
): boolean {
  const number = signal === 0 ? 0 : signalNumber(String(signal));
  if (options.startTime !== undefined) return signalSame(pid, number, options.startTime);
  const result = libc().kill(pid, number);
  if (result < 0 && errnoName(errno()) === "ESRCH") return false;
  check(result, `send ${nameOf(number)} to process ${pid}`);
  return true;
}

function signalSame(pid: number, signal: number, startTime: bigint): boolean {
  const fd = Number(pidfdLibc().syscall(systemCall.pidfdOpen, pid, 0, null, 0));
  if (fd < 0 && errnoName(errno()) === "ESRCH") return false;
  check(fd, `open process ${pid}`);
  try {
    // The descriptor is open: from here the PID cannot come to mean another process unseen.
    if (!isSameProcess(pid, startTime)) return false;
    const result = pidfdLibc().syscall(systemCall.pidfdSendSignal, fd, signal, null, 0);
    if (Number(result) < 0 && errnoName(errno()) === "ESRCH") return false;
    check(result, `send ${nameOf(signal)} to process ${pid}`);
    return true;
  } finally {
    closeSync(fd);
  }
}

function nameOf(signal: number): string {
  return signal === 0 ? "signal 0" : signalName(signal);
}

/** When a process started, in clock ticks after boot; undefined when it is gone. */
export function processStartTime(pid: number): bigint | undefined {
  const fields = processFields(pid);
  const value = fields?.[19];
  return value === undefined ? undefined : BigInt(value);
}

/** Whether the process of that PID runs (a zombie does not) and is the one that started then. */
export function isSameProcess(pid: number, startTime: bigint): boolean {
  const fields = processFields(pid);
  if (fields === undefined || fields[0] === "Z" || fields[0] === "X") return false;
  return fields[19] === String(startTime);
}

/** The fields of /proc/pid/stat from the third on: the name before them may hold anything. */
function processFields(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw nodeFailure(error, `read status of process ${pid}`);
  }
}

/** The argv prefix that starts this program again: the executable, or Bun and `main.ts`. */
export function selfExecutable(): string[] {
  const isCompiled = import.meta.dirname.startsWith("/$bunfs/");
  if (isCompiled) return [process.execPath];
  return [process.execPath, join(import.meta.dirname, "../../main.ts")];
}

/**
 * The program of a worker thread; in the executable it lies at its place below `src`.
 *
 * @param path below `src`, without its ending; an entry point of the build
 */
export function workerProgram(path: string): URL {
  const isCompiled = import.meta.dirname.startsWith("/$bunfs/");
  if (isCompiled) return new URL(`file:///$bunfs/root/${path}.js`);
  return new URL(`../../${path}.ts`, import.meta.url);
}

const watched = new Map<number, (status: WaitStatus) => void>();
let sweepTimer: ReturnType<typeof setInterval> | undefined;

/**
 * Calls `callback` once, with the status, when the child `pid` has ended, and reaps it.
 *
 * For children of a subreaper, not those the runtime spawned. A process that is no child of ours
 * is reported ended without a status. The callback never runs before `watchExit` has returned.
 *
 * @returns stops watching; the process is then nobody's
 */
export function watchExit(pid: number, callback: (status: WaitStatus) => void): { close(): void } {
  watched.set(pid, callback);
  if (sweepTimer === undefined) {
    process.on("SIGCHLD", reap);
    sweepTimer = setInterval(reap, sweepIntervalMs);
  }
  // It may have ended before anyone listened.
  queueMicrotask(reap);
  return {
    close() {
      watched.delete(pid);
      stopSweeping();
    },
  };
}

function reap(): void {
  // Signals coalesce: one may stand for many children.
  for (const [pid, callback] of [...watched]) {
    const status = statusOf(pid);
    if (!status.exited || !watched.delete(pid)) continue;
    stopSweeping();
    callback(status);
  }
  if (isSubreaper) reapForeign();
}

/** Children of the runtime are in this PID namespace: only others are nobody's. */
function reapForeign(): void {
  for (const pid of childPids()) {
    if (watched.has(pid) || processFields(pid)?.[0] !== "Z") continue;
    const names = /^NSpid:\t(.*)$/m.exec(readStatus(pid))?.[1]?.split("\t") ?? [];
    if (names.length > 1) noteEarlyEnd(pid, statusOf(pid));
  }
}

/** Ends that nobody watched yet: `watchExit` may come for them. */
const earlyEnds = new Map<number, { readonly status: WaitStatus; readonly atMs: number }>();
const earlyEndMaxMs = 10_000;
const earlyEndCountMax = 1000;

function noteEarlyEnd(pid: number, status: WaitStatus): void {
  earlyEnds.delete(pid);
  earlyEnds.set(pid, { status, atMs: performance.now() });
  if (earlyEnds.size <= earlyEndCountMax) return;
  for (const oldest of earlyEnds.keys()) {
    earlyEnds.delete(oldest);
    break;
  }
}

/** The end of a process that was reaped before it was watched; none when the PID is in use again. */
function takeEarlyEnd(pid: number): WaitStatus | undefined {
  const early = earlyEnds.get(pid);
  earlyEnds.delete(pid);
  const isStale = early === undefined || performance.now() - early.atMs > earlyEndMaxMs;
  return isStale || processFields(pid) !== undefined ? undefined : early.status;
}

function childPids(): number[] {
  return readdirSync("/proc/self/task").flatMap((thread) => {
    const text = readOptional(`/proc/self/task/${thread}/children`);
    return text.split(" ").filter(Boolean).map(Number);
  });
}

function readStatus(pid: number): string {
  return readOptional(`/proc/${pid}/status`);
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw nodeFailure(error, `read ${path}`);
  }
}

function statusOf(pid: number): WaitStatus {
  try {
    const early = earlyEnds.size === 0 ? undefined : takeEarlyEnd(pid);
    return early ?? waitPid(pid);
  } catch (error) {
    if (error instanceof EngineError && error.details["code"] === "ECHILD") return { exited: true };
    throw error;
  }
}

function stopSweeping(): void {
  if (watched.size > 0 || sweepTimer === undefined) return;
  clearInterval(sweepTimer);
  sweepTimer = undefined;
  process.off("SIGCHLD", reap);
}

/**
 * Takes a descriptor of another process as one of its own, of the same open file and closed on exec;
 * the caller closes it.
 *
 * @throws permission-denied when the process may not be looked into; what says that either is gone, or
 * that the kernel knows no such call
 */
export function takeDescriptor(pid: number, fd: number): number {
  const what = `take descriptor ${fd} of process ${pid}`;
  const owner = check(pidfdLibc().syscall(systemCall.pidfdOpen, pid, 0, null, 0), what);
  try {
    return check(pidfdLibc().syscall(systemCall.pidfdGetfd, owner, fd, null, 0), what);
  } finally {
    closeSync(owner);
  }
}
