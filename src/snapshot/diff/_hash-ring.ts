/**
 * Archives from the thread that reads files to the one that hashes, without copying: slots in shared
 * memory, filled and taken in turns. Both threads block while they wait, so that no message and no
 * event loop is between them.
 */
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { createSharedSlots, firstOwnWord, type SharedSlots, SlotRing } from "../slot-ring.ts";

/** Slots in a ring. */
export const slotCount = 8;

const digestMaxBytes = 128;
/** `given` counts slots without end; `answered` counts digests. */
const word = {
  given: firstOwnWord,
  answered: firstOwnWord + 1,
  digestBytes: firstOwnWord + 2,
  sizes: firstOwnWord + 3,
} as const;
const wordCount = word.sizes + slotCount;
/** In place of a slot's size: the archive is whole, or nobody wants its digest any more. */
const mark = { end: 0, dropped: -1 } as const;

/** Makes an empty ring. */
export function createHashRing(): SharedSlots {
  return createSharedSlots({
    slotCount,
    ownWords: wordCount - firstOwnWord,
    moreBytes: digestMaxBytes,
  });
}

/** One side's view of a ring. */
export class RingEnd {
  readonly #ring: SlotRing;
  readonly #words: Int32Array;
  readonly #digest: Uint8Array;

  constructor(shared: SharedSlots) {
    this.#ring = new SlotRing(shared);
    this.#words = new Int32Array(shared.words, 0, wordCount);
    this.#digest = new Uint8Array(shared.words, this.#words.byteLength, digestMaxBytes);
  }

  /** The memory of the slot that has a number. */
  slot(index: number): Uint8Array {
    return this.#ring.slot(index);
  }

  /** Slots that were given so far. */
  get givenCount(): number {
    return Atomics.load(this.#words, word.given);
  }

  /** Waits until slot `index` may be filled. @returns false when that takes too long */
  waitForRoom(index: number, timeoutMs: number): boolean {
    return this.#ring.waitForRoom(index, timeoutMs);
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
      const index = this.#ring.takenCount;
      while (Atomics.load(this.#words, word.given) === index) {
        Atomics.wait(this.#words, word.given, index);
      }
      const sizeBytes = Atomics.load(this.#words, word.sizes + (index % slotCount));
      if (sizeBytes > 0) take(this.slot(index).subarray(0, sizeBytes));
      this.#ring.giveBack();
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
