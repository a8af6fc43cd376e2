/** Joins two stream connections: backpressure and half-close pass through. */
import type { StreamConnection, StreamHandlers } from "../../sys/net/stream-socket.ts";
import type { ServicesEnd } from "./sandbox-services.ts";

interface Side {
  connection: StreamConnection | undefined;
  /** What the other side has sent and this one has not taken. */
  waiting: Uint8Array[];
  hasEnded: boolean;
  /** We have told it that nothing more comes. */
  isShut: boolean;
  isClosed: boolean;
}

/** Memory that proxies share for what they take and cannot give on yet. */
export interface Room {
  leftBytes: number;
}

/** One proxied connection: side 0 is the client, side 1 the server. */
export class StreamProxy {
  readonly #sides: readonly [Side, Side] = [side(), side()];
  readonly #onClose: () => void;
  #drained: Drained | undefined;

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
      drain: () => {
        this.#flush(own, other);
        this.#look();
      },
      end: () => {
        own.hasEnded = true;
        if (other.waiting.length === 0) shut(other);
        this.#look();
      },
      close: () => {
        this.#closed(own, other);
        this.#look();
      },
    };
  }

  /**
   * The server is gone: takes what it has sent, held back by `room` and not by the client, and gives
   * it to the client. The proxy is over with its last byte, whether or not the client closes.
   */
  drain(room: Room): ServicesEnd {
    const received = Promise.withResolvers<void>();
    const delivered = Promise.withResolvers<void>();
    this.#drained = { room, received, delivered };
    const server = this.#sides[1].connection;
    server?.resume();
    // Who was not connected yet has nothing to come.
    if (server === undefined) this.close();
    this.#look();
    return { received: received.promise, delivered: delivered.promise };
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
      if (own.waiting.length === 0) own.connection?.close();
      return;
    }
    const target = other.connection;
    const taken = target === undefined || other.waiting.length > 0 ? 0 : target.write(bytes);
    if (taken === bytes.length) return;
    const rest = bytes.subarray(taken);
    other.waiting.push(rest);
    if (!this.#hasRoom(own, rest.length)) own.connection?.pause();
  }

  /** Whether a side may go on sending although the other does not take it. */
  #hasRoom(sender: Side, countBytes: number): boolean {
    if (this.#drained === undefined || sender !== this.#sides[1]) return false;
    const { room, received } = this.#drained;
    room.leftBytes -= countBytes;
    if (room.leftBytes > 0) return true;
    received.resolve();
    return false;
  }

  /** Tells who drains how far it is. */
  #look(): void {
    if (this.#drained === undefined) return;
    const [client, server] = this.#sides;
    if (client.isClosed || server.isClosed || server.hasEnded) this.#drained.received.resolve();
    if (!client.isClosed && !client.isShut) return;
    this.#drained.delivered.resolve();
    if (!client.isClosed) client.connection?.finish();
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
    // Docker: a reset by the container is an end to its client, who gets all before it, seen in 28.5.
    own.hasEnded ||= own === this.#sides[1] && own.connection !== undefined;
    // After an orderly end the other side may still be taking what was sent: no reset then.
    if (own.hasEnded) {
      if (other.waiting.length === 0) shut(other);
      // Held back until now by a side that takes nothing any more: else its end would not be seen.
      other.connection?.resume();
    } else other.connection?.close();
    if (other.isClosed || other.connection === undefined) this.#onClose();
    other.isClosed ||= other.connection === undefined;
  }
}

interface Drained {
  readonly room: Room;
  readonly received: PromiseWithResolvers<void>;
  readonly delivered: PromiseWithResolvers<void>;
}

function side(): Side {
  return { connection: undefined, waiting: [], hasEnded: false, isShut: false, isClosed: false };
}

function shut(target: Side): void {
  if (target.connection === undefined || target.isShut || target.isClosed) return;
  target.isShut = true;
  target.connection.endWrite();
}
