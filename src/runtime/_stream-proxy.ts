/** Joins two stream connections: backpressure and half-close pass through. */
import type { StreamConnection, StreamHandlers } from "../sys/stream-socket.ts";

interface Side {
  connection: StreamConnection | undefined;
  /** What the other side has sent and this one has not taken. */
  waiting: Uint8Array[];
  hasEnded: boolean;
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
        if (other.connection !== undefined && other.waiting.length === 0)
          other.connection.endWrite();
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
    if (other.hasEnded) connection.endWrite();
    else other.connection?.resume();
  }

  #closed(own: Side, other: Side): void {
    if (own.isClosed) return;
    own.isClosed = true;
    // A side that closed after its end may leave the other something to take.
    if (!own.hasEnded || other.waiting.length === 0) other.connection?.close();
    if (other.isClosed || other.connection === undefined) this.#onClose();
    other.isClosed ||= other.connection === undefined;
  }
}

function side(): Side {
  return { connection: undefined, waiting: [], hasEnded: false, isClosed: false };
}
