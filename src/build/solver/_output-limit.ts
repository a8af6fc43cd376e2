/** Bytes of output that one step may show. BuildKit, BUILDKIT_STEP_LOG_MAX_SIZE. */
export const outputMaxBytes: number = 2 * 1024 * 1024;

/** What stands where output was left out. */
export const clippedNotice = "[output clipped, log limit 2MiB reached]\n";

/** Passes output on up to a limit, then says once that the rest is left out. */
export class OutputLimit {
  #leftBytes: number;
  #isClipped = false;

  constructor(maxBytes: number = outputMaxBytes) {
    this.#leftBytes = maxBytes;
  }

  /** What of `bytes` is to be shown; undefined for nothing. */
  take(bytes: Uint8Array): Uint8Array | undefined {
    if (this.#isClipped) return undefined;
    if (bytes.length <= this.#leftBytes) {
      this.#leftBytes -= bytes.length;
      return bytes;
    }
    this.#isClipped = true;
    const rest = bytes.subarray(0, this.#leftBytes);
    const hasLineEnd = rest.length === 0 || rest.at(-1) === 0x0a;
    return Buffer.concat([rest, Buffer.from(`${hasLineEnd ? "" : "\n"}${clippedNotice}`)]);
  }
}
