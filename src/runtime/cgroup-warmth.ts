/**
 * Takes the wait out of the first move of a process into a control group.
 *
 * The kernel keeps moves apart from forks by a lock whose writer waits for an RCU grace period, ten
 * milliseconds or so, unless somebody has just done the same. Every start of a container makes such
 * a move. Said in advance, the grace period passes while other work is done.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../lib/errors.ts";
import { cgroupPaths, ownCgroup } from "../sys/cgroup.ts";

/** How long the kernel remembers, at the least. */
const warmMs = 8;

let procsPath: string | undefined;
let warmedAtMs = Number.NEGATIVE_INFINITY;

/**
 * Says that a container or an exec is about to start: to be called as soon as that is known.
 *
 * Moves the own process to the control group it is in, off the event loop. Costs nobody anything
 * when it turns out wrong, and a failure only the head start.
 */
export function expectStart(): void {
  const now = performance.now();
  if (now - warmedAtMs < warmMs) return;
  warmedAtMs = now;
  const path = ownProcsPath();
  // A cgroup that refuses (a v2 one with children, a read-only mount) gives no head start.
  if (path !== "") writeFile(path, "0").catch(() => undefined);
}

function ownProcsPath(): string {
  if (procsPath !== undefined) return procsPath;
  try {
    const paths = cgroupPaths(ownCgroup());
    const folder = paths.get("") ?? paths.get("memory");
    procsPath = folder === undefined ? "" : join(folder, "cgroup.procs");
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    procsPath = "";
  }
  return procsPath;
}
