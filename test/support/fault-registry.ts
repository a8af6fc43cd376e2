/** A registry that does as it is told: right, wrong, late, half, or not at all. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** What a registry is asked. */
export interface FaultRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Which request of this method and path it is, from 1. */
  readonly count: number;
  /** Reads the body, or its beginning. */
  readonly body: (sizeMaxBytes?: number) => Promise<Buffer>;
}

/** What it answers. */
export interface FaultReply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Breaks the connection off behind that many bytes of the body. */
  readonly cutAfterBytes?: number;
  /** Says no more behind that many bytes of the body. */
  readonly stallAfterBytes?: number;
  /** Breaks the connection off instead of an answer. */
  readonly reset?: boolean;
  /** Never answers. */
  readonly silent?: boolean;
}

/** A registry that belongs to a test. */
export interface FaultRegistry {
  readonly host: string;
  readonly url: string;
  /** All that it was asked, `/v2/` not counted. */
  readonly requests: readonly FaultRequest[];
  /** How many requests of that method went to a path. */
  count(method: string, path: string): number;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a registry; what `route` does not answer is not found. */
export async function startFaultRegistry(
  route: (request: FaultRequest) => FaultReply | undefined | Promise<FaultReply | undefined>,
): Promise<FaultRegistry> {
  const requests: FaultRequest[] = [];
  const sockets = new Set<Socket>();
  const count = (method: string, path: string): number =>
    requests.filter((known) => known.method === method && known.path === path).length;
  const server = createServer((message, response) => {
    void serve(message, response).catch((error: unknown) => {
      response.destroy();
      if (!response.writableEnded && !message.destroyed) console.error("fault registry:", error);
    });
  });
  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(message.url ?? "/", "http://registry");
    const method = message.method ?? "";
    const request: FaultRequest = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers: Object.fromEntries(
        Object.entries(message.headers).map(([name, value]) => [name, value?.toString()]),
      ),
      count: count(method, url.pathname) + 1,
      body: async (sizeMaxBytes = Number.POSITIVE_INFINITY) =>
        await readUpTo(message, sizeMaxBytes),
    };
    if (url.pathname !== "/v2/") requests.push(request);
    const told = await route(request);
    const reply = told ?? (url.pathname === "/v2/" ? { body: "{}" } : { status: 404 });
    await answer(reply, { message, response });
  }
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") assert.fail("no port");
  const host = `127.0.0.1:${address.port}`;
  return {
    host,
    url: `http://${host}`,
    requests,
    count,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

async function answer(
  reply: FaultReply,
  way: { readonly message: IncomingMessage; readonly response: ServerResponse },
): Promise<void> {
  const { message, response } = way;
  if (reply.silent === true) return;
  if (reply.reset === true) {
    message.socket.destroy();
    return;
  }
  const { body = "" } = reply;
  const isBytes = typeof body === "string" || body instanceof Uint8Array;
  const bytes = isBytes ? Buffer.from(body) : undefined;
  const length = bytes === undefined ? {} : { "content-length": `${bytes.byteLength}` };
  response.writeHead(reply.status ?? 200, { ...length, ...reply.headers });
  if (bytes === undefined) {
    if (isBytes) assert.fail("bytes are wanted");
    for await (const chunk of body) {
      if (response.destroyed || message.socket.destroyed) return;
      if (!response.write(chunk)) await drainOrClose(response);
    }
    response.end();
    return;
  }
  const until = reply.cutAfterBytes ?? reply.stallAfterBytes;
  if (until === undefined || message.method === "HEAD") {
    response.end(message.method === "HEAD" ? undefined : bytes);
    return;
  }
  response.flushHeaders();
  if (until > 0) {
    await new Promise<void>(
      (resolve) => void response.write(bytes.subarray(0, until), () => resolve()),
    );
  }
  if (reply.cutAfterBytes === undefined) return;
  await Bun.sleep(20);
  message.socket.destroy();
}

async function drainOrClose(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const over = (): void => {
      response.off("drain", over);
      response.off("close", over);
      resolve();
    };
    response.on("drain", over);
    response.on("close", over);
  });
}

async function readUpTo(message: IncomingMessage, sizeMaxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of message) {
    const bytes = Buffer.from(chunk as Uint8Array);
    chunks.push(bytes);
    sizeBytes += bytes.byteLength;
    if (sizeBytes >= sizeMaxBytes) break;
  }
  return Buffer.concat(chunks);
}
