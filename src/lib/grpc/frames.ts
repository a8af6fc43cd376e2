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
  /** With fewer bytes than that nothing is to be done: a head, or a frame whose head is here. */
  #wantedBytes = headBytes;

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
    if (this.#sizeBytes < this.#wantedBytes) return [];
    const all = this.#join();
    const messages: Buffer[] = [];
    let at = 0;
    this.#wantedBytes = headBytes;
    while (all.length - at >= headBytes) {
      const frameBytes = headBytes + this.#lengthAt(all, at);
      if (all.length - at < frameBytes) {
        this.#wantedBytes = frameBytes;
        break;
      }
      messages.push(all.subarray(at + headBytes, at + frameBytes));
      at += frameBytes;
    }
    this.#sizeBytes = all.length - at;
    this.#chunks = this.#sizeBytes === 0 ? [] : [all.subarray(at)];
    return messages;
  }

  #lengthAt(bytes: Buffer, at: number): number {
    if (bytes[at] !== 0) {
      throw new EngineError(
        "not-implemented",
        "read gRPC message: compressed, which is not served",
      );
    }
    const length = bytes.readUInt32BE(at + 1);
    if (length <= this.#messageMaxBytes) return length;
    throw new EngineError(
      "invalid-argument",
      `read gRPC message: ${length} bytes, of at most ${this.#messageMaxBytes}`,
    );
  }

  #join(): Buffer {
    const [only] = this.#chunks;
    return this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
  }
}
