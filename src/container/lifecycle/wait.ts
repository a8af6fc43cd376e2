import { EngineError } from "../../lib/errors.ts";
import type { WaitResult } from "../container-service.ts";
import type { LiveContainer } from "../record/live-container.ts";

/** What `wait` may be asked. */
export interface WaitOptions {
  readonly condition: "not-running" | "next-exit" | "removed";
  /** Called once it is certain that the moment will not be missed. */
  readonly accepted: () => void;
  readonly signal?: AbortSignal;
}

/**
 * Waits for a container's end, and answers how it ended.
 *
 * `next-exit` and `removed` wait for a moment that is still to come, `not-running` is content with
 * one that is past. A container that is removed at once after its end answers all three.
 *
 * @throws canceled when the signal fires
 */
export async function waitForContainer(
  container: LiveContainer,
  options: WaitOptions,
): Promise<WaitResult> {
  const { condition, accepted, signal } = options;
  if (condition === "not-running" && !container.isRunning) {
    accepted();
    return { StatusCode: container.record.exitCode };
  }
  const { promise, resolve, reject } = Promise.withResolvers<WaitResult>();
  const takeBack = container.on(condition === "removed" ? "removal" : "exit", resolve);
  const onAbort = (): void => reject(new EngineError("canceled", "wait for container: canceled"));
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  try {
    accepted();
    return await promise;
  } finally {
    takeBack();
    signal?.removeEventListener("abort", onAbort);
  }
}
