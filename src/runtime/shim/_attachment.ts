/** One client of a process's output and input, as the shim serves it. */
import type { StreamConnection } from "../../sys/net/stream-socket.ts";
import type { LogStream } from "../log/json-records.ts";
import { DetachMatcher } from "../detach-keys.ts";
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

/** Puts output into a frame of Docker's stdcopy format. */
export function frameOutput(stream: LogStream, chunk: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(frameHeadBytes + chunk.length);
  frame.writeUInt32BE(stream === "stdout" ? 0x01000000 : 0x02000000, 0);
  frame.writeUInt32BE(chunk.length, 4);
  frame.set(chunk, frameHeadBytes);
  return frame;
}

/** A client that is attached. */
export class Attachment {
  readonly hello: AttachHello;
  readonly #connection: StreamConnection;
  readonly #handlers: AttachmentHandlers;
  #matcher: DetachMatcher | undefined;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isEnding = false;
  #isClosed = false;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(connection: StreamConnection, hello: AttachHello, handlers: AttachmentHandlers) {
    this.#connection = connection;
    this.hello = hello;
    this.#handlers = handlers;
  }

  /** Whether the process should wait for this client. */
  get isBehind(): boolean {
    return this.#waitingBytes > behindMaxBytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends bytes as they are; they must not be changed any more. */
  send(bytes: Uint8Array): void {
    if (this.#isClosed || this.#isEnding) return;
    const taken = this.#waiting.length === 0 ? this.#connection.write(bytes) : 0;
    if (taken === bytes.length) return;
    const rest = bytes.subarray(taken);
    this.#waiting.push(rest);
    this.#waitingBytes += rest.length;
  }

  /** The kernel takes more. */
  drained(): void {
    if (this.#isClosed) return;
    while (this.#waiting.length > 0) {
      const bytes = this.#nextBlock();
      const taken = this.#connection.write(bytes);
      this.#waitingBytes -= taken;
      if (taken > 0) this.#armLinger();
      if (taken < bytes.length) {
        this.#waiting.unshift(bytes.subarray(taken));
        break;
      }
    }
    if (this.#isEnding && this.#waiting.length === 0) this.#connection.endWrite();
    this.#handlers.onDrain();
  }

  /** Ends the output when all of it is sent. */
  end(): void {
    if (this.#isClosed || this.#isEnding) return;
    this.#isEnding = true;
    this.#armLinger();
    if (this.#waiting.length === 0) this.#connection.endWrite();
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
    if (!this.#isClosed) this.#connection.pause();
  }

  resumeInput(): void {
    if (!this.#isClosed) this.#connection.resume();
  }

  /** The connection is gone. */
  closed(): void {
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
    this.closed();
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
