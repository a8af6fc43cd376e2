/** The daemon's end of a shim's socket: requests and events of one control connection. */
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { EngineError, type ErrorKind, errorKinds } from "../lib/errors.ts";
import type { ShimEvent, ShimHello, ShimReply, ShimRequest } from "./shim-protocol.ts";

/** A line of a shim is at most this long; a longer one is not of a shim. */
const lineMaxBytes = 4 * 1024 * 1024;
const newline = 0x0a;

/** What a control connection tells. */
export interface ShimConnectionHandlers {
  onEvent(event: ShimEvent): void;
  /** The connection is gone; once. */
  onClose(): void;
}

/** A control connection. */
export class ShimConnection {
  readonly #socket: Socket;
  #handlers: ShimConnectionHandlers = { onEvent: () => undefined, onClose: () => undefined };
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  #seq = 0;
  #rest: Buffer = Buffer.alloc(0);
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#closed());
  }

  /** Whom to tell, in place of whoever was told before. */
  listen(handlers: ShimConnectionHandlers): void {
    this.#handlers = handlers;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Asks the shim. @throws the shim's failure; unavailable when it is gone */
  async request(request: ShimRequest): Promise<unknown> {
    if (this.#isClosed) throw gone();
    this.#seq += 1;
    const call = Promise.withResolvers<unknown>();
    this.#calls.set(this.#seq, call);
    this.#socket.write(`${JSON.stringify({ ...request, seq: this.#seq })}\n`);
    return await call.promise;
  }

  close(): void {
    this.#socket.destroy();
    this.#closed();
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const call of this.#calls.values()) call.reject(gone());
    this.#calls.clear();
    this.#handlers.onClose();
  }

  #received(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(newline, start);
      if (end < 0) break;
      this.#line(bytes.toString("utf8", start, end));
      start = end + 1;
    }
    this.#rest = bytes.subarray(start);
    if (this.#rest.length > lineMaxBytes) this.#socket.destroy();
  }

  #line(text: string): void {
    const message = decodeLine<ShimReply | ShimEvent>(text);
    if (message === undefined) {
      this.#socket.destroy();
      return;
    }
    if ("event" in message) {
      this.#handlers.onEvent(message);
      return;
    }
    const call = this.#calls.get(message.seq);
    this.#calls.delete(message.seq);
    if (message.ok) call?.resolve(message.result);
    else call?.reject(failureOf(message.error));
  }
}

function gone(): EngineError {
  return new EngineError("unavailable", "ask shim: it is gone");
}

function failureOf(error: Extract<ShimReply, { ok: false }>["error"]): EngineError {
  const kind: ErrorKind = errorKinds.find((each) => each === error.kind) ?? "internal";
  const { code } = error;
  if (code === undefined) return new EngineError(kind, error.message);
  const details = /^\d+$/.test(code) ? { exitCode: Number(code) } : { code };
  return new EngineError(kind, error.message, { details });
}

/** Connects to a shim. @returns undefined when nobody listens */
export async function connectShim(path: string, hello: ShimHello): Promise<Socket | undefined> {
  const socket = connect({ path, allowHalfOpen: true });
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
  // For good: a shim that is killed just now breaks the first write, and nobody else listens yet.
  socket.on("error", () => resolve(undefined));
  socket.once("connect", () => {
    socket.write(`${JSON.stringify(hello)}\n`);
    resolve(socket);
  });
  return await promise;
}

/**
 * Waits for the shim's answer to an attach and hands the bytes behind it on.
 *
 * @throws conflict when there is nothing to attach to any more; unavailable when the shim is gone
 */
export async function awaitAttached(socket: Socket): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  let head: Buffer = Buffer.alloc(0);
  // Not by 'data': a stream that has been flowing would drop what comes before the next listener.
  const onReadable = (): void => {
    const chunk: unknown = socket.read();
    if (!(chunk instanceof Uint8Array)) return;
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf(newline);
    if (end < 0) return;
    release();
    const answer = decodeLine<{ ok: boolean; error?: string }>(head.toString("utf8", 0, end));
    if (answer?.ok !== true) {
      socket.destroy();
      reject(new EngineError("conflict", `attach: ${answer?.error ?? "the process has ended"}`));
      return;
    }
    if (head.length > end + 1) socket.unshift(head.subarray(end + 1));
    resolve(socket);
  };
  const onClose = (): void => {
    release();
    socket.destroy();
    reject(new EngineError("unavailable", "attach: the shim is gone"));
  };
  const release = (): void => {
    socket.off("readable", onReadable).off("close", onClose).off("error", onClose);
    socket.off("end", onClose);
  };
  socket.on("readable", onReadable).on("close", onClose).on("error", onClose).on("end", onClose);
  return await promise;
}

function decodeLine<T>(text: string): T | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as T) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
