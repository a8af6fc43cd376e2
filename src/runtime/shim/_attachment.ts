/** One client of a process's output and input, as the shim serves it. */
import { EngineError } from "../../lib/errors.ts";
import type { StreamConnection, StreamHandlers } from "../../sys/net/stream-socket.ts";
import type { LogStream } from "../log/json-records.ts";
import { DetachMatcher } from "../detach-keys.ts";
import { ClientHandover } from "./_client-handover.ts";
import type { ShimHello } from "../shim-protocol.ts";

/** Output a client may be behind before the process is made to wait. */
export const behindMaxBytes: number = 1024 * 1024;
/** A client that takes nothing for this long after the end is dropped. */
const lingerMs = 10_000;
/** Docker's stdcopy: stream, three zeros, big-endian size. */
const frameHeadBytes = 8;

/** What an attach connection asked for. */
export type AttachHello = Extract<ShimHello, { kind: "attach" }>;

/** What happens to an attachment. */
export interface AttachmentHandlers {
  /** Took what it was behind with, or is gone. */
  onDrain(): void;
  /** Typed the detach keys, or went away. Once. */
  onClose(): void;
}

/** The head of a frame of Docker's stdcopy format. */
export function frameHead(stream: LogStream, sizeBytes: number): Uint8Array {
  const head = Buffer.allocUnsafe(frameHeadBytes);
  head.writeUInt32BE(stream === "stdout" ? 0x01000000 : 0x02000000, 0);
  head.writeUInt32BE(sizeBytes, 4);
  return head;
}

