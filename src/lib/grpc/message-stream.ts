/** The messages of one call, both ways, over a stream of HTTP/2. */
import type { Duplex } from "node:stream";
import { EngineError, messageOf } from "../errors.ts";
import type { MessageType } from "../protobuf.ts";
import { encodeMessageFrame, FrameReader } from "./frames.ts";
import type { SendWindow } from "./send-windows.ts";

/** Longest message that is read, unless a service says otherwise. */
export const messageMaxBytes: number = 16 * 1024 * 1024;
/** What may wait to be read before the sender is held back. */
const queueMaxBytes = 1024 * 1024;
/** What a message costs besides its bytes: empty ones must not come without end. */
const messageCostBytes = 64;
/**
 * What is given to the stream at a time. All streams of a connection may have that much under way
 * together when its other side reads nothing: see `sessionMemoryMaxMb`.
 */
const pieceMaxBytes = 256 * 1024;
/** Calls that one connection may have under way. */
export const callCountMax = 1000;
/** node:http2 ends a stream that writes while more waits than that: it never does. */
export const sessionMemoryMaxMb: number = (2 * callCountMax * pieceMaxBytes) / (1024 * 1024);

/** How a call's messages are read and sent. */
export interface MessageStreamOptions {
  readonly messageMaxBytes?: number;
  /** What may be sent; all when absent. */
  readonly window?: SendWindow;
}

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
  readonly #window: SendWindow | undefined;
  #sending: Promise<void> | undefined;

  constructor(stream: Duplex, options: MessageStreamOptions = {}) {
    this.#stream = stream;
    this.#window = options.window;
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
      const message = this.queued();
      if (message !== undefined) return message;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isEnded) return undefined;
      const waiting = Promise.withResolvers<void>();
      this.#wake = waiting.resolve;
      await waiting.promise;
    }
  }

  /** The next message when it is here already: many small ones cost more to wait for than to read. */
  queued(): Buffer | undefined {
    const message = this.#queue.shift();
    if (message === undefined) return undefined;
    this.#queueBytes -= message.length + messageCostBytes;
    if (this.#isPaused && this.#queueBytes < queueMaxBytes / 2) {
      this.#isPaused = false;
      this.#stream.resume();
    }
    return message;
  }

  /**
   * Sends a message; resolves when more may be sent. Its bytes are the stream's from now on.
   *
   * @throws unavailable when the stream is gone
   */
  async send<T>(type: MessageType<T>, values: Partial<T>): Promise<void> {
    if (this.#stream.destroyed || this.#stream.writableEnded) throw gone(this.#failure);
    const pieces = encodeMessageFrame(type, values);
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#sending;
    this.#sending = promise;
    // The pieces of a message stay together.
    await before;
    try {
      for (const piece of pieces) await this.#sendPiece(piece);
    } finally {
      if (this.#sending === promise) this.#sending = undefined;
      resolve();
    }
  }

  /** Gives up without a word when the stream ends: its status tells why. */
  async #sendPiece(whole: Uint8Array): Promise<void> {
    const stream = this.#stream;
    for (let at = 0; at < whole.length; ) {
      if (stream.destroyed || stream.writableEnded) return;
      const leftBytes = Math.min(this.#window?.leftBytes ?? whole.length, pieceMaxBytes);
      if (leftBytes === 0) {
        await this.#until((done) => this.#window?.onMore(done));
        continue;
      }
      const piece = whole.subarray(at, at + leftBytes);
      at += piece.length;
      this.#window?.spend(piece.length);
      if (stream.write(piece)) continue;
      await this.#until((done) => {
        if (!stream.writableNeedDrain) done();
        stream.on("drain", done);
        return () => stream.off("drain", done);
      });
    }
  }

  /** Waits until `begin` calls back, or the stream is gone. */
  async #until(begin: (done: () => void) => (() => void) | undefined): Promise<void> {
    const stream = this.#stream;
    const { promise, resolve: done } = Promise.withResolvers<void>();
    stream.on("close", done).on("error", done);
    const forget = begin(done);
    if (stream.destroyed) done();
    await promise;
    stream.off("close", done).off("error", done);
    forget?.();
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
