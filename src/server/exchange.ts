import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { checkJsonContentType } from "../api/request/decode-request.ts";
import { encodeJson } from "../api/encode.ts";
import type { Query } from "../api/request/query.ts";
import { adaptResponse } from "../api/version-rules.ts";
import { compareVersions } from "../api/versions.ts";
import { sleep } from "../lib/concurrency/retry.ts";
import { nextTurn } from "../lib/concurrency/turn.ts";
import { EngineError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Backend } from "./backend.ts";
import { type Hijacked, hijack, isUpgrade } from "./http-front.ts";
import { descriptorOf, joinStreams } from "./_join.ts";
import { reframe } from "./_reframe.ts";
import { acceptWebSocket, openWebSocket } from "./_websocket.ts";

/** A JSON body larger than this is refused. */
export const jsonBodyMaxBytes: number = 8 * 1024 * 1024;

/** One request and its answer, as a handler sees them. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly backend: Backend;
  readonly logger: Logger;
  /** Of the path pattern, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  /** Name of the operation, as in the route table. */
  readonly operation: string;
  /** As `1.43`. */
  readonly version: string;
  /** Aborted when the client goes away before the answer has ended. */
  readonly signal: AbortSignal;
  /** How much of what was written to a socket its client has not read. */
  readonly unreadBytes?: (fd: number) => number;
}

/** Serves one operation. */
export type Handler = (exchange: Exchange) => Promise<void>;

/** A path parameter. */
export function param(exchange: Exchange, name: string): string {
  return exchange.params[name] ?? "";
}

/** Reads a JSON body whole. @throws invalid-argument when it is too large */
export async function readBody(exchange: Exchange): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of exchange.request as AsyncIterable<Uint8Array>) {
    sizeBytes += chunk.length;
    if (sizeBytes > jsonBodyMaxBytes) {
      throw new EngineError(
        "invalid-argument",
        `the request body is larger than the ${jsonBodyMaxBytes} bytes that are read of it`,
        { details: { httpStatus: 413 } },
      );
    }
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** Reads a body that must say that it is JSON. @throws invalid-argument */
export async function readJsonBody(exchange: Exchange): Promise<Uint8Array> {
  const body = await readBody(exchange);
  const contentType = exchange.request.headers["content-type"];
  checkJsonContentType(contentType, { hasBody: body.length > 0 });
  return body;
}

/** Answers with one JSON value. */
export function sendJson(exchange: Exchange, value: unknown, status = 200): void {
  const { response } = exchange;
  const adapted = adaptResponse(exchange.operation, value, exchange.version);
  const body = encodeJson(adapted);
  response.statusCode = status;
  response.setHeader("Content-Type", "application/json");
  response.setHeader("Content-Length", Buffer.byteLength(body));
  response.end(body);
}

/** Answers without a body. */
export function sendEmpty(exchange: Exchange, status = 204): void {
  exchange.response.statusCode = status;
  exchange.response.end();
}

/** Answers with a stream; slow clients hold the source back, lost clients end it. */
export async function sendStream(
  exchange: Exchange,
  options: { readonly body: ReadableStream<Uint8Array>; readonly contentType: string },
): Promise<void> {
  const { response } = exchange;
  response.statusCode = 200;
  response.setHeader("Content-Type", options.contentType);
  response.flushHeaders();
  const reader = options.body.getReader();
  const stop = (): void => void reader.cancel().catch(() => undefined);
  response.once("close", stop);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (response.destroyed) return;
      if (!response.write(value)) await drained(response);
    }
    response.end();
  } finally {
    response.off("close", stop);
  }
}

/** Resolves when more can be written, or when nobody reads any more. */
async function drained(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.once("drain", done);
    response.once("close", done);
    if (response.destroyed) done();
  });
}

/** Starts an answer of JSON lines; those of one turn of the event loop leave together. */
export function beginJsonLines(exchange: Exchange): (value: unknown) => void {
  const { response } = exchange;
  response.statusCode = 200;
  response.setHeader("Content-Type", "application/json");
  response.flushHeaders();
  let isHeld = false;
  const release = (): void => {
    isHeld = false;
    if (!response.destroyed) response.uncork();
  };
  return (value) => {
    if (response.destroyed) return;
    if (!isHeld) {
      isHeld = true;
      response.cork();
      setImmediate(release);
    }
    response.write(`${JSON.stringify(value)}\r\n`);
  };
}

/** Content types of hijacked streams. @see Engine API v1.42, ContainerAttach */
const rawStream = "application/vnd.docker.raw-stream";
const multiplexedStream = "application/vnd.docker.multiplexed-stream";

