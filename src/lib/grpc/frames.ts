/** gRPC's messages in the bytes of a stream: a flag, a length, the message. */
import { EngineError } from "../errors.ts";
import { encodeMessagePieces, type MessageType } from "../protobuf.ts";

const headBytes = 5;

/** A message in its frame, in pieces; its long byte fields are not copied and must not change. */
export function encodeMessageFrame<T>(
  type: MessageType<T>,
  values: Partial<T>,
): readonly Uint8Array[] {
  const pieces = encodeMessagePieces(type, values, { headBytes });
  const length = pieces.reduce((sum, piece) => sum + piece.length, -headBytes);
  const [head] = pieces;
  for (let at = 0; head !== undefined && at < 4; at += 1) {
    head[at + 1] = (length >>> (8 * (3 - at))) & 0xff;
  }
  return pieces;
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
        if (this.#sizeBytes < headBytes) return messages;
        this.#wantedBytes = headBytes + this.#readLength();
      }
      if (this.#sizeBytes < this.#wantedBytes) return messages;
      messages.push(this.#take(this.#wantedBytes).subarray(headBytes));
      this.#wantedBytes = undefined;
    }
  }

  #readLength(): number {
    const first = this.#chunks[0];
    const head = first !== undefined && first.length >= headBytes ? first : this.#join();
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
