/** The messages of one call, both ways, over a stream of HTTP/2. */
import type { Duplex } from "node:stream";
import { EngineError, messageOf } from "../errors.ts";
import type { MessageType } from "../protobuf.ts";
import { encodeMessageFrame, FrameReader } from "./frames.ts";

/** Longest message that is read, unless a service says otherwise. */
export const messageMaxBytes: number = 16 * 1024 * 1024;
/** What may wait to be read before the sender is held back. */
const queueMaxBytes = 1024 * 1024;
/** What a message costs besides its bytes: empty ones must not come without end. */
const messageCostBytes = 64;

/** Reads and writes messages on a stream that it shares with whoever deals with its headers. */
export class MessageStream {
  readonly #stream: Duplex;
  readonly #frames: FrameReader;
  readonly #queue: Buffer[] = [];
  #queueBytes = 0;
  #isPaused = false;
  #isEnded = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  constructor(stream: Duplex, options: { readonly messageMaxBytes?: number } = {}) {
    this.#stream = stream;
    this.#frames = new FrameReader({
      messageMaxBytes: options.messageMaxBytes ?? messageMaxBytes,
    });
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("end", () => this.#finish());
    stream.on("close", () => this.#finish());
    stream.on("error", (cause) => {
      this.fail(new EngineError("unavailable", `stream broke: ${messageOf(cause)}`, { cause }));
    });
  }

  /** Ends reading with a failure; what was read before it is still given. */
  fail(error: unknown): void {
    this.#failure ??= error;
    this.#finish();
  }

  /** The next message; undefined at the end. @throws what ended the stream */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const message = this.#queue.shift();
      if (message !== undefined) {
        this.#queueBytes -= message.length + messageCostBytes;
        if (this.#isPaused && this.#queueBytes < queueMaxBytes / 2) {
          this.#isPaused = false;
          this.#stream.resume();
        }
        return message;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isEnded) return undefined;
      const waiting = Promise.withResolvers<void>();
      this.#wake = waiting.resolve;
      await waiting.promise;
    }
  }

  /** Sends a message; resolves when more may be sent. @throws unavailable when the stream is gone */
  async send<T>(type: MessageType<T>, values: Partial<T>): Promise<void> {
    if (this.#stream.destroyed || this.#stream.writableEnded) throw gone(this.#failure);
    if (this.#stream.write(encodeMessageFrame(type, values))) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#stream.off("drain", done).off("close", done).off("error", done);
        resolve();
      };
      this.#stream.on("drain", done).on("close", done).on("error", done);
      if (this.#stream.destroyed || !this.#stream.writableNeedDrain) done();
    });
  }

  #take(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      for (const message of this.#frames.push(chunk)) {
        this.#queue.push(message);
        this.#queueBytes += message.length + messageCostBytes;
      }
    } catch (error) {
      this.fail(error);
      return;
    }
    if (!this.#isPaused && this.#queueBytes > queueMaxBytes) {
      this.#isPaused = true;
      this.#stream.pause();
    }
    this.#wake?.();
  }

  #finish(): void {
    if (!this.#isEnded && this.#failure === undefined && !this.#frames.isAtBoundary) {
      this.#failure = new EngineError("data-loss", "read gRPC message: the stream ended within it");
    }
    this.#isEnded = true;
    this.#wake?.();
  }
}

function gone(cause: unknown): EngineError {
  const reason = cause === undefined ? "the stream is closed" : messageOf(cause);
  return new EngineError("unavailable", `send gRPC message: ${reason}`, { cause });
}
