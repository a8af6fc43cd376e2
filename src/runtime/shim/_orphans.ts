/**
 * Reaps what is left to the shim as subreaper and nobody waits for: the helpers that crun leaves,
 * one a start, and what outlives its parent in a container without a PID namespace of its own.
 */
import { readdirSync, readFileSync } from "node:fs";
import { codeOf } from "../../lib/errors.ts";
import { systemCode } from "../../sys/libc.ts";
import { waitPid } from "../../sys/process/process.ts";

/** Orphans may wait: a burst of them costs one look. */
const lookDelayMs = 300;

const awaited = new Set<number>();
let runtimeCallCount = 0;
let isWatching = false;
let isLookDue = false;

/** Leaves a process alone: somebody wants its exit status. */
export function keepForWaiter(pid: number): void {
  awaited.add(pid);
}

/** Somebody has got its status. */
export function waiterServed(pid: number): void {
  awaited.delete(pid);
}

/** Runs a call that has children of its own: nothing is reaped meanwhile. */
export async function withChildren<T>(work: () => Promise<T>): Promise<T> {
  runtimeCallCount += 1;
  try {
    return await work();
  } finally {
    runtimeCallCount -= 1;
    lookSoon();
  }
}

/** Begins to look whenever a child ends. */
export function watchOrphans(): void {
  isWatching = true;
  process.on("SIGCHLD", lookSoon);
}

function lookSoon(): void {
  if (!isWatching) return;
  if (isLookDue) return;
  isLookDue = true;
  setTimeout(() => {
    isLookDue = false;
    // A child of the runtime's own would lose its status to us.
    if (runtimeCallCount > 0) lookSoon();
    else reapOrphans();
  }, lookDelayMs);
}

function reapOrphans(): void {
  for (const thread of readdirSync("/proc/self/task")) {
    for (const pid of childrenOf(thread)) {
      if (!awaited.has(pid) && isZombie(pid)) reapOne(pid);
    }
  }
}

function reapOne(pid: number): void {
  try {
    waitPid(pid);
  } catch (error) {
    if (systemCode(error) !== "ECHILD") throw error;
  }
}

function childrenOf(thread: string): number[] {
  return readOptional(`/proc/self/task/${thread}/children`).split(" ").filter(Boolean).map(Number);
}

function isZombie(pid: number): boolean {
  const stat = readOptional(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ESRCH") return "";
    throw error;
  }
}
