/** Removes what a shim that was killed has left: its container, mounts, control groups. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../lib/errors.ts";
import { killCgroup } from "../sys/cgroup.ts";
import { writeFileAtomic } from "../sys/fs/fs.ts";
import { killAndWait } from "../sys/process/kill.ts";
import { isSameProcess, processStartTime } from "../sys/process/process.ts";
import { removeRemains } from "./shim/cgroup-remains.ts";
import { deleteContainer, endRuntimeCalls } from "./shim/runtime-call.ts";
import { unmountRootfs } from "./sandbox/sandbox.ts";
import type { ShimRecord } from "./shim/shim-container.ts";

const endMaxMs = 5000;

/** What is noted of a shim; undefined where nothing is, or a damaged note. */
export function readShimRecord(directory: string): ShimRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, "shim.json"), "utf8")) as ShimRecord;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * Notes whose directory it is before the shim knows of a container. What it is asked may still lie
 * before it when the daemon is killed: the next one ends the shim, not just the folder.
 */
export function noteSpare(directory: string, shim: { readonly pid: number }): void {
  const record: ShimRecord = {
    shimPid: shim.pid,
    shimStartTime: String(processStartTime(shim.pid) ?? 0),
    containerId: "",
  };
  writeFileAtomic(join(directory, "shim.json"), JSON.stringify(record), {
    durable: false,
    mode: 0o600,
  });
}

/** Whether the process that the record is of still runs. */
export function isShimAlive(record: ShimRecord): boolean {
  return isSameProcess(record.shimPid, BigInt(record.shimStartTime));
}

/**
 * Ends the shim if it lives, kills its container, unmounts; the directory itself stays.
 *
 * What fails does not keep the rest from being done.
 *
 * @throws the first failure, when all was tried
 */
export async function cleanUpBehind(directory: string): Promise<void> {
  const noted = readShimRecord(directory);
  if (noted === undefined) return;
  await endShim(noted);
  // It may have gone further since; what it has noted last is what there is.
  const record = readShimRecord(directory) ?? noted;
  const { runtime, bundle, rootfs, cgroupsPath, containerId } = record;
  const failures: unknown[] = [];
  const attempt = async (work: () => void | Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      failures.push(error);
    }
  };
  if (runtime !== undefined) {
    await attempt(() => endRuntimeCalls(runtime, containerId));
    if (cgroupsPath !== undefined) await attempt(() => killCgroup(cgroupsPath));
    await attempt(() => deleteContainer(runtime, { containerId, logFolder: directory }));
    if (cgroupsPath !== undefined) {
      const remains = { cgroupsPath, program: runtime, containerId, patienceMs: endMaxMs };
      await attempt(() => removeRemains(remains));
    }
  }
  await attempt(() => {
    if (rootfs !== undefined) unmountRootfs(rootfs, { keepsOpen: false });
  });
  if (bundle !== undefined) rmSync(join(bundle, "config.json"), { force: true });
  if (failures.length > 0) throw failures[0];
}

/** A shim that lives but cannot be spoken to would go on writing. */
async function endShim(record: ShimRecord): Promise<void> {
  const startTime = BigInt(record.shimStartTime);
  await killAndWait(record.shimPid, { startTime, timeoutMs: endMaxMs });
}
