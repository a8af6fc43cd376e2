import { isKind } from "../lib/errors.ts";
import { backoffMs, sleep } from "../lib/concurrency/retry.ts";
import { canceled } from "./transport/canceled.ts";
import type { RemoteLimits } from "./transport/limits.ts";
import { isTransient } from "./session/registry-fault.ts";

/** Bytes beyond all that were there before that make an attempt one that got on. */
const progressMinBytes = 1024 * 1024;

/** How often a question is put again. */
const refusalsMax = 3;

/**
 * Tries a transfer until it is through.
 *
 * Attempts that get on do not count: a large blob over a bad line comes in the end. The bytes bound
 * them, for only what no attempt had reached before is getting on.
 *
 * @throws the failure of the last attempt, or one that no further attempt could mend
 */
export async function withAttempts<T>(
  attempt: () => Promise<T>,
  options: {
    readonly limits: RemoteLimits;
    readonly attemptsMax: number;
    readonly signal?: AbortSignal | undefined;
    /** Bytes that have arrived. */
    readonly reached: () => number;
    readonly onRetry: (failure: unknown, delayMs: number) => void;
    /** Fires when somebody else shall try instead: there is no further attempt then. */
    readonly rival?: AbortSignal | undefined;
  },
): Promise<T> {
  const { limits, signal, reached } = options;
  let highestBytes = reached();
  for (let failures = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (signal?.aborted) throw canceled(signal);
      if (!isTransient(error)) throw error;
      if (reached() >= highestBytes + progressMinBytes) failures = 0;
      highestBytes = Math.max(highestBytes, reached());
      failures += 1;
      if (failures >= options.attemptsMax || options.rival?.aborted) throw error;
      const delayMs = retryDelayMs(error, { failures, limits });
      options.onRetry(error, delayMs);
      await pause(delayMs, options);
      if (options.rival?.aborted) throw error;
    }
  }
}

/** Waits; no longer once `rival` fires. @throws canceled when `signal` fires */
async function pause(
  delayMs: number,
  { signal, rival }: { readonly signal?: AbortSignal | undefined; rival?: AbortSignal | undefined },
): Promise<void> {
  const ends = [signal, rival].filter((end) => end !== undefined);
  try {
    await sleep(delayMs, AbortSignal.any(ends));
  } catch (error) {
    if (signal?.aborted || !rival?.aborted) throw error;
  }
}

/**
 * Asks again where the registry names the moment and it is near: else its refusal is the answer, as
 * somebody waits for it.
 */
export async function withPatience<T>(
  ask: () => Promise<T>,
  options: { readonly limits: RemoteLimits; readonly signal: AbortSignal },
): Promise<T> {
  const { limits, signal } = options;
  for (let refusals = 0; ; refusals += 1) {
    try {
      return await ask();
    } catch (error) {
      const waitMs = isKind(error) ? error.details["retryAfterMs"] : undefined;
      const isNear = typeof waitMs === "number" && waitMs <= limits.patienceMaxMs;
      if (!isNear || !isTransient(error) || refusals >= refusalsMax) throw error;
      await sleep(waitMs, signal);
    }
  }
}

function retryDelayMs(
  error: unknown,
  state: { readonly failures: number; readonly limits: RemoteLimits },
): number {
  const { failures, limits } = state;
  const wanted = isKind(error) ? error.details["retryAfterMs"] : undefined;
  if (typeof wanted === "number") return Math.min(wanted, limits.retryAfterMaxMs);
  return backoffMs(failures, { delayMs: limits.retryDelayMs, delayMaxMs: limits.retryDelayMaxMs });
}
