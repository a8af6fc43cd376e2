/**
 * One request over a connection of its own: a body that streams, or a connection that is taken over.
 */
import type { Socket } from "node:net";
import { codeOf, EngineError } from "../lib/errors.ts";
import { formatHead, type RequestHead } from "./_request-head.ts";
import { bodyDecoder, HeadReader, type ResponseHead } from "./_response-head.ts";
import { connect, connectFailure, hungUp } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { engineRefusal } from "./errors.ts";
import type { HijackOptions, StreamOptions } from "./transport.ts";

/** Longest body of a refusal that is read. */
const refusalMaxBytes = 64 * 1024;
/** An upload waits for the engine when this much is not yet taken by the kernel. */
const uploadHighWaterBytes = 1024 * 1024;

/** A body as it comes; to be read to its end, or closed. */
export interface BodyStream extends AsyncDisposable {
  readonly headers: ReadonlyMap<string, string>;
  /** The bytes, with backpressure. @throws data-loss when the body ends early */
  bytes(): AsyncGenerator<Buffer, void, undefined>;
}

/** A connection that has become a two-way stream. It belongs to whoever asked for it. */
export interface Hijacked {
  readonly socket: Socket;
  readonly headers: ReadonlyMap<string, string>;
  /** What arrived behind the head; comes before everything of `socket`. */
  readonly early: Buffer;
}

interface Exchange extends StreamOptions, HijackOptions {
  readonly method: string;
  readonly path: string;
}

