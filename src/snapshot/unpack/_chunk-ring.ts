/**
 * Bytes from one thread to another without copying: a fixed number of slots in shared memory, filled
 * and taken in turns. The writer blocks while all are full; the reader is told of each chunk by a
 * message, takes it in its event loop, and gives the slot back.
 */
import { createSharedSlots, firstOwnWord, type SharedSlots, SlotRing } from "../slot-ring.ts";

const slotCount = 16;

const stoppedWord = firstOwnWord;

/** The reader's side. */
export class ChunkTaker {
  readonly ring: SharedSlots = createSharedSlots({ slotCount, ownWords: 1 });
  readonly #ring: SlotRing = new SlotRing(this.ring);
  readonly #words: Int32Array = new Int32Array(this.ring.words);

  /** Begins anew; the writer has ended before. */
  reset(): void {
    this.#ring.reset();
    Atomics.store(this.#words, stoppedWord, 0);
  }

  /** Gives the next chunk to `take`, and its slot back. The bytes are valid during the call. */
  take(sizeBytes: number, take: (bytes: Uint8Array) => void): void {
    take(this.#ring.slot(this.#ring.takenCount).subarray(0, sizeBytes));
    this.#ring.giveBack();
  }

  /** Wakes the writer and has it give up. */
  stop(): void {
    Atomics.store(this.#words, stoppedWord, 1);
    Atomics.notify(this.#words, stoppedWord);
    // A writer that has not seen it is about to wait for room.
    this.#ring.giveBack();
  }
}

/** The writer's side; its calls block. */
export class ChunkWriter {
  readonly #ring: SlotRing;
  readonly #words: Int32Array;
  readonly #give: (chunk: Uint8Array) => void;
  #givenCount = 0;
  #slot: Uint8Array | undefined;
  #filledBytes = 0;

  /** @param options.give sees each chunk, and tells the reader how many bytes it has */
  constructor(ring: SharedSlots, options: { readonly give: (chunk: Uint8Array) => void }) {
    this.#ring = new SlotRing(ring);
    this.#words = new Int32Array(ring.words);
    this.#give = options.give;
  }

  /** Whether the reader wants no more. */
  get isStopped(): boolean {
    return Atomics.load(this.#words, stoppedWord) === 1;
  }

  /** The free part of the slot that is being filled; waits for one. Empty once stopped. */
  room(): Uint8Array {
    this.#slot ??= this.#next();
    return this.#slot.subarray(this.#filledBytes);
  }

  /** Says how much of `room` was filled. */
  filled(sizeBytes: number): void {
    this.#filledBytes += sizeBytes;
    if (this.#slot !== undefined && this.#filledBytes === this.#slot.byteLength) this.flush();
  }

  /** Copies bytes into as many slots as they take. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength && !this.isStopped; ) {
      const room = this.room();
      const part = bytes.subarray(at, at + room.byteLength);
      room.set(part);
      this.filled(part.byteLength);
      at += part.byteLength;
    }
  }

  /** Gives the slot away as it is. */
  flush(): void {
    if (this.#slot === undefined || this.#filledBytes === 0 || this.isStopped) return;
    this.#give(this.#slot.subarray(0, this.#filledBytes));
    this.#givenCount += 1;
    this.#slot = undefined;
    this.#filledBytes = 0;
  }

  /** Blocks for a while, or until stopped. */
  pause(timeMs: number): void {
    Atomics.wait(this.#words, stoppedWord, 0, timeMs);
  }

  #next(): Uint8Array {
    this.#ring.waitForRoom(this.#givenCount);
    return this.isStopped ? new Uint8Array(0) : this.#ring.slot(this.#givenCount);
  }
}
