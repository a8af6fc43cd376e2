import type { Socket } from "node:net";

/** How long a client that is gone may go unnoticed while nothing is written to it. */
const lookIntervalMs = 1000;

/**
 * The connections that are open, and the end of those whose client is gone.
 *
 * Bun lets go of the descriptor of such a client, but says nothing to a half-closed socket: only a
 * write would notice, and a silent container never writes.
 */
export class OpenSockets {
  readonly #sockets = new Set<Socket>();
  #timer: Timer | undefined;

  /** Minds a connection until it is closed. */
  watch(socket: Socket): void {
    this.#sockets.add(socket);
    this.#timer ??= setInterval(() => this.#look(), lookIntervalMs).unref();
  }

  /** Ends all once what was written to them is sent. */
  end(): void {
    for (const socket of this.#sockets) socket.destroySoon();
  }

  #look(): void {
    for (const socket of this.#sockets) {
      // Listeners are no help: a hijack takes them away.
      if (socket.destroyed) this.#sockets.delete(socket);
      else if (isHungUp(socket)) socket.destroy();
    }
    if (this.#sockets.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** Tells whether the other side has closed both directions: the socket has lost its handle. */
function isHungUp(socket: Socket): boolean {
  return Reflect.get(socket, "_handle") === null;
}
