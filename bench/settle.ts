import { readFileSync } from "node:fs";
import { freemem } from "node:os";
import { runOk } from "../test/support/process.ts";

/** The machine is at rest when nothing has been seen running for this long. */
const settledMs = 60;
const settlePeriodMs = 3;
const settleMaxMs = 2_000;

/** More than a pull of the large image needs. */
const touchedMaxBytes = 900 * 1024 * 1024;

/** Waits until nothing runs: an engine that still clears up would do so on the next one's time. */
export async function settle(): Promise<void> {
  const startMs = performance.now();
  let restMs = startMs;
  while (performance.now() - startMs < settleMaxMs) {
    await Bun.sleep(settlePeriodMs);
    // The fourth figure is "runnable/all"; this process is the one that always runs.
    const [runnable = "0"] = readFileSync("/proc/loadavg", "utf8").split(" ")[3]?.split("/") ?? [];
    if (Number(runnable) > 1) restMs = performance.now();
    if (performance.now() - restMs >= settledMs) return;
  }
}

/**
 * As `settle`, for what moves much data: nothing of the one before is left to be written, and there is free memory
 * that the machine really has. A virtual one gets its memory where it is touched first, and may give it back when it
 * is freed: to write there takes six times as long.
 */
export async function settleData(): Promise<void> {
  await runOk(["sync"]);
  const touchedBytes = Math.min(touchedMaxBytes, Math.floor(freemem() / 2));
  await runOk([process.execPath, "-e", `new Uint8Array(${touchedBytes}).fill(1)`]);
  await settle();
}