/** A client that is attached. */
export class Attachment {
  readonly hello: AttachHello;
  /** The daemon's. */
  readonly #connection: StreamConnection;
  readonly #handlers: AttachmentHandlers;
  /** Where output goes: the daemon's, or that of the client itself. */
  #output: StreamConnection;
  #handover: ClientHandover | undefined;
  #sentBytes = 0;
  #inputBytes = 0;
  #matcher: DetachMatcher | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isEnding = false;
  #isDeaf = false;
  #isClosed = false;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(connection: StreamConnection, hello: AttachHello, handlers: AttachmentHandlers) {
    this.#connection = connection;
    this.#output = connection;
    this.hello = hello;
    this.#handlers = handlers;
  }

  /** Whether the process should wait for this client. */
  get isBehind(): boolean {
    // One that has gone on its way to the shim never gets there.
    if (this.#isClosed) return false;
    return this.#handover?.isMoving === true || this.#waitingBytes > behindMaxBytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends bytes as they are, and what heads them; they must not be changed any more. */
  send(head: Uint8Array | undefined, bytes: Uint8Array): void {
    if (this.#isClosed || this.#isEnding || this.#isDeaf) return;
    if (this.#handover?.isMoving === true) {
      this.#handover.hold(restOf(head, bytes, 0));
      return;
    }
    const isFirst = this.#waiting.length === 0;
    const taken = isFirst ? this.#write(head, bytes) : 0;
    const rest = restOf(head, bytes, taken);
    if (rest.length === 0) return;
    this.#waiting.push(rest);
    this.#waitingBytes += rest.length;
  }

  #write(head: Uint8Array | undefined, bytes: Uint8Array): number {
    const taken =
      head === undefined ? this.#output.write(bytes) : this.#output.writeBoth(head, bytes);
    this.#sentBytes += taken;
    return taken;
  }

  /** The kernel takes more. */
  drained(): void {
    if (this.#isClosed) return;
    while (this.#waiting.length > 0) {
      const bytes = this.#nextBlock();
      const taken = this.#write(undefined, bytes);
      this.#waitingBytes -= taken;
      if (taken > 0) this.#armLinger();
      if (taken < bytes.length) {
        this.#waiting.unshift(bytes.subarray(taken));
        break;
      }
    }
    this.#endOutput();
    this.#handlers.onDrain();
  }

  /**
   * Where output goes takes nothing any more. Input goes on: some may have come that nobody has read,
   * and until then nothing else is told of a client that is gone.
   */
  deafened(connection: StreamConnection): void {
    if (this.#isClosed || connection !== this.#output) return;
    this.#isDeaf = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#endOutput();
    this.#handlers.onDrain();
  }

  /** Ends the output when all of it is sent. */
  end(): void {
    if (this.#isClosed || this.#isEnding) return;
    this.#isEnding = true;
    this.#armLinger();
    this.#endOutput();
  }

  #endOutput(): void {
    if (!this.#isEnding || this.#waiting.length > 0) return;
    const handover = this.#handover;
    if (handover?.isMoving === true) return;
    // The daemon is the first to know, for what it is asked then.
    if (handover?.isEndSeen === false) handover.tellEnd();
    else this.#output.endWrite();
  }

  /**
   * Takes the client's socket from the daemon. Output is held back until `serveClient`.
   *
   * @returns how many bytes of output come by the daemon
   * @throws conflict when it is too late; what `takeDescriptor` throws
   */
  takeClient(source: { readonly pid: number; readonly fd: number }): number {
    if (this.#isClosed || this.#isEnding || this.#handover !== undefined) {
      throw new EngineError("conflict", "take client: its attachment is ending");
    }
    const inputBytes = this.#inputBytes;
    this.#handover = new ClientHandover(this.#connection, { ...source, inputBytes });
    this.#handlers.onDrain();
    return this.#sentBytes + this.#waitingBytes;
  }

  /** Goes on with the client itself, after the `inputBytes` of input that come by the daemon. */
  async serveClient(
    inputBytes: number,
    handlers: Pick<StreamHandlers, "data" | "end">,
  ): Promise<void> {
    const handover = this.#handover;
    if (handover?.isMoving !== true || this.#isClosed) {
      throw new EngineError("conflict", "serve client: it was not taken");
    }
    try {
      await handover.serve(inputBytes, {
        ...handlers,
        open: (client) => {
          this.#output = client;
          this.#waiting.push(...handover.takeHeld());
          this.#waitingBytes = this.#waiting.reduce((sum, { length }) => sum + length, 0);
          this.drained();
        },
        drain: () => this.drained(),
        gone: (client) => this.deafened(client),
        close: () => {
          if (!this.#isClosed) handover.tellVanished();
          this.#ended();
        },
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The daemon has seen the end of the output. */
  endSeen(): void {
    this.#handover?.endSeen();
    if (!this.#isClosed) this.#endOutput();
  }

  /** Input has come by the daemon. */
  received(sizeBytes: number): void {
    this.#inputBytes += sizeBytes;
    this.#handover?.inputReceived(sizeBytes);
  }

  /**
   * What of the client's input is for the process. On the detach keys the client is let go.
   */
  typed(chunk: Uint8Array, hasTty: boolean): Uint8Array {
    if (!hasTty) return chunk;
    this.#matcher ??= new DetachMatcher(this.hello.detachKeys ?? []);
    const { pass, isDetached } = this.#matcher.push(chunk);
    if (isDetached) this.end();
    return pass;
  }

  pauseInput(): void {
    if (this.#isClosed) return;
    this.#connection.pause();
    this.#handover?.pauseInput(true);
  }

  resumeInput(): void {
    if (this.#isClosed) return;
    this.#connection.resume();
    this.#handover?.pauseInput(false);
  }

  /** The daemon's connection is gone: the client is, too, unless it only has to take what is left. */
  closed(): void {
    if (this.#isClosed || this.#handover?.outlivesDaemon(() => this.endSeen()) === true) return;
    this.#handover?.close();
    this.#ended();
  }

  #ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#linger);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#handlers.onDrain();
    this.#handlers.onClose();
  }

  /** Drops the client. */
  close(): void {
    this.#connection.close();
    this.#handover?.close();
    this.#ended();
  }

  /** Small frames go out together, so that a slow client costs few system calls. */
  #nextBlock(): Uint8Array {
    const [first = new Uint8Array(0)] = this.#waiting;
    if (this.#waiting.length === 1 || first.length >= behindMaxBytes / 4) {
      this.#waiting.shift();
      return first;
    }
    const block = Buffer.concat(this.#waiting);
    this.#waiting = [];
    return block;
  }

  #armLinger(): void {
    if (!this.#isEnding) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.close(), lingerMs);
  }
}

/** What of two pieces is left when so many bytes of them were taken. */
function restOf(head: Uint8Array | undefined, bytes: Uint8Array, takenBytes: number): Uint8Array {
  const headBytes = head?.length ?? 0;
  if (takenBytes >= headBytes) return bytes.subarray(takenBytes - headBytes);
  return Buffer.concat([head?.subarray(takenBytes) ?? new Uint8Array(0), bytes]);
}
