/**
 * Bytes from one thread to another without copying: a fixed number of slots in shared memory, filled
 * and taken in turns. The writer blocks while all are full; the reader is told of each chunk by a
 * message, takes it in its event loop, and gives the slot back.
 */
const slotBytes = 256 * 1024;
const slotCount = 16;

/** What both threads see; goes from one to the other in a message. */
export interface ChunkRing {
  readonly slots: SharedArrayBuffer;
  /** See `word`. */
  readonly words: SharedArrayBuffer;
}

const word = { takenCount: 0, isStopped: 1, count: 2 } as const;

/** Makes an empty ring. */
export function createChunkRing(): ChunkRing {
  return {
    slots: new SharedArrayBuffer(slotBytes * slotCount),
    words: new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * word.count),
  };
}

/** The reader's side. */
export class ChunkTaker {
  readonly ring: ChunkRing = createChunkRing();
  readonly #words: Int32Array = new Int32Array(this.ring.words);

  /** Begins anew; the writer has ended before. */
  reset(): void {
    this.#words.fill(0);
  }

  /** Gives the next chunk to `take`, and its slot back. The bytes are valid during the call. */
  take(sizeBytes: number, take: (bytes: Uint8Array) => void): void {
    const at = (Atomics.load(this.#words, word.takenCount) % slotCount) * slotBytes;
    take(new Uint8Array(this.ring.slots, at, sizeBytes));
    Atomics.add(this.#words, word.takenCount, 1);
    Atomics.notify(this.#words, word.takenCount);
  }

  /** Wakes the writer and has it give up. */
  stop(): void {
    Atomics.store(this.#words, word.isStopped, 1);
    // A writer that has seen neither is about to wait for another number.
    Atomics.add(this.#words, word.takenCount, 1);
    Atomics.notify(this.#words, word.takenCount);
    Atomics.notify(this.#words, word.isStopped);
  }
}

/** The writer's side; its calls block. */
export class ChunkWriter {
  readonly #ring: ChunkRing;
  readonly #words: Int32Array;
  readonly #give: (chunk: Uint8Array) => void;
  #givenCount = 0;
  #slot: Uint8Array | undefined;
  #filledBytes = 0;

  /** @param options.give sees each chunk, and tells the reader how many bytes it has */
  constructor(ring: ChunkRing, options: { readonly give: (chunk: Uint8Array) => void }) {
    this.#ring = ring;
    this.#words = new Int32Array(ring.words);
    this.#give = options.give;
  }

  /** Whether the reader wants no more. */
  get isStopped(): boolean {
    return Atomics.load(this.#words, word.isStopped) === 1;
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
    Atomics.wait(this.#words, word.isStopped, 0, timeMs);
  }

  #next(): Uint8Array {
    for (;;) {
      if (this.isStopped) return new Uint8Array(0);
      const takenCount = Atomics.load(this.#words, word.takenCount);
      if (this.#givenCount - takenCount < slotCount) break;
      Atomics.wait(this.#words, word.takenCount, takenCount);
    }
    const at = (this.#givenCount % slotCount) * slotBytes;
    return new Uint8Array(this.#ring.slots, at, slotBytes);
  }
}
