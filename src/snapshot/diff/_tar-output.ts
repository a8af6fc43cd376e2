import { readSync } from "node:fs";

/** Takes bytes that are valid during the call alone. */
export type ByteSink = (bytes: Uint8Array) => void;

/** Takes an archive in memory of its own. */
export interface ArchiveSink {
  /** Where the next bytes are to be put. */
  room(): Uint8Array;
  /** Takes the first bytes of the room; the next bytes need another. */
  take(sizeBytes: number): void;
  /**
   * Takes content from an open file itself, from where it is read next.
   *
   * @returns how many bytes came: less at the end of the file, or where it cannot be done
   */
  takeFile?(fd: number, sizeBytes: number): number;
}

const bufferBytes = 256 * 1024;
/** A shorter file comes with its neighbours in one buffer. */
const fileMinBytes = 64 * 1024;

/** A sink that passes on what lies in one buffer. */
export function passingSink(pass: ByteSink): ArchiveSink {
  const buffer = new Uint8Array(bufferBytes);
  return { room: () => buffer, take: (sizeBytes) => pass(buffer.subarray(0, sizeBytes)) };
}

/** Gathers small pieces of an archive, and gives them on in larger ones. */
export class TarOutput {
  readonly #sink: ArchiveSink;
  #room: Uint8Array = new Uint8Array(0);
  #usedBytes = 0;
  #sizeBytes = 0;

  constructor(sink: ArchiveSink) {
    this.#sink = sink;
  }

  /** Bytes given so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const room = this.#free();
      const countBytes = Math.min(bytes.length - at, this.#freeBytes);
      // A view of bytes costs more than to copy a header.
      const part = countBytes === bytes.length ? bytes : bytes.subarray(at, at + countBytes);
      room.set(part, this.#usedBytes);
      this.#fill(countBytes);
      at += countBytes;
    }
  }

  /** Takes content from an open file. @returns how many bytes came: less at its end */
  readFile(fd: number, sizeBytes: number): number {
    let leftBytes = sizeBytes - this.#takeFile(fd, sizeBytes);
    while (leftBytes > 0) {
      const room = this.#free();
      const wantedBytes = Math.min(leftBytes, this.#freeBytes);
      const countBytes = readSync(fd, room, this.#usedBytes, wantedBytes, null);
      if (countBytes === 0) break;
      this.#fill(countBytes);
      leftBytes -= countBytes;
    }
    return sizeBytes - leftBytes;
  }

  zeros(countBytes: number): void {
    for (let leftBytes = countBytes; leftBytes > 0; ) {
      const room = this.#free();
      const partBytes = Math.min(leftBytes, this.#freeBytes);
      room.fill(0, this.#usedBytes, this.#usedBytes + partBytes);
      this.#fill(partBytes);
      leftBytes -= partBytes;
    }
  }

  /** Gives all on. */
  flush(): void {
    if (this.#usedBytes > 0) this.#sink.take(this.#usedBytes);
    this.#room = new Uint8Array(0);
    this.#usedBytes = 0;
  }

  #takeFile(fd: number, sizeBytes: number): number {
    if (this.#sink.takeFile === undefined || sizeBytes < fileMinBytes) return 0;
    this.flush();
    const countBytes = this.#sink.takeFile(fd, sizeBytes);
    this.#sizeBytes += countBytes;
    return countBytes;
  }

  /** Memory that has room behind what is used of it. */
  #free(): Uint8Array {
    if (this.#freeBytes === 0) {
      this.flush();
      this.#room = this.#sink.room();
    }
    return this.#room;
  }

  get #freeBytes(): number {
    return this.#room.length - this.#usedBytes;
  }

  #fill(countBytes: number): void {
    this.#usedBytes += countBytes;
    this.#sizeBytes += countBytes;
  }
}
