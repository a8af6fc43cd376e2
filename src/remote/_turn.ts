import { canceled } from "./transport/canceled.ts";

/** What lets work run when it may: a semaphore, or a mutex with its key. */
export type Gate = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Runs `work` when its turn has come; who is canceled before waits no longer.
 *
 * Work that has begun is waited for: it is canceled by its own signal.
 *
 * @throws canceled when `signal` fires before the turn has come
 */
export async function takeTurn<T>(
  gate: Gate,
  options: { readonly signal?: AbortSignal | undefined; readonly work: () => Promise<T> },
): Promise<T> {
  const { signal, work } = options;
  let hasBegun = false;
  const turn = gate(async () => {
    if (signal?.aborted) throw canceled(signal);
    hasBegun = true;
    return await work();
  });
  const gone = Promise.withResolvers<never>();
  const leave = (): void => {
    if (!hasBegun) gone.reject(canceled(signal));
  };
  if (signal?.aborted) leave();
  signal?.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([turn, gone.promise]);
  } finally {
    signal?.removeEventListener("abort", leave);
    // A turn that comes after all is over at once, and nobody is told.
    turn.catch(() => undefined);
  }
}
