/** Takes bytes that are valid during the call alone. */
export type ByteSink = (bytes: Uint8Array) => void;

const bufferBytes = 256 * 1024;

/** Gathers small pieces of an archive, and gives them on in larger ones. */
export class TarOutput {
  readonly #sink: ByteSink;
  readonly #buffer = Buffer.allocUnsafe(bufferBytes);
  #used = 0;
  #sizeBytes = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Bytes given so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  write(bytes: Uint8Array): void {
    this.#sizeBytes += bytes.length;
    if (bytes.length > bufferBytes - this.#used) this.flush();
    if (bytes.length > bufferBytes) {
      this.#sink(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  /**
   * Takes bytes from where they are, without a copy of them elsewhere.
   *
   * @param read puts at most as many bytes as there is room, and tells how many; 0 at the end
   * @returns how many bytes came
   */
  readFrom(sizeBytes: number, read: (room: Buffer) => number): number {
    let left = sizeBytes;
    while (left > 0) {
      if (this.#used === bufferBytes) this.flush();
      const end = Math.min(bufferBytes, this.#used + left);
      const count = read(this.#buffer.subarray(this.#used, end));
      if (count === 0) break;
      this.#used += count;
      left -= count;
    }
    this.#sizeBytes += sizeBytes - left;
    return sizeBytes - left;
  }

  zeros(countBytes: number): void {
    this.#sizeBytes += countBytes;
    for (let left = countBytes; left > 0; ) {
      if (this.#used === bufferBytes) this.flush();
      const count = Math.min(left, bufferBytes - this.#used);
      this.#buffer.fill(0, this.#used, this.#used + count);
      this.#used += count;
      left -= count;
    }
  }

  /** Gives all on. */
  flush(): void {
    if (this.#used === 0) return;
    this.#sink(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }
}
