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

/** Where `ChunkFiller` gets room, and what becomes of it. */
export interface ChunkRoom {
  /** Free memory for the next chunk, which is its own until it was given; empty when there is no more
   * use in writing. */
  readonly next: () => Uint8Array;
  /** Sees each chunk. */
  readonly give: (chunk: Uint8Array) => void;
}

/** Cuts what is written into chunks of the size of their room. */
export class ChunkFiller {
  readonly #room: ChunkRoom;
  #chunk: Uint8Array | undefined;
  #filledBytes = 0;

  constructor(room: ChunkRoom) {
    this.#room = room;
  }

  /** Whether who takes the chunks wants no more. */
  get isStopped(): boolean {
    return false;
  }

  /** The free part of the chunk that is being filled; waits for one. Empty once stopped. */
  room(): Uint8Array {
    this.#chunk ??= this.#room.next();
    return this.#chunk.subarray(this.#filledBytes);
  }

  /** Says how much of `room` was filled. */
  filled(sizeBytes: number): void {
    this.#filledBytes += sizeBytes;
    if (this.#chunk !== undefined && this.#filledBytes === this.#chunk.byteLength) this.flush();
  }

  /** Copies bytes into as many chunks as they take. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength && !this.isStopped; ) {
      const room = this.room();
      const part = bytes.subarray(at, at + room.byteLength);
      room.set(part);
      this.filled(part.byteLength);
      at += part.byteLength;
    }
  }

  /** Gives the chunk away as it is. */
  flush(): void {
    if (this.#chunk === undefined || this.#filledBytes === 0 || this.isStopped) return;
    const chunk = this.#chunk.subarray(0, this.#filledBytes);
    this.#chunk = undefined;
    this.#filledBytes = 0;
    this.#room.give(chunk);
  }
}

/** The writer's side of the ring; its calls block. */
export class ChunkWriter extends ChunkFiller {
  readonly #words: Int32Array;

  /** @param options.give sees each chunk, and tells the reader how many bytes it has */
  constructor(shared: SharedSlots, { give }: Pick<ChunkRoom, "give">) {
    const ring = new SlotRing(shared);
    const words = new Int32Array(shared.words);
    let givenCount = 0;
    super({
      next: () => {
        ring.waitForRoom(givenCount);
        return hasStopped(words) ? new Uint8Array(0) : ring.slot(givenCount);
      },
      give: (chunk) => {
        give(chunk);
        givenCount += 1;
      },
    });
    this.#words = words;
  }

  override get isStopped(): boolean {
    return hasStopped(this.#words);
  }

  /** Blocks for a while, or until stopped. */
  pause(timeMs: number): void {
    Atomics.wait(this.#words, stoppedWord, 0, timeMs);
  }
}

function hasStopped(words: Int32Array): boolean {
  return Atomics.load(words, stoppedWord) === 1;
}
