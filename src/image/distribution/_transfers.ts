/** Runs transfers side by side as one: the first failure ends the others, and is what is thrown. */
export async function runTogether<T>(
  tasks: readonly ((signal: AbortSignal) => Promise<T>)[],
  outer?: AbortSignal,
): Promise<readonly T[]> {
  const stop = new AbortController();
  const signal = outer === undefined ? stop.signal : AbortSignal.any([stop.signal, outer]);
  let first: { readonly error: unknown } | undefined;
  const settled = await Promise.allSettled(
    tasks.map(async (task) => {
      try {
        return await task(signal);
      } catch (error) {
        first ??= { error };
        stop.abort();
        throw error;
      }
    }),
  );
  if (first !== undefined) throw first.error;
  return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}
