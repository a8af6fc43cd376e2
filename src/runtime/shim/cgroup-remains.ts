/** Removes what the OCI runtime made for a container, without the cost of calling it again. */
import { readdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../../lib/concurrency/retry.ts";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { cgroupPids, cgroupRoots, killCgroup } from "../../sys/cgroup.ts";
import type { RuntimeProgram } from "./runtime-call.ts";

/** What is killed is gone at once, unless the machine is busy. */
const patienceDefaultMs = 2000;
const attemptIntervalMs = 2;
/** Somebody may have joined since: a call of the runtime that was under way. */
const killIntervalMs = 50;

/**
 * Kills what still runs in the control group, removes it from every hierarchy, and the runtime's
 * state of the container.
 *
 * @throws conflict when processes stay
 */
export async function removeRemains(remains: {
  readonly cgroupsPath: string;
  readonly program: RuntimeProgram;
  readonly containerId: string;
  /** How long a hierarchy may take to be free of processes. */
  readonly patienceMs?: number;
}): Promise<void> {
  const { cgroupsPath, program, containerId, patienceMs = patienceDefaultMs } = remains;
  if (!/^\/[^\s:]*[^/.:]/.test(cgroupsPath) || cgroupsPath.split("/").includes("..")) {
    throw new EngineError(
      "invalid-argument",
      `remove cgroup ${JSON.stringify(cgroupsPath)}: not below the root`,
    );
  }
  for (const root of cgroupRoots()) {
    const path = join(root, cgroupsPath);
    const deadline = performance.now() + patienceMs;
    for (let killAtMs = 0; !removeTree(path); ) {
      const nowMs = performance.now();
      // Seldom: something outlived the first process, or is just being reaped.
      if (nowMs >= killAtMs && cgroupPids(cgroupsPath).length > 0) {
        killCgroup(cgroupsPath);
        killAtMs = nowMs + killIntervalMs;
      }
      if (nowMs > deadline) {
        throw new EngineError("conflict", `remove cgroup ${path}: it has processes`);
      }
      await sleep(attemptIntervalMs);
    }
  }
  rmSync(join(program.root, containerId), { recursive: true, force: true });
}

/** @returns false when it is busy */
function removeTree(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENODEV") return true;
    if (code !== "EBUSY") throw error;
  }
  const below = childrenOf(path);
  return below.length > 0 && below.every((child) => removeTree(child)) && removeTree(path);
}

function childrenOf(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}
