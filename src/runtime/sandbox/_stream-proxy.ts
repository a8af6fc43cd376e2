/** Joins two stream connections: backpressure and half-close pass through. */
import type { StreamConnection, StreamHandlers } from "../../sys/net/stream-socket.ts";

interface Side {
  connection: StreamConnection | undefined;
  /** What the other side has sent and this one has not taken. */
  waiting: Uint8Array[];
  hasEnded: boolean;
  /** We have told it that nothing more comes. */
  isShut: boolean;
  isClosed: boolean;
}

/** One proxied connection. */
export class StreamProxy {
  readonly #sides: readonly [Side, Side] = [side(), side()];
  readonly #onClose: () => void;

  constructor(onClose: () => void) {
    this.#onClose = onClose;
  }

  /** What the socket of side 0 or 1 is to call. */
  handlers(index: 0 | 1): StreamHandlers {
    const [own, other] = this.#ordered(index);
    return {
      open: (connection) => {
        own.connection = connection;
        if (own.isClosed || other.isClosed) connection.close();
        else this.#flush(own, other);
      },
      data: (_, bytes) => this.#pass(own, other, bytes),
      drain: () => this.#flush(own, other),
      end: () => {
        own.hasEnded = true;
        if (other.waiting.length === 0) shut(other);
      },
      close: () => this.#closed(own, other),
    };
  }

  /** Ends both sides. */
  close(): void {
    for (const each of this.#sides) each.connection?.close();
    this.#closed(this.#sides[0], this.#sides[1]);
  }

  #ordered(index: 0 | 1): [Side, Side] {
    const [first, second] = this.#sides;
    return index === 0 ? [first, second] : [second, first];
  }

  #pass(own: Side, other: Side, bytes: Uint8Array): void {
    if (other.isClosed) {
      own.connection?.close();
      return;
    }
    const target = other.connection;
    const taken = target === undefined || other.waiting.length > 0 ? 0 : target.write(bytes);
    if (taken === bytes.length) return;
    other.waiting.push(bytes.subarray(taken));
    own.connection?.pause();
  }

  /** Gives `own` what waits for it; then `other` may send again. */
  #flush(own: Side, other: Side): void {
    const { connection } = own;
    if (connection === undefined) return;
    for (let bytes = own.waiting[0]; bytes !== undefined; bytes = own.waiting[0]) {
      const taken = connection.write(bytes);
      if (taken < bytes.length) {
        own.waiting[0] = bytes.subarray(taken);
        return;
      }
      own.waiting.shift();
    }
    if (other.hasEnded) shut(own);
    else other.connection?.resume();
  }

  #closed(own: Side, other: Side): void {
    if (own.isClosed) return;
    own.isClosed = true;
    // When both directions have ended the runtime tells the close alone.
    own.hasEnded ||= own.isShut;
    // After an orderly end the other side may still be taking what was sent: no reset then.
    if (!own.hasEnded) other.connection?.close();
    else if (other.waiting.length === 0) shut(other);
    if (other.isClosed || other.connection === undefined) this.#onClose();
    other.isClosed ||= other.connection === undefined;
  }
}

function side(): Side {
  return { connection: undefined, waiting: [], hasEnded: false, isShut: false, isClosed: false };
}

function shut(target: Side): void {
  if (target.connection === undefined || target.isShut || target.isClosed) return;
  target.isShut = true;
  target.connection.endWrite();
}
