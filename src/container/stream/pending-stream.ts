import { Duplex } from "node:stream";
import { setSocketTaker, socketTakerOf } from "../../lib/socket-taker.ts";

/**
 * A client's attachment before there is anything to attach to.
 *
 * What the client writes waits, with back-pressure, until `join`; from then on the bytes pass
 * through in both directions, half-close included.
 */
export class PendingStream extends Duplex {
  #inner: Duplex | undefined;
  #onJoined: (() => void)[] = [];

  constructor() {
    super({ allowHalfOpen: true, readableHighWaterMark: 256 * 1024 });
    setSocketTaker(this, () => {
      return this.#inner === undefined ? undefined : socketTakerOf(this.#inner);
    });
  }

  /** Connects it to the real stream, which it owns from now on. */
  join(inner: Duplex): void {
    if (this.destroyed) {
      inner.destroy();
      return;
    }
    this.#inner = inner;
    inner.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) inner.pause();
    });
    inner.on("end", () => this.push(null));
    inner.on("close", () => {
      if (!this.readableEnded) this.push(null);
      this.#wake();
    });
    inner.on("error", (error) => this.destroy(error));
    this.#wake();
  }

  /** Ends it: nothing will ever come. */
  abandon(): void {
    if (this.#inner !== undefined || this.destroyed) return;
    this.push(null);
    this.#inner = undefined;
    this.#wake();
  }

  override _read(): void {
    this.#inner?.resume();
  }

  override _write(
    chunk: Buffer,
    encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ): void {
    this.#whenJoined((inner) => {
      if (inner === undefined || inner.destroyed || inner.writableEnded) callback();
      else inner.write(chunk, encoding, () => callback());
    });
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#whenJoined((inner) => {
      if (inner !== undefined && !inner.destroyed) inner.end();
      callback();
    });
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#inner?.destroy();
    this.#wake();
    callback(error);
  }

  #whenJoined(work: (inner: Duplex | undefined) => void): void {
    if (this.#inner !== undefined || this.readableEnded || this.destroyed) {
      work(this.#inner);
      return;
    }
    this.#onJoined.push(() => work(this.#inner));
  }

  #wake(): void {
    const waiting = this.#onJoined;
    this.#onJoined = [];
    for (const work of waiting) work();
  }
}
