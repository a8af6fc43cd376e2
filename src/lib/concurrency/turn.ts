/** Bytes that one task moves in one turn of the event loop: some tenths of a millisecond. */
export const turnBytes: number = 256 * 1024;

/**
 * Lets the event loop look for input before the caller goes on.
 *
 * Awaiting a finished read or write does not: work whose every step is done by the time it is asked
 * for would go on for as long as it has any, and whoever has just asked something would wait for it.
 */
export async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => void setImmediate(resolve));
}

/** Ends a task's turn whenever it has moved `turnBytes`. */
export class Turns {
  #movedBytes = 0;

  /** To be awaited after each piece; cheap for small ones. */
  async moved(countBytes: number): Promise<void> {
    this.#movedBytes += countBytes;
    if (this.#movedBytes < turnBytes) return;
    this.#movedBytes = 0;
    await nextTurn();
  }
}
