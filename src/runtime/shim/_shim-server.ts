/** The shim's socket: control and attach connections. */
import { EngineError, messageOf } from "../../lib/errors.ts";
import {
  listenUnixStream,
  type StreamConnection,
  type StreamListener,
} from "../../sys/net/stream-socket.ts";
import type { Attachment } from "./_attachment.ts";
import type { ProcessIo } from "./_process-io.ts";
import type {
  ClientTaken,
  NumberedRequest,
  ServeClient,
  ShimEvent,
  ShimHello,
  ShimReply,
  TakeClient,
} from "../shim-protocol.ts";

/** The longest line: a start with a large spec. */
const lineMaxBytes = 32 * 1024 * 1024;
const newline = 0x0a;

/** What the socket serves. */
export interface ShimServerOptions {
  readonly path: string;
  handle(request: NumberedRequest): Promise<unknown>;
  /** The stdio to attach to. @throws when there is none */
  io(execId: string | undefined): ProcessIo;
  onAttachmentClosed(execId: string | undefined): void;
  /** How many control connections there are now. */
  onControlCount(count: number): void;
}

/** A connection and what it has turned out to be. */
interface Peer {
  readonly connection: StreamConnection;
  kind: "new" | "control" | "attach";
  /** An unfinished line. */
  readonly parts: Buffer[];
  partsBytes: number;
  readonly waiting: Buffer[];
  attachment?: Attachment;
  io?: ProcessIo;
  execId?: string;
}

/** Serves the socket of a shim: of one term after the other. */
export class ShimServer {
  #options: ShimServerOptions;
  readonly #peers = new Map<StreamConnection, Peer>();
  /** Those of attachments with a key, as long as these last. */
  readonly #byKey = new Map<string, Peer>();
  #listener: StreamListener;

  constructor(options: ShimServerOptions) {
    this.#options = options;
    this.#listener = this.#listen(options.path);
  }

  /** Goes on at another path for another term. Whoever controls the shim goes on controlling it. */
  moveTo(options: ShimServerOptions): void {
    const listener = this.#listen(options.path);
    this.#listener.close();
    this.#listener = listener;
    this.#options = options;
    options.onControlCount(this.#controls().length);
  }

  #listen(path: string): StreamListener {
    return listenUnixStream(path, {
      open: (connection) => this.#opened(connection),
      data: (connection, bytes) => this.#received(this.#peer(connection), asBuffer(bytes)),
      drain: (connection) => this.#drained(this.#peer(connection)),
      gone: (connection) => this.#peers.get(connection)?.attachment?.deafened(connection),
      end: (connection) => this.#ended(this.#peer(connection)),
      close: (connection) => this.#closed(this.#peer(connection)),
    });
  }

  /** Tells all daemons that are connected. */
  tell(event: ShimEvent): void {
    for (const peer of this.#controls()) this.#sendLine(peer, event);
  }

  /** Removes the socket. */
  close(): void {
    this.#listener.close();
  }

  #controls(): Peer[] {
    return [...this.#peers.values()].filter((peer) => peer.kind === "control");
  }

  #peer(connection: StreamConnection): Peer {
    return this.#peers.get(connection) ?? this.#opened(connection);
  }

