import { sleep } from "../../lib/concurrency/retry.ts";
import { isSameProcess, signalProcess } from "./process.ts";

const lookIntervalMs = 5;

/** Kills the process that started then, and waits for its end; false when it did not end in time. */
export async function killAndWait(
  pid: number,
  options: { readonly startTime: bigint; readonly timeoutMs: number },
): Promise<boolean> {
  const { startTime, timeoutMs } = options;
  signalProcess(pid, "SIGKILL", { startTime });
  const deadline = performance.now() + timeoutMs;
  while (isSameProcess(pid, startTime)) {
    if (performance.now() >= deadline) return false;
    await sleep(lookIntervalMs);
  }
  return true;
}
