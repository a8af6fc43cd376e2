import { readFileSync } from "node:fs";

/** The machine is at rest when nothing has been seen running for this long. */
const settledMs = 60;
const settlePeriodMs = 3;
const settleMaxMs = 2_000;

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