/** Sends a request and hands its body on as it comes. */
export async function openStream(endpoint: Endpoint, request: Exchange): Promise<BodyStream> {
  const socket = await connect(endpoint, signalOf(request));
  const source = chunksOf(socket);
  const canceled = onAbort(socket, request.signal);
  try {
    socket.write(formatHead(endpoint, headOf(request)));
    const upload = sendBody(socket, request);
    const { head, rest } = await Promise.race([readHead(source, endpoint), upload.failed]);
    if (head.status >= 400) throw await refusal(source, { head, rest, method: request.method });
    const close = (): Promise<void> => {
      canceled.dispose();
      socket.destroy();
      return Promise.resolve();
    };
    return {
      headers: head.headers,
      bytes: () => readBody(source, { head, rest, method: request.method, close }),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    canceled.dispose();
    socket.destroy();
    throw request.signal?.aborted === true ? cancellation(error) : error;
  }
}

/** Asks for a takeover (`Upgrade: tcp`, or as headers say) and hands the connection over, paused. */
export async function openHijacked(endpoint: Endpoint, request: Exchange): Promise<Hijacked> {
  const socket = await connect(endpoint, signalOf(request));
  const source = chunksOf(socket);
  try {
    const headers = { Connection: "Upgrade", Upgrade: "tcp", ...request.headers };
    socket.write(formatHead(endpoint, headOf({ ...request, headers })));
    if (request.body !== undefined) socket.write(JSON.stringify(request.body));
    const { head, rest } = await readHead(source, endpoint);
    if (head.status >= 400) throw await refusal(source, { head, rest, method: request.method });
    return { socket, headers: head.headers, early: Buffer.concat([rest, ...source.release()]) };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

interface ChunkSource {
  /** Next bytes; undefined at the end. */
  next(): Promise<Buffer | undefined>;
  /** Stops listening and leaves the socket paused; answers what was not read yet. */
  release(): readonly Buffer[];
}

function chunksOf(socket: Socket): ChunkSource {
  const queue: Buffer[] = [];
  let ended = false;
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  const onData = (chunk: Buffer): void => {
    queue.push(chunk);
    socket.pause();
    wake?.();
  };
  const onEnd = (): void => {
    ended = true;
    wake?.();
  };
  const onError = (error: Error): void => {
    failure = error;
    wake?.();
  };
  socket.on("data", onData).on("end", onEnd).on("close", onEnd).on("error", onError);
  return {
    async next() {
      for (;;) {
        const chunk = queue.shift();
        if (chunk !== undefined) return chunk;
        if (failure !== undefined) throw failure;
        if (ended) return undefined;
        const waiting = Promise.withResolvers<void>();
        wake = waiting.resolve;
        socket.resume();
        await waiting.promise;
        wake = undefined;
      }
    },
    release() {
      socket.pause();
      socket.off("data", onData).off("end", onEnd).off("close", onEnd).off("error", onError);
      return queue.splice(0);
    },
  };
}

interface Answer {
  readonly head: ResponseHead;
  readonly rest: Buffer;
}

async function readHead(source: ChunkSource, endpoint: Endpoint): Promise<Answer> {
  const reader = new HeadReader();
  for (;;) {
    const chunk = await nextChunk(source, endpoint);
    if (chunk === undefined) throw hungUp(endpoint);
    const answer = reader.push(chunk);
    if (answer !== undefined) return answer;
  }
}

async function nextChunk(source: ChunkSource, endpoint: Endpoint): Promise<Buffer | undefined> {
  try {
    return await source.next();
  } catch (error) {
    if (codeOf(error) === "EPIPE" || codeOf(error) === "ECONNRESET") {
      throw hungUp(endpoint, error);
    }
    throw connectFailure(endpoint, error);
  }
}

async function* readBody(
  source: ChunkSource,
  answer: Answer & { readonly method: string; readonly close: () => Promise<void> },
): AsyncGenerator<Buffer, void, undefined> {
  const decoder = bodyDecoder(answer.head, answer.method);
  try {
    let chunk: Buffer | undefined = answer.rest;
    while (!decoder.isDone) {
      if (chunk === undefined) {
        if (decoder.endsWithConnection) return;
        throw new EngineError("data-loss", "read the engine's answer: unexpected EOF");
      }
      yield* decoder.push(chunk);
      if (!decoder.isDone) chunk = await source.next();
    }
  } finally {
    await answer.close();
  }
}

async function refusal(
  source: ChunkSource,
  answer: Answer & { readonly method: string },
): Promise<EngineError> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  const close = (): Promise<void> => Promise.resolve();
  for await (const part of readBody(source, { ...answer, close })) {
    parts.push(part);
    sizeBytes += part.length;
    if (sizeBytes > refusalMaxBytes) break;
  }
  return engineRefusal(answer.head.status, Buffer.concat(parts).toString());
}

function headOf(request: Exchange): RequestHead {
  const { body, upload, contentType = "application/x-tar" } = request;
  if (upload !== undefined) return { ...request, contentType };
  const { contentType: _, ...bare } = request;
  if (body === undefined) return bare;
  const sizeBytes = Buffer.byteLength(JSON.stringify(body));
  return { ...bare, contentType: "application/json", sizeBytes };
}

/** Sends the body beside reading the answer; only a failure of the source is told. */
function sendBody(socket: Socket, request: Exchange): { readonly failed: Promise<never> } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  if (request.body !== undefined) socket.write(JSON.stringify(request.body));
  const { upload } = request;
  if (upload !== undefined) {
    const send = async (): Promise<void> => {
      for await (const chunk of upload) {
        if (socket.destroyed || !socket.writable) return;
        if (chunk.length === 0) continue;
        socket.write(`${chunk.length.toString(16)}\r\n`);
        socket.write(chunk);
        socket.write("\r\n");
        if (socket.writableLength > uploadHighWaterBytes) await drained(socket);
      }
      socket.write("0\r\n\r\n");
    };
    send().catch(reject);
  }
  return { failed: promise };
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.once("drain", done).once("close", done);
  });
}

function onAbort(socket: Socket, signal: AbortSignal | undefined): { dispose(): void } {
  const abort = (): void => {
    socket.destroy(new EngineError("canceled", "request canceled"));
  };
  signal?.addEventListener("abort", abort, { once: true });
  return {
    dispose: () => {
      signal?.removeEventListener("abort", abort);
    },
  };
}

function cancellation(cause: unknown): EngineError {
  return new EngineError("canceled", "request canceled", { cause });
}

function signalOf(request: Exchange): { readonly signal?: AbortSignal } {
  return request.signal === undefined ? {} : { signal: request.signal };
}
