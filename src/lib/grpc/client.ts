/**
 * Calls to the other end of a connection that speaks gRPC.
 *
 * A connection is one HTTP/2 session over a stream that somebody opened: nothing is dialed here. It
 * is closed with its stream, and every call on it fails then as unavailable.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import type { Duplex } from "node:stream";
import { EngineError, messageOf } from "../errors.ts";
import { decodeMessage } from "../protobuf.ts";
import { type Metadata, formatGrpcTimeout, headersOfMetadata } from "./metadata.ts";
import type { GrpcMethod } from "./method.ts";
import { MessageStream, sessionMemoryMaxMb } from "./message-stream.ts";
import { SendWindows } from "./send-windows.ts";
import {
  errorOfStatus,
  grpcCode,
  type IncomingHeaders,
  type RpcStatus,
  statusOfTrailers,
} from "./status.ts";

/** What one stream, and all of them, may have under way. */
const windowBytes = 4 * 1024 * 1024;
/** RFC 9113, CANCEL. */
const cancelCode = 8;
const headerListMaxBytes = 16 * 1024 * 1024;
/** Each pattern of a .dockerignore travels in a header of its own. */
const headerCountMax = 200_000;

/** How one call is made. */
export interface CallOptions {
  readonly metadata?: Metadata;
  readonly signal?: AbortSignal;
  /** After that the call fails as deadline-exceeded. */
  readonly timeoutMs?: number;
  readonly messageMaxBytes?: number;
}

/** A call with any number of messages each way. */
export interface ClientCall<Request, Response> {
  /** Resolves when more may be sent. @throws unavailable */
  send(message: Partial<Request>): Promise<void>;
  /** No more will be sent. */
  end(): void;
  /** The next message; undefined when the call has ended well. @throws what it ended with */
  next(): Promise<Response | undefined>;
  /** The next message when it is here already. */
  queued(): Response | undefined;
  /** Gives up. */
  cancel(): void;
}

/** A connection to a server. */
export class GrpcClient {
  readonly #session: ClientHttp2Session;
  readonly #closed = Promise.withResolvers<void>();
  /** What ends each call under way. */
  readonly #calls = new Set<(error: EngineError) => void>();
  readonly #windows = new SendWindows({ skipBytes: 0 });
  #isClosed = false;

