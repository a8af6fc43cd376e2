/**
 * The HTTP front: a net or tls server in front of node:http, so that a connection can be taken away
 * from the HTTP parser at any moment (hijack with and without Upgrade), keeps its half-close, and
 * holds its sender back when a body is read slowly.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { holdBackBodies } from "../lib/http-body.ts";
import { OpenSockets } from "./_open-sockets.ts";

/** A request line and headers larger than this are refused with 431. */
const headerSizeMaxBytes = 1024 * 1024;
/** How long a client may take to send its headers. */
const headersTimeoutMs = 60_000;
/** How long an idle keep-alive connection stays. */
const keepAliveTimeoutMs = 300_000;

/** Serves one request; it answers on `response` or takes the socket by `hijack`. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Where accepted sockets go. */
export interface HttpFront {
  /** Gives a connection to HTTP. */
  accept(socket: Socket): void;
  /** Ends idle connections; open streams are the caller's to end. */
  close(): void;
}

/** How a front is made. */
export interface HttpFrontOptions {
  /** Takes a connection that speaks HTTP/2 from its first byte; it gets what was read of it. */
  readonly acceptHttp2?: (connection: Hijacked) => void;
}

/** Makes the front for one daemon; all of its listeners share it. */
export function createHttpFront(handle: RequestHandler, options: HttpFrontOptions = {}): HttpFront {
  const server = createServer({ maxHeaderSize: headerSizeMaxBytes }, handle);
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = 0;
  server.keepAliveTimeout = keepAliveTimeoutMs;
  server.on("clientError", (_error, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  });
  holdBackBodies(server);
  const sockets = new OpenSockets();
  return {
    accept: (socket) => {
      sockets.watch(socket);
      // Each stream hears of its own failure; without this listener a reset would end the daemon.
      socket.on("error", () => undefined);
      server.emit("connection", socket);
      holdEarlyBytes(socket, options);
    },
    close: () => {
      server.close();
      sockets.end();
    },
  };
}

/**
 * True when the client asked to change the protocol. The server listens to no `upgrade` event, so
 * that such a request's body is read like any other before the socket is taken.
 */
export function isUpgrade(request: IncomingMessage): boolean {
  return request.headers.upgrade !== undefined;
}

/**
 * Takes the socket from the HTTP parser and sends the response head on it.
 *
 * Listen for `data` in the same turn: bytes that come in between would be lost.
 *
 * @param request a request whose body, if any, has been read
 * @param options.head the status line and headers to send, without the empty line
 */
export function hijack(
  request: IncomingMessage,
  options: { readonly response: ServerResponse; readonly head: string },
): Hijacked {
  const early = earlyBytes.get(request.socket) ?? Buffer.alloc(0);
  earlyBytes.delete(request.socket);
  const { socket } = request;
  const response = options.response as ServerResponse & { detachSocket?: (s: Socket) => void };
  response.detachSocket?.(socket);
  takeFromParser(socket);
  socket.write(`${options.head}\r\n\r\n`);
  return { socket, early };
}

function takeFromParser(taken: Socket): void {
  const socket = taken as Socket & { parser?: Parser | null };
  for (const event of parserEvents) socket.removeAllListeners(event);
  const { parser } = socket;
  if (parser !== undefined && parser !== null) {
    parser.unconsume?.();
    socket.parser = null;
    parser.socket = null;
  }
  socket.on("error", () => undefined);
}

/** A connection taken from HTTP: raw bytes both ways, half-close kept. */
export interface Hijacked {
  readonly socket: Socket;
  /** Bytes that the client sent behind its request without waiting for the answer. */
  readonly early: Buffer;
}

/** Requests that may be hijacked, as their request line begins. */
const hijackable =
  /^POST (?:\/v[\d.]+)?\/(?:containers\/[^/ ]+\/attach|exec\/[^/ ]+\/start|session|grpc)[? ]/;
/** What a client sends first that knows HTTP/2 to be spoken. @see RFC 9113, 3.4 */
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const earlyBytes = new WeakMap<Socket, Buffer>();

/**
 * Keeps what follows a hijackable request in the same chunk from the HTTP parser, which would take it
 * for the next request. It waits for `hijack`, or goes to the parser once the request was answered.
 */
function holdEarlyBytes(socket: Socket, { acceptHttp2 }: HttpFrontOptions): void {
  const listeners = socket.listeners("data") as ((chunk: Buffer) => void)[];
  socket.removeAllListeners("data");
  const feed = (chunk: Buffer): void => {
    for (const listener of listeners) listener.call(socket, chunk);
  };
  let isFirst = true;
  socket.on("data", (chunk: Buffer) => {
    const isHttp2 = isFirst && acceptHttp2 !== undefined && chunk.indexOf(http2Preface) === 0;
    isFirst = false;
    if (isHttp2) {
      takeFromParser(socket);
      acceptHttp2({ socket, early: chunk });
      return;
    }
    const end = hijackableEnd(chunk);
    if (end === undefined || end >= chunk.length) return feed(chunk);
    earlyBytes.set(socket, chunk.subarray(end));
    feed(chunk.subarray(0, end));
  });
}

/** Where a hijackable request that starts `chunk` ends; undefined when there is none. */
function hijackableEnd(chunk: Buffer): number | undefined {
  if (chunk[0] !== 0x50) return undefined;
  const headEnd = chunk.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const head = chunk.toString("latin1", 0, headEnd);
  if (!hijackable.test(head)) return undefined;
  if (/\r\ntransfer-encoding:/i.test(head)) return undefined;
  const length = /\r\ncontent-length: *(\d{1,9})/i.exec(head)?.[1] ?? "0";
  return headEnd + 4 + Number(length);
}

interface Parser {
  unconsume?: () => void;
  socket: Socket | null;
}

/**
 * Events that the HTTP layer listens to on a socket it owns; `close` is left to it: by that it forgets
 * the socket, which it would otherwise keep, with all that hangs on it, for as long as the server.
 */
const parserEvents = [
  "data",
  "end",
  "drain",
  "error",
  "timeout",
  "readable",
  "finish",
  "resume",
  "pause",
];
