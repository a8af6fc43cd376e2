import { EngineError } from "../errors.ts";

/** How often and how fast to try again. */
export interface BackoffOptions {
  /** Wait before the second attempt; doubles with each further one. */
  readonly delayMs: number;
  readonly delayMaxMs: number;
}

/** What `retry` needs besides the work. */
export interface RetryOptions extends BackoffOptions {
  readonly attemptsMax: number;
  /** Which failures are worth another attempt; all, when left out. */
  readonly isRetryable?: (error: unknown) => boolean;
  /** Told before each wait. */
  readonly onRetry?: (error: unknown, attempt: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Runs `work` until it succeeds, at most `attemptsMax` times, with growing waits in between.
 *
 * @param work gets the number of the attempt, from 1
 * @throws the failure of the last attempt; canceled when the signal fires in a wait
 */
export async function retry<T>(
  work: (attempt: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work(attempt);
    } catch (error) {
      const isWorthIt = options.isRetryable?.(error) ?? true;
      if (attempt >= options.attemptsMax || !isWorthIt || options.signal?.aborted) throw error;
      options.onRetry?.(error, attempt);
      await sleep(backoffMs(attempt, options), options.signal);
    }
  }
}

/** The wait after the given attempt (from 1): doubled each time, capped, shortened by up to half at random. */
export function backoffMs(attempt: number, options: BackoffOptions): number {
  const fullMs = Math.min(options.delayMs * 2 ** (attempt - 1), options.delayMaxMs);
  return fullMs * (0.5 + Math.random() / 2);
}

/**
 * Waits.
 *
 * @throws canceled as soon as `signal` fires
 */
export async function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => {
    reject(new EngineError("canceled", "wait canceled", { cause: signal?.reason }));
  };
  if (signal?.aborted) onAbort();
  const timer = setTimeout(resolve, delayMs);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