  #opened(connection: StreamConnection): Peer {
    const peer: Peer = { connection, kind: "new", parts: [], partsBytes: 0, waiting: [] };
    this.#peers.set(connection, peer);
    return peer;
  }

  #received(peer: Peer, bytes: Buffer): void {
    if (peer.attachment !== undefined) {
      peer.attachment.received(bytes.length);
      peer.io?.input(peer.attachment, bytes);
      return;
    }
    let rest = bytes;
    for (;;) {
      const end = rest.indexOf(newline);
      if (end < 0) break;
      const line = Buffer.concat([...peer.parts, rest.subarray(0, end)]).toString("utf8");
      peer.parts.length = 0;
      peer.partsBytes = 0;
      rest = rest.subarray(end + 1);
      if (peer.kind === "control") void this.#answer(peer, line);
      else if (this.#greeted(peer, line, rest)) return;
    }
    if (rest.length === 0) return;
    peer.parts.push(rest);
    peer.partsBytes += rest.length;
    if (peer.partsBytes > lineMaxBytes) peer.connection.close();
  }

  /** Reads a hello. @returns whether the rest of the bytes was taken */
  #greeted(peer: Peer, line: string, rest: Buffer): boolean {
    const hello = decode<ShimHello>(line);
    if (hello === undefined) {
      peer.connection.close();
      return true;
    }
    if (hello.kind === "control") {
      peer.kind = "control";
      this.#options.onControlCount(this.#controls().length);
      return false;
    }
    peer.kind = "attach";
    if (hello.execId !== undefined) peer.execId = hello.execId;
    try {
      const io = this.#options.io(hello.execId);
      // Before the first output, whatever that is.
      this.#sendLine(peer, { ok: !io.isOver });
      const attachment = io.attach(peer.connection, hello, rest);
      if (attachment === undefined) peer.connection.endWrite();
      else this.#attached(peer, { attachment, io, early: rest });
    } catch (error) {
      this.#sendLine(peer, { ok: false, error: messageOf(error) });
      peer.connection.endWrite();
    }
    return true;
  }

  #attached(
    peer: Peer,
    made: { readonly attachment: Attachment; readonly io: ProcessIo; readonly early: Buffer },
  ): void {
    const { attachment, io, early } = made;
    Object.assign(peer, { attachment, io });
    attachment.received(early.length);
    const { key } = attachment.hello;
    if (key !== undefined) this.#byKey.set(key, peer);
  }

  /** @throws not-found, or what `Attachment.takeClient` throws */
  takeClient({ key, pid, fd }: TakeClient): ClientTaken {
    return { outputBytes: this.#attachmentOf(key).attachment.takeClient({ pid, fd }) };
  }

  /** @throws not-found, or what `Attachment.serveClient` throws */
  async serveClient({ key, inputBytes }: ServeClient): Promise<void> {
    const { attachment, io } = this.#attachmentOf(key);
    await attachment.serveClient(inputBytes, {
      data: (_, bytes) => io.input(attachment, bytes),
      end: () => io.inputEnded(attachment),
    });
  }

  /** The daemon has seen the end of an attachment's output. */
  endClient(key: string): void {
    this.#byKey.get(key)?.attachment?.endSeen();
  }

  #attachmentOf(key: string): { readonly attachment: Attachment; readonly io: ProcessIo } {
    const { attachment, io } = this.#byKey.get(key) ?? {};
    if (attachment !== undefined && io !== undefined) return { attachment, io };
    throw new EngineError("not-found", "no such attachment");
  }

  async #answer(peer: Peer, line: string): Promise<void> {
    const request = decode<NumberedRequest>(line);
    if (request === undefined) {
      peer.connection.close();
      return;
    }
    this.#sendLine(peer, await this.#replyTo(request));
  }

  async #replyTo(request: NumberedRequest): Promise<ShimReply> {
    const { seq } = request;
    try {
      return { seq, ok: true, result: (await this.#options.handle(request)) ?? null };
    } catch (error) {
      if (!(error instanceof EngineError)) {
        return { seq, ok: false, error: { kind: "internal", message: messageOf(error) } };
      }
      const { kind, message, details } = error;
      const code = details["exitCode"] ?? details["code"];
      return {
        seq,
        ok: false,
        error: { kind, message, ...(code === undefined ? {} : { code: String(code) }) },
      };
    }
  }

  #sendLine(peer: Peer, value: unknown): void {
    const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
    const taken = peer.waiting.length === 0 ? peer.connection.write(bytes) : 0;
    if (taken < bytes.length) peer.waiting.push(bytes.subarray(taken));
  }

  #drained(peer: Peer): void {
    for (let bytes = peer.waiting[0]; bytes !== undefined; bytes = peer.waiting[0]) {
      const taken = peer.connection.write(bytes);
      if (taken < bytes.length) {
        peer.waiting[0] = bytes.subarray(taken);
        return;
      }
      peer.waiting.shift();
    }
    peer.attachment?.drained();
  }

  #ended(peer: Peer): void {
    if (peer.attachment !== undefined) peer.io?.inputEnded(peer.attachment);
    else peer.connection.close();
  }

  /** One whose output still goes to its client is asked for by its key. */
  #forgetEnded(): void {
    for (const [key, { attachment }] of this.#byKey) {
      if (attachment?.isClosed !== false) this.#byKey.delete(key);
    }
  }

  #closed(peer: Peer): void {
    this.#peers.delete(peer.connection);
    peer.attachment?.closed();
    this.#forgetEnded();
    if (peer.kind === "attach") this.#options.onAttachmentClosed(peer.execId);
    if (peer.kind === "control") this.#options.onControlCount(this.#controls().length);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The daemon is trusted as the shim's maker; only the form is looked at. */
function decode<T>(line: string): T | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as T) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
