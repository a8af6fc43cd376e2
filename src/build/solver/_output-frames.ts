/**
 * Takes apart the framed output of a step's process: eight bytes of header (stream, three zeros,
 * size as a big-endian 32-bit integer), then the payload.
 */
import { EngineError } from "../../lib/errors.ts";

const headerSizeBytes = 8;

/** Hands on each part of a payload as it comes; at most a header is held back. */
export class OutputFrames {
  readonly #sink: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
  readonly #header = new Uint8Array(headerSizeBytes);
  #headerSizeBytes = 0;
  #leftBytes = 0;
  #stream: "stdout" | "stderr" = "stdout";

  constructor(sink: (stream: "stdout" | "stderr", bytes: Uint8Array) => void) {
    this.#sink = sink;
  }

  /** @throws data-loss for what is no frame */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#leftBytes > 0) {
        const part = chunk.subarray(at, at + this.#leftBytes);
        this.#sink(this.#stream, part);
        this.#leftBytes -= part.length;
        at += part.length;
        continue;
      }
      const part = chunk.subarray(at, at + headerSizeBytes - this.#headerSizeBytes);
      this.#header.set(part, this.#headerSizeBytes);
      this.#headerSizeBytes += part.length;
      at += part.length;
      if (this.#headerSizeBytes === headerSizeBytes) this.#begin();
    }
  }

  #begin(): void {
    const stream = this.#header[0];
    if (stream !== 1 && stream !== 2) {
      throw new EngineError("data-loss", "read a step's output: it is not framed as it should be");
    }
    this.#stream = stream === 1 ? "stdout" : "stderr";
    this.#leftBytes = new DataView(this.#header.buffer).getUint32(4);
    this.#headerSizeBytes = 0;
  }
}
