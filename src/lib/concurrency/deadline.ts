import { EngineError } from "../errors.ts";

/**
 * Waits for `promise`, but no longer than `timeoutMs`.
 *
 * The work itself goes on: cancel it by its own signal. Its later failure is not left floating.
 *
 * @param sentence what was attempted and how long it may take
 * @throws deadline-exceeded with `sentence`
 */
export async function withDeadline<T>(
  promise: Promise<T>,
  timeoutMs: number,
  sentence: string,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new EngineError("deadline-exceeded", sentence));
  }, timeoutMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * What `promise` gives if it does so in time; undefined when it is late, which is no failure.
 *
 * @throws what the promise throws in time
 */
export async function valueWithin<T>(
  promise: Promise<T>,
  timeoutMs: number,
): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => {
    late.resolve(undefined);
  }, timeoutMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
