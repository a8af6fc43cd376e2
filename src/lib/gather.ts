import { type ByteSource, chunksOf } from "./stream-limit.ts";

/** Bytes that are gathered unless the caller says otherwise: the price of a write hardly grows below. */
export const gatheredBytes: number = 256 * 1024;
/** How long the first of them wait for the others. */
const gatherMaxMs = 50;

/**
 * Makes few large chunks of many small ones, for consumers that pay by the chunk.
 *
 * A source that pauses is not waited for: what has come is passed on after `waitMaxMs`, and also
 * before a failure of the source is thrown. A chunk is valid until the next one is asked for.
 */
export async function* gather(
  source: ByteSource,
  options: { readonly batchBytes?: number; readonly waitMaxMs?: number } = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { batchBytes = gatheredBytes, waitMaxMs = gatherMaxMs } = options;
  const iterator = chunksOf(source);
  const batch = new Batch(batchBytes, waitMaxMs);
  let isAsked = false;
  try {
    for (;;) {
      isAsked = true;
      const next = iterator.next();
      // Its failure is thrown where it is awaited, be that after a pause.
      next.catch(() => undefined);
      if (!batch.isEmpty && (await batch.firstOf(next)) !== "settled") yield batch.take();
      const { value, done } = await next;
      isAsked = false;
      if (done === true) break;
      for (let rest: Uint8Array = value; rest.byteLength > 0; ) {
        if (batch.isEmpty && rest.byteLength >= batchBytes) {
          // Large enough as it is: nothing is copied.
          yield rest.subarray(0, batchBytes);
          rest = rest.subarray(batchBytes);
        } else {
          rest = batch.add(rest);
          if (batch.isFull) yield batch.take();
        }
      }
    }
    if (!batch.isEmpty) yield batch.take();
  } finally {
    batch.stopClock();
    const closed = iterator.return();
    // A source that pauses is closed when it has answered; who stops meanwhile does not wait for that.
    if (isAsked) closed.catch(() => undefined);
    else await closed;
  }
}

class Batch {
  readonly #bytes: Buffer;
  readonly #waitMaxMs: number;
  #filledBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isDue: Promise<"due"> | undefined;

  constructor(batchBytes: number, waitMaxMs: number) {
    this.#bytes = Buffer.allocUnsafeSlow(batchBytes);
    this.#waitMaxMs = waitMaxMs;
  }

  get isEmpty(): boolean {
    return this.#filledBytes === 0;
  }

  get isFull(): boolean {
    return this.#filledBytes === this.#bytes.length;
  }

  /** Takes what there is room for. @returns what there is none for */
  add(bytes: Uint8Array): Uint8Array {
    const part = bytes.subarray(0, this.#bytes.length - this.#filledBytes);
    this.#bytes.set(part, this.#filledBytes);
    this.#filledBytes += part.byteLength;
    return bytes.subarray(part.byteLength);
  }

  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#filledBytes);
    this.#filledBytes = 0;
    this.stopClock();
    return taken;
  }

  /** Waits for the next chunk, or until what is here has waited long enough, or the source fails. */
  async firstOf(next: Promise<unknown>): Promise<"settled" | "due" | "failed"> {
    const settled = next.then(
      () => "settled" as const,
      () => "failed" as const,
    );
    return await Promise.race([settled, this.#clock()]);
  }

  stopClock(): void {
    clearTimeout(this.#timer);
    this.#isDue = undefined;
  }

  #clock(): Promise<"due"> {
    this.#isDue ??= new Promise((resolve) => {
      this.#timer = setTimeout(() => resolve("due"), this.#waitMaxMs);
    });
    return this.#isDue;
  }
}
