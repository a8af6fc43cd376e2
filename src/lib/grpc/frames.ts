/** gRPC's messages in the bytes of a stream: a flag, a length, the message. */
import { EngineError } from "../errors.ts";

const headerBytes = 5;

/** Puts the head of a frame in front of a message. */
export function encodeFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, headerBytes);
  return frame;
}

/** Takes frames apart as their bytes come. */
export class FrameReader {
  readonly #messageMaxBytes: number;
  #chunks: Buffer[] = [];
  #sizeBytes = 0;
  /** Size of the frame that is being read, with its head; undefined before the head is there. */
  #wantedBytes: number | undefined;

  constructor(options: { readonly messageMaxBytes: number }) {
    this.#messageMaxBytes = options.messageMaxBytes;
  }

  /** True between two frames. */
  get isAtBoundary(): boolean {
    return this.#sizeBytes === 0;
  }

  /**
   * Takes bytes, and gives the messages that they complete.
   *
   * @throws invalid-argument when a message is longer than the bound
   * @throws not-implemented when it is compressed: nobody was told that it may be
   */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    const messages: Buffer[] = [];
    for (;;) {
      if (this.#wantedBytes === undefined) {
        if (this.#sizeBytes < headerBytes) return messages;
        this.#wantedBytes = headerBytes + this.#readLength();
      }
      if (this.#sizeBytes < this.#wantedBytes) return messages;
      messages.push(this.#take(this.#wantedBytes).subarray(headerBytes));
      this.#wantedBytes = undefined;
    }
  }

  #readLength(): number {
    const first = this.#chunks[0];
    const head = first !== undefined && first.length >= headerBytes ? first : this.#join();
    if (head[0] !== 0) {
      throw new EngineError(
        "not-implemented",
        "read gRPC message: compressed, which is not served",
      );
    }
    const length = head.readUInt32BE(1);
    if (length <= this.#messageMaxBytes) return length;
    throw new EngineError(
      "invalid-argument",
      `read gRPC message: ${length} bytes, of at most ${this.#messageMaxBytes}`,
    );
  }

  #take(count: number): Buffer {
    const all = this.#join();
    this.#sizeBytes -= count;
    this.#chunks = this.#sizeBytes === 0 ? [] : [all.subarray(count)];
    return all.subarray(0, count);
  }

  #join(): Buffer {
    const [only] = this.#chunks;
    if (this.#chunks.length === 1 && only !== undefined) return only;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}
