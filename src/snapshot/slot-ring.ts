/**
 * A fixed number of slots in shared memory, which one thread fills and another takes in turns: the ground
 * of what brings bytes from thread to thread without copying. Who says what a slot holds, and when all
 * is over, has words of its own beside the ring's.
 */

/** Bytes of one slot. */
export const slotBytes: number = 256 * 1024;

/** What both threads see; goes from one to the other in a message. */
export interface SharedSlots {
  readonly slots: SharedArrayBuffer;
  /** 32-bit words: the first is the ring's, the others are its owner's. */
  readonly words: SharedArrayBuffer;
}

/** The word that counts slots taken, without end. */
const takenWord = 0;
/** The first word that is not the ring's. */
export const firstOwnWord = 1;

/** Makes an empty ring with so many words of its owner, and bytes behind them. */
export function createSharedSlots(room: {
  readonly slotCount: number;
  readonly ownWords: number;
  readonly moreBytes?: number;
}): SharedSlots {
  const { slotCount, ownWords, moreBytes = 0 } = room;
  const wordsBytes = Int32Array.BYTES_PER_ELEMENT * (firstOwnWord + ownWords);
  return {
    slots: new SharedArrayBuffer(slotBytes * slotCount),
    words: new SharedArrayBuffer(wordsBytes + moreBytes),
  };
}

/** One side's view of a ring. */
export class SlotRing {
  readonly #slots: SharedArrayBuffer;
  readonly #slotCount: number;
  readonly #words: Int32Array;

  constructor({ slots, words }: SharedSlots) {
    this.#slots = slots;
    this.#slotCount = slots.byteLength / slotBytes;
    this.#words = new Int32Array(words, 0, firstOwnWord);
  }

  /** Slots taken so far. */
  get takenCount(): number {
    return Atomics.load(this.#words, takenWord);
  }

  /** The memory of the slot that has a number. */
  slot(index: number): Uint8Array {
    return new Uint8Array(this.#slots, (index % this.#slotCount) * slotBytes, slotBytes);
  }

  /** Waits until slot `index` may be filled. @returns false when that takes too long */
  waitForRoom(index: number, timeoutMs: number = Number.POSITIVE_INFINITY): boolean {
    for (;;) {
      const { takenCount } = this;
      if (index - takenCount < this.#slotCount) return true;
      if (Atomics.wait(this.#words, takenWord, takenCount, timeoutMs) === "timed-out") return false;
    }
  }

  /** Gives the slot that was taken back, and wakes who waits for room. */
  giveBack(): void {
    Atomics.add(this.#words, takenWord, 1);
    Atomics.notify(this.#words, takenWord);
  }

  /** Begins anew; nobody fills or takes. */
  reset(): void {
    Atomics.store(this.#words, takenWord, 0);
  }
}
