/**
 * Archives from the thread that reads files to the one that hashes, without copying: slots in shared
 * memory, filled and taken in turns. Both threads block while they wait, so that no message and no
 * event loop is between them.
 */
import type { Digest } from "../../oci/digest.ts";
import { parseDigest } from "../../oci/digest.ts";

/** Bytes of one slot. */
export const slotBytes: number = 256 * 1024;
/** Slots in a ring. */
export const slotCount = 8;

/** What both threads see; goes from one to the other when the second is started. */
export interface HashRing {
  readonly slots: SharedArrayBuffer;
  /** See `word`. */
  readonly words: SharedArrayBuffer;
}

const digestMaxBytes = 128;
/** `given` and `taken` count slots without end; `answered` counts digests. */
const word = { given: 0, taken: 1, answered: 2, digestBytes: 3, sizes: 4 } as const;
const wordsBytes = Int32Array.BYTES_PER_ELEMENT * (word.sizes + slotCount);
/** In place of a slot's size: the archive is whole, or nobody wants its digest any more. */
const mark = { end: 0, dropped: -1 } as const;

/** Makes an empty ring. */
export function createHashRing(): HashRing {
  return {
    slots: new SharedArrayBuffer(slotBytes * slotCount),
    words: new SharedArrayBuffer(wordsBytes + digestMaxBytes),
  };
}

/** One side's view of a ring. */
export class RingEnd {
  readonly #slots: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #digest: Uint8Array;

  constructor({ slots, words }: HashRing) {
    this.#slots = slots;
    this.#words = new Int32Array(words, 0, wordsBytes / Int32Array.BYTES_PER_ELEMENT);
    this.#digest = new Uint8Array(words, wordsBytes, digestMaxBytes);
  }

  /** The memory of the slot that has a number. */
  slot(index: number): Uint8Array {
    return new Uint8Array(this.#slots, (index % slotCount) * slotBytes, slotBytes);
  }

  /** Slots that were given so far. */
  get givenCount(): number {
    return Atomics.load(this.#words, word.given);
  }

  /** Waits until slot `index` may be filled. @returns false when that takes too long */
  waitForRoom(index: number, timeoutMs: number): boolean {
    for (;;) {
      const takenCount = Atomics.load(this.#words, word.taken);
      if (index - takenCount < slotCount) return true;
      if (Atomics.wait(this.#words, word.taken, takenCount, timeoutMs) === "timed-out")
        return false;
    }
  }

  /** Gives the slots up to `sizes.length` more: the bytes that each has. */
  give(sizes: readonly number[]): void {
    const index = Atomics.load(this.#words, word.given);
    for (const [offset, sizeBytes] of sizes.entries()) this.#setSize(index + offset, sizeBytes);
    Atomics.store(this.#words, word.given, index + sizes.length);
    Atomics.notify(this.#words, word.given);
  }

  /** Ends the archive. There must be room for a slot. */
  end({ isDropped }: { readonly isDropped: boolean }): void {
    this.give([isDropped ? mark.dropped : mark.end]);
  }

  /** Waits for the digest number `index`; undefined when that takes too long. */
  waitForDigest(index: number, timeoutMs: number): Digest | undefined {
    while (Atomics.load(this.#words, word.answered) === index) {
      if (Atomics.wait(this.#words, word.answered, index, timeoutMs) === "timed-out") {
        return undefined;
      }
    }
    const sizeBytes = Atomics.load(this.#words, word.digestBytes);
    return parseDigest(Buffer.from(this.#digest.slice(0, sizeBytes)).toString("latin1"));
  }

  /** Digests that were answered so far. */
  get answeredCount(): number {
    return Atomics.load(this.#words, word.answered);
  }

  /**
   * Takes the slots of one archive as they are given; blocks in between.
   *
   * @returns whether its digest is wanted
   */
  takeAll(take: (bytes: Uint8Array) => void): boolean {
    for (;;) {
      const index = Atomics.load(this.#words, word.taken);
      while (Atomics.load(this.#words, word.given) === index) {
        Atomics.wait(this.#words, word.given, index);
      }
      const sizeBytes = Atomics.load(this.#words, word.sizes + (index % slotCount));
      if (sizeBytes > 0) take(this.slot(index).subarray(0, sizeBytes));
      Atomics.store(this.#words, word.taken, index + 1);
      Atomics.notify(this.#words, word.taken);
      if (sizeBytes <= 0) return sizeBytes === mark.end;
    }
  }

  /** Answers with a digest. */
  answer(digest: Digest): void {
    const { written } = new TextEncoder().encodeInto(digest, this.#digest);
    Atomics.store(this.#words, word.digestBytes, written);
    Atomics.add(this.#words, word.answered, 1);
    Atomics.notify(this.#words, word.answered);
  }

  #setSize(index: number, sizeBytes: number): void {
    Atomics.store(this.#words, word.sizes + (index % slotCount), sizeBytes);
  }
}
