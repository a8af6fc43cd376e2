/**
 * The listeners of the registry: plain or TLS sockets given to node:http, with bounds on how many there
 * are and on how long one may do nothing.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createNetServer, type Server, type Socket } from "node:net";
import {
  createSecureContext,
  createServer as createTlsServer,
  type Server as TlsServer,
} from "node:tls";
import { sleep } from "../../lib/concurrency/retry.ts";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { holdBackBodies } from "../../lib/http-body.ts";
import type { Logger } from "../../lib/log.ts";

/** A request line and headers larger than this are refused with 431. */
const headerSizeMaxBytes = 64 * 1024;
/** How long open requests get when the registry stops. */
const closeMaxMs = 10_000;
const keepAliveMs = 15_000;

/** Bounds of a front. */
export interface FrontLimits {
  /** Connections at once; one more takes the place of the idlest, or is closed when all are busy. */
  readonly connectionsMax: number;
  /** How long a client may take between two requests, and for the headers of one. */
  readonly idleMaxMs: number;
  /** How long nothing may pass while a request is served. */
  readonly stallMaxMs: number;
  /** How often connections are looked at. */
  readonly lookPeriodMs: number;
}

const defaultLimits: FrontLimits = {
  connectionsMax: 1_024,
  idleMaxMs: 75_000,
  stallMaxMs: 300_000,
  lookPeriodMs: 5_000,
};

/** Certificates of a listener. */
export interface FrontTls {
  readonly key: Buffer;
  readonly cert: Buffer;
  /** Who must have signed the certificate of each client; none: clients need none. */
  readonly ca?: Buffer;
}

/** Where to listen. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The listeners of one registry. */
export interface Front {
  /** @returns the address that is listened on, with the port that was chosen for port 0 */
  listen(address: Address, tls?: FrontTls): Promise<Address>;
  /** Listens on a unix socket, for the owner alone. */
  listenUnix(path: string): Promise<void>;
  /** New connections get these certificates. @throws invalid-argument when they are no good */
  useTls(tls: FrontTls): void;
  readonly connectionCount: number;
  /** Ends: no new connections; open requests get a while. */
  close(): Promise<void>;
}

/** What is known of a connection. */
interface Watched {
  requestCount: number;
  passedBytes: number;
  changedMs: number;
}

/** Makes a front; all of its listeners share the handler and the bounds. */
export function createFront(options: {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  readonly logger: Logger;
  /** Other limits than the usual ones; for tests. */
  readonly limits?: Partial<FrontLimits>;
}): Front {
  return new HttpFront(options);
}

class HttpFront implements Front {
  readonly #logger: Logger;
  readonly #limits: FrontLimits;
  readonly #http: ReturnType<typeof createServer>;
  readonly #servers: Server[] = [];
  readonly #tlsServers: TlsServer[] = [];
  readonly #sockets = new Map<Socket, Watched>();
  readonly #timer: Timer;
  #refusedCount = 0;

