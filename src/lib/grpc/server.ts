/**
 * Serves gRPC on connections that somebody else accepted.
 *
 * A call is a handler that runs until it returns or throws; what it throws becomes the status. When
 * the client cancels, is lost, or its deadline passes, the call's signal fires, and the handler is
 * expected to end.
 */
import { createServer, type Http2Session, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { EngineError, isKind, messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import { decodeMessage } from "../protobuf.ts";
import { type Metadata, metadataOfHeaders, parseGrpcTimeout } from "./metadata.ts";
import type { GrpcMethod } from "./method.ts";
import { callCountMax, MessageStream, sessionMemoryMaxMb } from "./message-stream.ts";
import { prefaceBytes, SendWindows } from "./send-windows.ts";
import {
  grpcCode,
  type IncomingHeaders,
  type RpcStatus,
  statusOfError,
  trailersOfStatus,
} from "./status.ts";

const windowBytes = 4 * 1024 * 1024;
const headerListMaxBytes = 16 * 1024 * 1024;
/** Each pattern of a .dockerignore travels in a header of its own. */
const headerCountMax = 200_000;

/** One call, as a handler sees it. */
export interface ServerCall {
  readonly metadata: Metadata;
  /** Fires when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** A call with any number of messages each way. */
export interface StreamCall<Request, Response> extends ServerCall {
  /** The next message; undefined when the client will send no more. */
  next(): Promise<Request | undefined>;
  /** Resolves when more may be sent. */
  send(message: Partial<Response>): Promise<void>;
}

/** A method and what serves it. */
export interface GrpcHandler {
  readonly path: string;
  /** Metadata that goes before the first message. */
  readonly headers?: () => Readonly<Record<string, string>>;
  serve(call: ServerCall, messages: MessageStream): Promise<void>;
}

/** Serves a method that is asked once and answers once. */
export function unaryHandler<Request, Response>(
  method: GrpcMethod<Request, Response>,
  answer: (request: Request, call: ServerCall) => Promise<Partial<Response>>,
): GrpcHandler {
  return {
    path: method.path,
    async serve(call, messages) {
      const bytes = await messages.next();
      if (bytes === undefined) {
        throw new EngineError("invalid-argument", `${method.path}: the call has no message`);
      }
      const response = await answer(decodeMessage(method.request, bytes), call);
      await messages.send(method.response, response);
    },
  };
}

/** Serves a method with streams. */
export function streamHandler<Request, Response>(
  method: GrpcMethod<Request, Response>,
  serve: (call: StreamCall<Request, Response>) => Promise<void>,
  options: Pick<GrpcHandler, "headers"> = {},
): GrpcHandler {
  return {
    ...options,
    path: method.path,
    serve: async (call, messages) =>
      await serve({
        ...call,
        next: async () => {
          const bytes = await messages.next();
          return bytes === undefined ? undefined : decodeMessage(method.request, bytes);
        },
        send: async (message) => await messages.send(method.response, message),
      }),
  };
}

/** Serves the same handlers on any number of connections. */
export interface GrpcServer {
  /** Serves a connection until it ends; it belongs to the server from now on. */
  accept(duplex: Duplex): Promise<void>;
  /** Ends all connections. */
  close(): void;
}

/** Makes a server. */
export function createGrpcServer(options: {
  readonly handlers: readonly GrpcHandler[];
  readonly logger: Logger;
}): GrpcServer {
  const { logger } = options;
  const handlers = new Map(options.handlers.map((handler) => [handler.path, handler]));
  const sessions = new Map<Http2Session, Connection>();
  const endSession = (session: Http2Session): void => {
    for (const gone of sessions.get(session)?.calls ?? []) gone.abort(clientGone());
    sessions.delete(session);
    if (!session.destroyed) session.destroy();
  };
  const server = createServer({
    maxHeaderListPairs: headerCountMax,
    maxSessionMemory: sessionMemoryMaxMb,
    settings: {
      initialWindowSize: windowBytes,
      maxConcurrentStreams: callCountMax,
      maxHeaderListSize: headerListMaxBytes,
    },
  });
  server.on("session", (session) => {
    sessions.set(session, {
      calls: new Set(),
      windows: new SendWindows({ skipBytes: prefaceBytes }),
    });
    // As in `GrpcClient`: all streams together, and no more than one has.
    session.setLocalWindowSize(windowBytes);
    session.on("close", () => endSession(session));
    session.on("error", (error: Error) => {
      logger.debug("gRPC connection broke", { error: messageOf(error) });
    });
  });
  server.on("sessionError", () => undefined);
  server.on("stream", (...event: unknown[]) => {
    const [stream, headers, , rawHeaders] = event as unknown as StreamEvent;
    const gone = new AbortController();
    const connection = stream.session === undefined ? undefined : sessions.get(stream.session);
    if (connection === undefined) {
      stream.close();
      return;
    }
    const { calls, windows } = connection;
    calls.add(gone);
    const incoming = { headers, rawHeaders: rawHeaders ?? [], handlers, logger, gone, windows };
    void serveStream(stream, incoming).finally(() => calls.delete(gone));
  });
  return {
    async accept(duplex) {
      const closed = new Promise<void>((resolve) => duplex.once("close", resolve));
      let own: Http2Session | undefined;
      server.once("session", (session) => {
        own = session;
      });
      server.emit("connection", duplex);
      const windows = own === undefined ? undefined : sessions.get(own)?.windows;
      duplex.on("data", (chunk: Buffer) => windows?.receive(chunk));
      await closed;
      // Neither a session nor its streams hear that the connection is gone, seen in Bun 1.4.5
      if (own !== undefined) endSession(own);
    },
    close() {
      for (const session of sessions.keys()) endSession(session);
    },
  };
}

/** One client. */
interface Connection {
  readonly calls: Set<AbortController>;
  readonly windows: SendWindows;
}

/** What node:http2 tells of a stream that a client opened. */
type StreamEvent = readonly [
  stream: ServerHttp2Stream,
  headers: IncomingHeaders,
  flags: number,
  rawHeaders: readonly string[] | undefined,
];

function clientGone(): EngineError {
  return new EngineError("canceled", "context canceled");
}

interface Incoming {
  readonly headers: IncomingHeaders;
  readonly rawHeaders: readonly string[];
  readonly handlers: ReadonlyMap<string, GrpcHandler>;
  readonly logger: Logger;
  readonly gone: AbortController;
  readonly windows: SendWindows;
}

async function serveStream(stream: ServerHttp2Stream, incoming: Incoming): Promise<void> {
  const { headers, logger, gone, windows } = incoming;
  const path = String(headers[":path"] ?? "");
  stream.on("error", () => undefined);
  const messages = new MessageStream(stream, { window: windows.open(stream) });
  let isAnswered = false;
  stream.on("close", () => {
    if (!isAnswered) gone.abort(clientGone());
  });
  stream.on("aborted", () => gone.abort(clientGone()));
  const release = limitByDeadline(headers, { path, gone });
  gone.signal.addEventListener("abort", () => messages.fail(gone.signal.reason), { once: true });
  try {
    const status = await runHandler(incoming, { path, stream, messages, signal: gone.signal });
    isAnswered = true;
    sendTrailers(stream, status);
  } catch (error) {
    logger.error("gRPC call could not be answered", { path, error });
    stream.close();
  } finally {
    release();
  }
}

async function runHandler(
  incoming: Incoming,
  call: {
    readonly path: string;
    readonly stream: ServerHttp2Stream;
    readonly messages: MessageStream;
    readonly signal: AbortSignal;
  },
): Promise<RpcStatus> {
  const { path, stream, messages, signal } = call;
  const handler = incoming.handlers.get(path);
  const type = incoming.headers["content-type"];
  stream.respond(
    { ...handler?.headers?.(), ":status": 200, "content-type": "application/grpc" },
    { waitForTrailers: true },
  );
  if (handler === undefined || typeof type !== "string" || !type.startsWith("application/grpc")) {
    return { code: grpcCode.unimplemented, message: `unknown method ${path}`, details: [] };
  }
  const metadata = metadataOfHeaders(incoming.headers, incoming.rawHeaders);
  try {
    await handler.serve({ metadata, signal }, messages);
    return { code: grpcCode.ok, message: "", details: [] };
  } catch (error) {
    const level = isKind(error) && error.kind !== "internal" ? "debug" : "error";
    const stack = error instanceof Error && !isKind(error) ? error.stack : undefined;
    incoming.logger[level]("gRPC call failed", { path, error, stack });
    return statusOfError(signal.aborted && isKind(signal.reason) ? signal.reason : error);
  }
}

function sendTrailers(stream: ServerHttp2Stream, status: RpcStatus): void {
  if (stream.destroyed) return;
  stream.once("wantTrailers", () => {
    if (!stream.destroyed) stream.sendTrailers(trailersOfStatus(status));
  });
  stream.end();
  // What the client still sends is of no use to anybody.
  stream.resume();
}

function limitByDeadline(
  headers: IncomingHeaders,
  call: { readonly path: string; readonly gone: AbortController },
): () => void {
  const text = headers["grpc-timeout"];
  const timeoutMs = parseGrpcTimeout(typeof text === "string" ? text : undefined);
  if (timeoutMs === undefined) return () => undefined;
  const sentence = `${call.path}: the caller's deadline of ${timeoutMs} ms has passed`;
  const timer = setTimeout(
    () => call.gone.abort(new EngineError("deadline-exceeded", sentence)),
    Math.min(timeoutMs, 2 ** 31 - 1),
  );
  return () => clearTimeout(timer);
}