/** The content type of a stream: multiplexed since API 1.42, raw before and for terminals. */
export function streamContentType(exchange: Exchange, hasTty: boolean): string {
  const minor = Number(exchange.version.split(".")[1]);
  return hasTty || minor < 42 ? rawStream : multiplexedStream;
}

/** What the head of a hijacked answer says. */
interface HijackHead {
  /** Whether the client reads what a terminal shows, or frames. */
  readonly hasTty: boolean;
  /** Sends the headers of all answers, too: Docker does for exec, not for attach. */
  readonly withHeaders?: boolean;
}

/** Joins the client's connection to a process, with or without Upgrade, until both ends are done. */
export async function joinHijacked(
  exchange: Exchange,
  options: HijackHead & { readonly stream: Duplex },
): Promise<void> {
  const { socket, early } = takeConnection(exchange, options);
  await joinStreams({ client: socket, process: options.stream, early });
}

/** So many pieces of input are taken of a client whose process is being started; then it is held back. */
const heldChunkCountMax = 16;

/**
 * As `joinHijacked`, to a process that is just being started.
 *
 * A refusal that is known in the turn of the call is thrown, and answered with its status. Otherwise
 * the head leaves at once, and whatever fails then ends the connection.
 */
export async function joinStarting(
  exchange: Exchange,
  options: HijackHead & {
    readonly starting: Promise<{ readonly hasTty: boolean; readonly stream: Duplex }>;
  },
): Promise<void> {
  const { starting, hasTty: wantsTty } = options;
  await Promise.race([starting, nextTurn()]);
  // Docker: the head is there long before the process, seen in 28.5. Its SDK for Python reads the head
  // by a buffer of its own, and loses the output that comes with it.
  const { socket, early } = takeConnection(exchange, options);
  const sent = [early];
  const hold = (chunk: Buffer): void => {
    sent.push(chunk);
    if (sent.length > heldChunkCountMax) socket.pause();
  };
  socket.on("data", hold);
  try {
    const { hasTty, stream } = await starting;
    await headRead(exchange, socket);
    socket.off("data", hold);
    const process = hasTty === wantsTty ? stream : reframe(stream, { hasTty });
    await joinStreams({ client: socket, process, early: Buffer.concat(sent) });
  } catch (error) {
    socket.destroy();
    void starting.then(
      ({ stream }) => stream.destroy(),
      () => undefined,
    );
    throw error;
  }
}

/** So long a client is waited for that has not read the head. */
const headReadMaxMs = 200;
const headLookMs = 1;

/** Resolves when what was sent is read, as far as that can be known. */
async function headRead({ unreadBytes }: Exchange, socket: Socket): Promise<void> {
  const endMs = performance.now() + headReadMaxMs;
  while (unreadBytes !== undefined && performance.now() < endMs) {
    const fd = descriptorOf(socket);
    if (fd === undefined || unreadBytes(fd) === 0) return;
    await sleep(headLookMs);
  }
}

function takeConnection(exchange: Exchange, options: HijackHead): Hijacked {
  // Docker: only who upgrades is told of multiplexing, seen in 28.5
  const head = isUpgrade(exchange.request)
    ? "HTTP/1.1 101 UPGRADED\r\n" +
      `Content-Type: ${streamContentType(exchange, options.hasTty)}\r\n` +
      "Connection: Upgrade\r\nUpgrade: tcp"
    : `HTTP/1.1 200 OK\r\nContent-Type: ${rawStream}`;
  const more = options.withHeaders === true ? headersOf(exchange.response) : "";
  return hijack(exchange.request, { response: exchange.response, head: head + more });
}

/** The headers of all answers, as lines that each begin with the end of the line before. */
function headersOf(response: ServerResponse): string {
  const headers = Object.entries(response.getHeaders());
  return headers.map(([name, value]) => `\r\n${name}: ${String(value)}`).join("");
}

/** First version whose WebSocket frames are binary. @see Engine API v1.28, ContainerAttachWebsocket */
const binaryFramesSince = "1.28";

/** As `joinHijacked`, in WebSocket frames; both outputs come as one, not multiplexed. */
export async function joinWebSocket(
  exchange: Exchange,
  options: { readonly stream: Duplex; readonly hasTty: boolean },
): Promise<void> {
  const head = acceptWebSocket(exchange.request.headers);
  const { socket, early } = hijack(exchange.request, { response: exchange.response, head });
  const client = openWebSocket(socket, {
    isText: compareVersions(exchange.version, binaryFramesSince) < 0,
    isMultiplexed: !options.hasTty,
  });
  if (early.length > 0) socket.unshift(early);
  await joinStreams({ client, process: options.stream, early: Buffer.alloc(0) });
}
