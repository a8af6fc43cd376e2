/** Removes what a shim that was killed has left: its container, mounts, control groups. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../lib/concurrency/retry.ts";
import { codeOf } from "../lib/errors.ts";
import { killCgroup } from "../sys/cgroup.ts";
import { isSameProcess, signalProcess } from "../sys/process/process.ts";
import { removeRemains } from "./shim/cgroup-remains.ts";
import { callRuntime } from "./shim/runtime-call.ts";
import { unmountRootfs } from "./sandbox/sandbox.ts";
import type { ShimRecord } from "./shim/shim-container.ts";

const shimEndMaxMs = 2000;
const lookIntervalMs = 10;

/** What a shim has noted of itself; undefined for a spare or a damaged note. */
export function readShimRecord(directory: string): ShimRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, "shim.json"), "utf8")) as ShimRecord;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether the process that wrote the record still runs. */
export function isShimAlive(record: ShimRecord): boolean {
  return isSameProcess(record.shimPid, BigInt(record.shimStartTime));
}

/** Ends the shim if it lives, kills its container, unmounts; the directory itself stays. */
export async function cleanUpBehind(directory: string): Promise<void> {
  const record = readShimRecord(directory);
  if (record === undefined) return;
  await endShim(record);
  const { runtime, bundle, rootfs, cgroupsPath } = record;
  if (cgroupsPath !== undefined) killCgroup(cgroupsPath);
  if (runtime !== undefined) {
    await callRuntime({
      program: runtime,
      argv: ["delete", "--force", record.containerId],
      logPath: join(directory, "delete.log"),
      stdio: { stdin: "ignore", stdout: "ignore", stderr: "ignore" },
    });
  }
  if (cgroupsPath !== undefined && runtime !== undefined) {
    await removeRemains({ cgroupsPath, program: runtime, containerId: record.containerId });
  }
  if (rootfs !== undefined) unmountRootfs(rootfs, { keepsOpen: false });
  if (bundle !== undefined) rmSync(join(bundle, "config.json"), { force: true });
}

/** A shim that lives but cannot be spoken to would go on writing. */
async function endShim(record: ShimRecord): Promise<void> {
  const startTime = BigInt(record.shimStartTime);
  signalProcess(record.shimPid, "SIGKILL", { startTime });
  const deadline = performance.now() + shimEndMaxMs;
  while (isShimAlive(record) && performance.now() < deadline) {
    await sleep(lookIntervalMs);
  }
}
