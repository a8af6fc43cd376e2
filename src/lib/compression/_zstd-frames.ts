/**
 * Follows the frames of a zstd stream without decoding them, to know whether it ended whole: the
 * decoder of zlib accepts a stream that stops in the middle of a frame.
 *
 * @see RFC 8878, section 3.1
 */
export class ZstdFrames {
  #step: Step = "magic";
  #wanted = 4;
  #field: number[] = [];
  #skipBytes = 0;
  #hasChecksum = false;
  #isLastBlock = false;

  /** Whether what was pushed so far ends where a frame ends. */
  get isWhole(): boolean {
    return this.#step === "magic" && this.#field.length === 0 && this.#skipBytes === 0;
  }

  /** Follows the next bytes; what is not zstd is left for the decoder to refuse. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && this.#step !== "lost") {
      if (this.#skipBytes > 0) {
        const passed = Math.min(this.#skipBytes, chunk.length - at);
        this.#skipBytes -= passed;
        at += passed;
        continue;
      }
      this.#field.push(chunk[at] ?? 0);
      at += 1;
      if (this.#field.length === this.#wanted) this.#take();
    }
  }

  #take(): void {
    const field = this.#field;
    this.#field = [];
    const value = field.reduceRight((sum, byte) => sum * 256 + byte, 0);
    switch (this.#step) {
      case "magic":
        if (value === 0xfd2fb528) this.#expect("descriptor", 1);
        else if (value >= 0x184d2a50 && value <= 0x184d2a5f) this.#expect("skippable", 4);
        else this.#step = "lost";
        return;
      case "skippable":
        this.#skipBytes = value;
        this.#expect("magic", 4);
        return;
      case "descriptor":
        this.#descriptor(value);
        return;
      case "block":
        this.#block(value);
        return;
      case "lost":
        return;
    }
  }

  #descriptor(flags: number): void {
    const isSingleSegment = (flags & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][flags & 3] ?? 0;
    const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
    this.#hasChecksum = (flags & 4) !== 0;
    this.#skipBytes = (isSingleSegment ? 0 : 1) + dictionaryBytes + contentSizeBytes;
    this.#expect("block", 3);
  }

  #block(header: number): void {
    const isRepeat = ((header >> 1) & 3) === 1;
    this.#isLastBlock = (header & 1) !== 0;
    this.#skipBytes = isRepeat ? 1 : header >> 3;
    if (!this.#isLastBlock) return;
    this.#skipBytes += this.#hasChecksum ? 4 : 0;
    this.#expect("magic", 4);
  }

  #expect(step: Step, sizeBytes: number): void {
    this.#step = step;
    this.#wanted = sizeBytes;
  }
}

type Step = "magic" | "skippable" | "descriptor" | "block" | "lost";