  constructor(options: Parameters<typeof createFront>[0]) {
    this.#logger = options.logger;
    this.#limits = { ...defaultLimits, ...options.limits };
    const http = createServer({ maxHeaderSize: headerSizeMaxBytes }, (request, response) => {
      this.#watchRequest(request, response);
      options.handle(request, response);
    });
    http.requestTimeout = 0;
    http.keepAliveTimeout = this.#limits.idleMaxMs;
    http.on("clientError", (error, socket) => {
      const isTooLarge = codeOf(error) === "HPE_HEADER_OVERFLOW";
      const status = isTooLarge ? "431 Request Header Fields Too Large" : "400 Bad Request";
      if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
    });
    holdBackBodies(http);
    this.#http = http;
    this.#timer = setInterval(() => this.#look(), this.#limits.lookPeriodMs);
    this.#timer.unref();
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  async listen(address: Address, tls?: FrontTls): Promise<Address> {
    const accept = (socket: Socket): void => this.#accept(socket);
    const server = tls === undefined ? createNetServer(halfOpen, accept) : this.#createTls(tls);
    await this.#listenOn(server, address);
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : address.port;
    return { host: address.host, port };
  }

  useTls(tls: FrontTls): void {
    const context = contextOf(tls);
    for (const server of this.#tlsServers) server.setSecureContext(context);
  }

  async listenUnix(path: string): Promise<void> {
    const before = process.umask(0o177);
    try {
      const server = createNetServer(halfOpen, (socket) => this.#accept(socket));
      await this.#listenOn(server, { path });
    } finally {
      process.umask(before);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const server of this.#servers) server.close();
    const endMs = performance.now() + closeMaxMs;
    for (;;) {
      for (const [socket, { requestCount }] of this.#sockets) {
        if (requestCount === 0) socket.destroy();
      }
      if (this.#sockets.size === 0 || performance.now() > endMs) break;
      await sleep(50);
    }
    for (const socket of this.#sockets.keys()) socket.destroy();
    this.#http.close();
  }

  #createTls(tls: FrontTls): Server {
    const isCallerKnown = tls.ca !== undefined;
    const server = createTlsServer(
      {
        ...halfOpen,
        ...contextOf(tls),
        requestCert: isCallerKnown,
        rejectUnauthorized: isCallerKnown,
        handshakeTimeout: this.#limits.idleMaxMs,
      },
      (socket) => this.#accept(socket),
    );
    server.on("tlsClientError", () => undefined);
    this.#tlsServers.push(server);
    return server;
  }

  async #listenOn(server: Server, address: Address | { readonly path: string }): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        const kind = error.code === "EADDRINUSE" ? "conflict" : "unavailable";
        const problem = listenProblems[error.code ?? ""] ?? error.message;
        const sentence = `listen on ${formatAddress(address)}: ${problem}`;
        reject(new EngineError(kind, sentence, { cause: error }));
      });
      server.listen(address, () => resolve());
    });
    server.on("error", (error) => this.#logger.warn("listener", { error }));
    this.#servers.push(server);
  }

  #accept(socket: Socket): void {
    const { connectionsMax } = this.#limits;
    if (this.#sockets.size >= connectionsMax) this.#endIdlest();
    if (this.#sockets.size >= connectionsMax) {
      this.#refusedCount += 1;
      // A flood must not fill the log as well.
      if (this.#refusedCount % 1_000 === 1) {
        this.#logger.warn("connections are refused: there are as many as may be", {
          connectionsMax,
          refusedCount: this.#refusedCount,
        });
      }
      socket.destroy();
      return;
    }
    this.#sockets.set(socket, { requestCount: 0, passedBytes: 0, changedMs: performance.now() });
    socket.on("error", () => undefined);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.setKeepAlive(true, keepAliveMs);
    this.#http.emit("connection", socket);
  }

  /** Ends the connection that has been without a request for the longest time. */
  #endIdlest(): void {
    let idlest: { readonly socket: Socket; readonly sinceMs: number } | undefined;
    for (const [socket, { requestCount, changedMs }] of this.#sockets) {
      if (requestCount > 0 || (idlest !== undefined && idlest.sinceMs <= changedMs)) continue;
      idlest = { socket, sinceMs: changedMs };
    }
    if (idlest === undefined) return;
    this.#sockets.delete(idlest.socket);
    idlest.socket.destroy();
  }

  #watchRequest(request: IncomingMessage, response: ServerResponse): void {
    const watched = this.#sockets.get(request.socket);
    if (watched === undefined) return;
    watched.requestCount += 1;
    watched.changedMs = performance.now();
    response.once("close", () => {
      watched.requestCount -= 1;
      watched.changedMs = performance.now();
    });
  }

  /** Ends connections on which nothing happens. */
  #look(): void {
    const nowMs = performance.now();
    const { idleMaxMs, stallMaxMs } = this.#limits;
    for (const [socket, watched] of this.#sockets) {
      if (socket.destroyed) {
        this.#sockets.delete(socket);
        continue;
      }
      const passedBytes = socket.bytesRead + socket.bytesWritten;
      const isServing = watched.requestCount > 0;
      // Between requests the clock runs on: headers that come byte by byte are no activity.
      if (isServing && passedBytes !== watched.passedBytes) watched.changedMs = nowMs;
      watched.passedBytes = passedBytes;
      if (nowMs - watched.changedMs > (isServing ? stallMaxMs : idleMaxMs)) socket.destroy();
    }
  }
}

const halfOpen = { allowHalfOpen: true } as const;

/** What is said where an address cannot be had. */
const listenProblems: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process listens there",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "permission denied",
};

function formatAddress(address: Address | { readonly path: string }): string {
  if ("path" in address) return address.path;
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What a TLS server takes; checked, for a server that is given nonsense refuses each client instead. */
function contextOf(tls: FrontTls): FrontTls & { readonly minVersion: "TLSv1.2" } {
  const context = { ...tls, minVersion: "TLSv1.2" } as const;
  try {
    createSecureContext(context);
  } catch (error) {
    throw new EngineError("invalid-argument", `TLS: ${messageOf(error)}`, { cause: error });
  }
  return context;
}
