/** A client on its way from the daemon to the shim: see `TakeClient`. */
import { closeSync } from "node:fs";
import {
  adoptStream,
  type StreamConnection,
  type StreamHandlers,
} from "../../sys/net/stream-socket.ts";
import { takeDescriptor } from "../../sys/process/process.ts";

/** How long a daemon whose connection has gone may take to say that it has seen the end. */
const endSeenMaxMs = 200;
/** What the daemon reads when a client has vanished. */
const vanished = Uint8Array.of(1);

/** One client, moving until it is served. */
export class ClientHandover {
  readonly #daemon: StreamConnection;
  /** The client's socket while it moves. */
  #fd: number | undefined;
  #client: StreamConnection | undefined;
  #held: Uint8Array[] = [];
  #isEndTold = false;
  #isEndSeen = false;
  #late: ReturnType<typeof setTimeout> | undefined;
  /** Input that comes by the daemon, and must be had before the client's own. */
  #firstBytes = Number.POSITIVE_INFINITY;
  #inputBytes: number;
  #isInputPaused = false;

  /** @throws what `takeDescriptor` throws */
  constructor(
    daemon: StreamConnection,
    source: { readonly pid: number; readonly fd: number; readonly inputBytes: number },
  ) {
    this.#daemon = daemon;
    this.#inputBytes = source.inputBytes;
    this.#fd = takeDescriptor(source.pid, source.fd);
  }

  /** True until the client is served: output is to be held. */
  get isMoving(): boolean {
    return this.#client === undefined;
  }

  /** Whether the client may be told that the output has ended: the daemon knows it. */
  get isEndSeen(): boolean {
    return this.#isEndSeen;
  }

  /** Keeps output for the client; the process waits, so that it is little. */
  hold(bytes: Uint8Array): void {
    this.#held.push(bytes);
  }

  takeHeld(): Uint8Array[] {
    return this.#held.splice(0);
  }

  /** Opens the client's socket, of which `open` of the handlers tells. */
  async serve(firstBytes: number, handlers: StreamHandlers): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    this.#firstBytes = firstBytes;
    if (fd === undefined) return;
    await adoptStream(fd, {
      ...handlers,
      open: (client) => {
        this.#client = client;
        this.#balanceInput();
        handlers.open?.(client);
      },
    });
  }

  /** Bytes of input have come by the daemon. */
  inputReceived(sizeBytes: number): void {
    this.#inputBytes += sizeBytes;
    if (this.#inputBytes >= this.#firstBytes) this.#balanceInput();
  }

  pauseInput(isPaused: boolean): void {
    this.#isInputPaused = isPaused;
    this.#balanceInput();
  }

  #balanceInput(): void {
    if (this.#isInputPaused || this.#inputBytes < this.#firstBytes) this.#client?.pause();
    else this.#client?.resume();
  }

  /** Tells the daemon that the output has ended, once. */
  tellEnd(): void {
    if (this.#isEndTold) return;
    this.#isEndTold = true;
    this.#daemon.endWrite();
  }

  /** The daemon has seen the end of the output. */
  endSeen(): void {
    this.#isEndSeen = true;
    clearTimeout(this.#late);
  }

  /**
   * The daemon's connection is gone.
   *
   * @returns whether the client is to be served to the end of its output, of which `onSeen` tells
   */
  outlivesDaemon(onSeen: () => void): boolean {
    if (!this.#isEndTold) return false;
    if (!this.#isEndSeen) this.#late = setTimeout(onSeen, endSeenMaxMs);
    return true;
  }

  /** The client has vanished: the daemon is told. */
  tellVanished(): void {
    if (this.#isEndTold) return;
    this.#daemon.write(vanished);
    this.#daemon.finish();
  }

  /** Drops the client. */
  close(): void {
    clearTimeout(this.#late);
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#client?.close();
  }
}