  /** @param duplex belongs to the client from now on */
  constructor(duplex: Duplex) {
    this.#session = connect("http://localhost", {
      createConnection: () => duplex,
      settings: { initialWindowSize: windowBytes, maxHeaderListSize: headerListMaxBytes },
      maxSendHeaderBlockLength: headerListMaxBytes,
      maxHeaderListPairs: headerCountMax,
      maxSessionMemory: sessionMemoryMaxMb,
    });
    duplex.on("data", (chunk: Buffer) => this.#windows.receive(chunk));
    // All streams together, which may have 64 KiB otherwise: then who sends much waits for an answer
    // after each. It must be no more than one stream has: half of it must be used before the other
    // side is told of room in either, which never happens in the smaller one, seen in Bun 1.4.5.
    this.#session.setLocalWindowSize(windowBytes);
    const onClose = (): void => this.#end();
    this.#session.on("error", onClose);
    this.#session.on("close", onClose);
    // A session does not always hear that its connection is gone, seen in Bun 1.4.5
    duplex.on("close", onClose);
  }

  /** Resolves when the connection is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Asks once, answers once. @throws the status of the call, as an error of its kind */
  async unary<Request, Response>(
    method: GrpcMethod<Request, Response>,
    request: Partial<Request>,
    options: CallOptions = {},
  ): Promise<Response> {
    const call = this.open(method, options);
    try {
      await call.send(request);
      call.end();
      const response = await call.next();
      if (response === undefined) {
        throw new EngineError("internal", `call ${method.path}: ended without an answer`);
      }
      // The status comes behind the answer, and may still be a failure.
      await call.next();
      return response;
    } catch (error) {
      call.cancel();
      throw error;
    }
  }

  /** Opens a call. It must be read to its end, or canceled. */
  open<Request, Response>(
    method: GrpcMethod<Request, Response>,
    options: CallOptions = {},
  ): ClientCall<Request, Response> {
    if (options.signal?.aborted === true) throw canceled(method.path);
    if (this.#isClosed) throw lost(method.path);
    const stream = this.#request(method.path, options);
    const messages = new MessageStream(stream, { ...options, window: this.#windows.open(stream) });
    const ended = watchStatus(stream, { path: method.path, messages });
    const abort = (error: EngineError): void => {
      messages.fail(error);
      ended.resolve(undefined);
      if (!stream.destroyed) stream.close(cancelCode);
    };
    this.#calls.add(abort);
    const forgetLimits = limitCall(options, { path: method.path, abort });
    const release = (): void => {
      forgetLimits();
      this.#calls.delete(abort);
    };
    stream.once("close", release);
    return {
      send: async (message) => await messages.send(method.request, message),
      end: () => {
        if (!stream.destroyed) stream.end();
      },
      next: async () => {
        const bytes = await messages.next();
        if (bytes !== undefined) return decodeMessage(method.response, bytes);
        const status = await ended.promise;
        // A deadline or an abort that came meanwhile tells more than a stream that is gone.
        await messages.next();
        if (status === undefined) throw lost(method.path);
        if (status.code !== grpcCode.ok) throw errorOfStatus(status);
        return undefined;
      },
      queued: () => {
        const bytes = messages.queued();
        return bytes === undefined ? undefined : decodeMessage(method.response, bytes);
      },
      cancel: () => {
        release();
        if (!stream.destroyed) stream.close(cancelCode);
      },
    };
  }

  /** Closes the connection; calls under way fail. */
  close(): void {
    if (!this.#session.destroyed) this.#session.destroy();
    this.#end();
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const abort of this.#calls) {
      abort(new EngineError("unavailable", "the connection was lost"));
    }
    this.#calls.clear();
    this.#closed.resolve();
  }

  #request(path: string, options: CallOptions): ClientHttp2Stream {
    try {
      return this.#session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
        ...(options.timeoutMs === undefined
          ? {}
          : { "grpc-timeout": formatGrpcTimeout(options.timeoutMs) }),
        ...headersOfMetadata(options.metadata ?? new Map()),
      });
    } catch (cause) {
      throw new EngineError("unavailable", `call ${path}: ${messageOf(cause)}`, { cause });
    }
  }
}

interface Ending {
  readonly promise: Promise<RpcStatus | undefined>;
  resolve(status: RpcStatus | undefined): void;
}

/** The status, from trailers or from an answer that is trailers alone; undefined when it got lost. */
function watchStatus(
  stream: ClientHttp2Stream,
  call: { readonly path: string; readonly messages: MessageStream },
): Ending {
  const ending = Promise.withResolvers<RpcStatus | undefined>();
  stream.on("response", (headers: IncomingHeaders & { readonly ":status"?: unknown }) => {
    const status = statusOfTrailers(headers);
    if (status !== undefined) ending.resolve(status);
    else if (Number(headers[":status"]) !== 200) {
      ending.resolve({
        code: grpcCode.unavailable,
        message: `call ${call.path}: HTTP status ${String(headers[":status"])}`,
        details: [],
      });
    }
  });
  stream.on("trailers", (headers: IncomingHeaders) => ending.resolve(statusOfTrailers(headers)));
  stream.on("close", () => ending.resolve(undefined));
  stream.on("error", () => {
    call.messages.fail(lost(call.path));
    ending.resolve(undefined);
  });
  return ending;
}

/** Ends a call at its deadline or with its signal; answers what forgets both. */
function limitCall(
  options: CallOptions,
  call: { readonly path: string; readonly abort: (error: EngineError) => void },
): () => void {
  const { signal, timeoutMs } = options;
  const onAbort = (): void => call.abort(canceled(call.path));
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          const sentence = `call ${call.path}: no answer within ${timeoutMs} ms`;
          call.abort(new EngineError("deadline-exceeded", sentence));
        }, timeoutMs);
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
}

function canceled(path: string): EngineError {
  return new EngineError("canceled", `call ${path}: canceled`);
}

function lost(path: string): EngineError {
  return new EngineError("unavailable", `call ${path}: the connection was lost`);
}
