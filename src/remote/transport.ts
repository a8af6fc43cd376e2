/**
 * One HTTP exchange with a registry: no redirects, no credentials, no retries.
 *
 * A body in either direction moves only as fast as its reader, and is stalled when nothing moves
 * for `stallMs` while something is wanted.
 */
import { Agent as HttpAgent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { Agent as HttpsAgent, request as requestTls } from "node:https";
import type { Socket } from "node:net";
import { codeOf, EngineError } from "../lib/errors.ts";
import { type ByteSource, readAll } from "../lib/stream-limit.ts";
import { connectionFailure, requestFailure } from "./_connection-failure.ts";
import type { RemoteLimits } from "./_limits.ts";
import type { HostTrust } from "./certificates.ts";
import { proxyAuthorization } from "./proxies.ts";

/** What is sent. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
  readonly signal?: AbortSignal | undefined;
}

/** The body of a request. */
export interface HttpBody {
  readonly sizeBytes: number;
  /** Opened anew whenever the request is sent again. */
  readonly open: () => ByteSource;
}

/** What came back. Read to its end or closed. */
export interface HttpAnswer {
  readonly method: string;
  readonly url: URL;
  readonly status: number;
  readonly statusText: string;
  header(name: string): string | undefined;
  /** The body as it comes. @throws unavailable when it breaks off or stalls; canceled */
  body(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Lets go of what was not read. Safe to call again. */
  close(): void;
}

/** How a host is connected to. */
export interface Route {
  readonly trust?: HostTrust;
  readonly isVerified: boolean;
  readonly proxy?: URL | undefined;
}

/** Sends requests; keeps connections for the next. */
export interface HttpTransport {
  /** @throws unavailable with Docker's sentence when there is no answer; canceled */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** Ends idle connections. */
  close(): void;
}

/** Connections kept to one origin, and origins they are kept to. */
const idleSocketsMax = 4;
const originsMax = 256;
const userAgent = "tug";

/** Opens a transport. @param options.routeTo tells how a URL's host is connected to */
export function openTransport(options: {
  readonly limits: RemoteLimits;
  readonly routeTo: (url: URL) => Promise<Route>;
}): HttpTransport {
  const agents = new Map<string, HttpAgent>();
  const close = (): void => {
    // Not Agent.destroy(), which would break off what is under way as well.
    const idle = [...agents.values()].flatMap(({ freeSockets }) => Object.values(freeSockets));
    for (const sockets of idle) for (const socket of sockets ?? []) socket.destroy();
    agents.clear();
  };
  const agentFor = (url: URL): HttpAgent => {
    if (agents.size >= originsMax && !agents.has(url.origin)) close();
    const made = agents.get(url.origin) ?? newAgent(url);
    agents.set(url.origin, made);
    return made;
  };
  return {
    send: async (wanted) => {
      const route = await options.routeTo(wanted.url);
      const plan = { ...options, wanted, route };
      try {
        return await exchange({ ...plan, agent: route.proxy ? false : agentFor(wanted.url) });
      } catch (error) {
        // The registry had closed a connection that was kept: nothing was lost, ask on a new one.
        if (!(error instanceof StaleConnection)) throw error;
        return await exchange({ ...plan, agent: false });
      }
    },
    close,
  };
}

/** A connection that was used before and broke before an answer began. */
class StaleConnection extends EngineError {}

interface Exchange {
  readonly limits: RemoteLimits;
  readonly wanted: HttpRequest;
  readonly route: Route;
  readonly agent: HttpAgent | false;
}

function newAgent(url: URL): HttpAgent {
  const options = { keepAlive: true, maxFreeSockets: idleSocketsMax };
  return url.protocol === "https:" ? new HttpsAgent(options) : new HttpAgent(options);
}

async function exchange(plan: Exchange): Promise<HttpAnswer> {
  const { wanted, limits } = plan;
  const { signal } = wanted;
  if (signal?.aborted) throw canceled(wanted);
  const node = await openRequest(plan);
  const outcome = Promise.withResolvers<IncomingMessage>();
  node.on("response", outcome.resolve);
  node.on("error", outcome.reject);
  const abort = (): void => {
    outcome.reject(canceled(wanted));
    node.destroy();
  };
  signal?.addEventListener("abort", abort, { once: true });
  const clock = new Clock((waitMaxMs) => {
    const reason = `no answer within ${waitMaxMs} ms`;
    outcome.reject(requestFailure(wanted, reason));
    node.destroy();
  }, limits.answerMs);
  try {
    const sent = sendBody(node, { plan, clock, outcome });
    const message = await outcome.promise;
    await sent;
    return answerOf(message, { node, plan });
  } catch (error) {
    node.destroy();
    if (signal?.aborted) throw canceled(wanted);
    const isStale =
      plan.agent !== false && wanted.body === undefined && node.reusedSocket && isBreak(error);
    if (isStale) throw new StaleConnection("unavailable", "stale connection");
    throw connectionFailure(wanted, error);
  } finally {
    clock.stop();
    signal?.removeEventListener("abort", abort);
  }
}

function isBreak(error: unknown): boolean {
  return codeOf(error) === "ECONNRESET" || codeOf(error) === "EPIPE";
}

/** Tells when nothing has happened for too long. */
class Clock {
  readonly #onLate: (waitMaxMs: number) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(onLate: (waitMaxMs: number) => void, waitMaxMs: number) {
    this.#onLate = onLate;
    this.restart(waitMaxMs);
  }

  restart(waitMaxMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#onLate(waitMaxMs), waitMaxMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

async function openRequest(plan: Exchange): Promise<ClientRequest> {
  const { wanted, route, agent } = plan;
  const { url } = wanted;
  const isTls = url.protocol === "https:";
  const host = bare(url.hostname);
  const headers: Record<string, string> = {
    host: url.host,
    "user-agent": userAgent,
    // A coded body would not have the digest that was asked for.
    "accept-encoding": "identity",
    ...wanted.headers,
    ...(wanted.body !== undefined || wanted.method === "POST" || wanted.method === "PUT"
      ? { "content-length": `${wanted.body?.sizeBytes ?? 0}` }
      : {}),
  };
  const common = { method: wanted.method, headers, agent };
  const path = `${url.pathname}${url.search}`;
  if (isTls) {
    const tls = tlsOptions(host, route);
    const port = portOf(url);
    if (route.proxy === undefined) return requestTls({ ...common, ...tls, host, port, path });
    const socket = await tunnel(route.proxy, plan);
    // node:http's types do not list the option that node:tls takes.
    const tunneled = { ...common, ...tls, host, port, path, socket };
    return requestTls(tunneled);
  }
  const { proxy } = route;
  if (proxy === undefined) return request({ ...common, host, port: portOf(url), path });
  const authorization = proxyAuthorization(proxy);
  const proxied = authorization === undefined ? {} : { "proxy-authorization": authorization };
  const target = { host: bare(proxy.hostname), port: portOf(proxy), path: url.href };
  const options = { ...common, ...target, headers: { ...headers, ...proxied } };
  return proxy.protocol === "https:" ? requestTls(options) : request(options);
}

/** Asks a proxy for a way through to the host of the request. */
async function tunnel(proxy: URL, plan: Exchange): Promise<Socket> {
  const { url, signal } = plan.wanted;
  const authorization = proxyAuthorization(proxy);
  const target = `${url.hostname}:${portOf(url)}`;
  const options = {
    method: "CONNECT",
    host: bare(proxy.hostname),
    port: portOf(proxy),
    path: target,
    headers: {
      host: target,
      ...(authorization === undefined ? {} : { "proxy-authorization": authorization }),
    },
    agent: false as const,
  };
  const node = proxy.protocol === "https:" ? requestTls(options) : request(options);
  const open = Promise.withResolvers<Socket>();
  node.on("connect", (answer, socket) => {
    if (answer.statusCode === 200) open.resolve(socket);
    else open.reject(refusedByProxy(answer));
  });
  node.on("response", (answer) => open.reject(refusedByProxy(answer)));
  node.on("error", (error) => {
    const failure = connectionFailure({ method: "CONNECT", url: proxy }, error);
    const reason = failure.message.replace(/^Connect "[^"]*": /, "");
    open.reject(requestFailure(plan.wanted, `proxyconnect tcp: ${reason}`, { cause: error }));
  });
  const abort = (): void => open.reject(canceled(plan.wanted));
  signal?.addEventListener("abort", abort, { once: true });
  const timer = setTimeout(() => {
    open.reject(requestFailure(plan.wanted, "proxyconnect tcp: i/o timeout"));
  }, plan.limits.connectMs);
  node.end();
  try {
    return await open.promise;
  } catch (error) {
    node.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
  function refusedByProxy(answer: IncomingMessage): EngineError {
    return requestFailure(plan.wanted, answer.statusMessage ?? `${answer.statusCode}`, {
      isTransient: false,
    });
  }
}

function tlsOptions(host: string, route: Route): object {
  const { trust } = route;
  return {
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    rejectUnauthorized: route.isVerified,
    ...(trust === undefined ? {} : { ca: [...trust.ca] }),
    ...(trust?.client === undefined
      ? {}
      : { cert: trust.client.certificate, key: trust.client.key }),
  };
}

/** Sends the body as fast as it is taken; ends early when an answer, or a failure, is there. */
async function sendBody(
  node: ClientRequest,
  options: {
    readonly plan: Exchange;
    readonly clock: Clock;
    readonly outcome: PromiseWithResolvers<IncomingMessage>;
  },
): Promise<void> {
  const { plan, clock, outcome } = options;
  const { body } = plan.wanted;
  if (body === undefined) {
    node.end();
    return;
  }
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  const settled = outcome.promise.then(over, over);
  try {
    clock.restart(plan.limits.stallMs);
    for await (const chunk of body.open()) {
      if (isOver) return;
      clock.restart(plan.limits.stallMs);
      if (!node.write(chunk)) await Promise.race([drained(node), settled]);
      clock.restart(plan.limits.stallMs);
    }
    if (isOver) return;
    clock.restart(plan.limits.commitMs);
    node.end();
  } catch (error) {
    outcome.reject(error);
  }
}

async function drained(node: ClientRequest): Promise<void> {
  await new Promise<void>((resolve) => void node.once("drain", resolve));
}

function answerOf(
  message: IncomingMessage,
  options: { readonly node: ClientRequest; readonly plan: Exchange },
): HttpAnswer {
  const { node, plan } = options;
  const { method, url } = plan.wanted;
  let isRead = false;
  // Without a listener a break before the body is read would end the process.
  message.on("error", () => undefined);
  return {
    method,
    url,
    status: message.statusCode ?? 0,
    statusText: message.statusMessage ?? "",
    header: (name) => {
      const value = message.headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
    body: () => {
      isRead = true;
      return readBody(message, options);
    },
    close: () => {
      if (isRead) return;
      isRead = true;
      if (method === "HEAD" || message.complete) message.resume();
      else node.destroy();
    },
  };
}

async function* readBody(
  message: IncomingMessage,
  options: { readonly node: ClientRequest; readonly plan: Exchange },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { node, plan } = options;
  const { wanted, limits } = plan;
  const { signal } = wanted;
  let isStalled = false;
  const end = (): void => {
    message.destroy();
    node.destroy();
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = (): void => {
    isStalled = true;
    end();
  };
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end, { once: true });
  const source = message[Symbol.asyncIterator]();
  try {
    for (;;) {
      timer = setTimeout(late, limits.stallMs);
      const next: IteratorResult<unknown> = await source.next();
      clearTimeout(timer);
      if (next.done === true) break;
      if (next.value instanceof Uint8Array) yield next.value;
    }
    if (signal?.aborted) throw canceled(wanted);
    if (isStalled) throw stalled();
    if (!message.complete && !isEmpty(message)) throw requestFailure(wanted, "unexpected EOF");
  } catch (error) {
    if (signal?.aborted) throw canceled(wanted);
    if (isStalled) throw stalled();
    if (error instanceof EngineError) throw error;
    throw requestFailure(wanted, "unexpected EOF", { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
    if (!message.complete) end();
  }
  function stalled(): EngineError {
    return requestFailure(wanted, `the transfer stalled: no byte within ${limits.stallMs} ms`);
  }
}

/** Answers that have no body by their kind. */
function isEmpty(message: IncomingMessage): boolean {
  return message.statusCode === 204 || message.statusCode === 304;
}

/** Reads a small answer whole. @throws data-loss when it is longer than it may be */
export async function readAnswer(
  answer: HttpAnswer,
  options: { readonly sizeMaxBytes: number; readonly what: string },
): Promise<Uint8Array> {
  const said = Number(answer.header("content-length") ?? "0");
  try {
    if (said > options.sizeMaxBytes) throw new EngineError("invalid-argument", "long");
    return await readAll(answer.body(), options);
  } catch (error) {
    answer.close();
    if (!(error instanceof EngineError) || error.kind !== "invalid-argument") throw error;
    throw new EngineError("data-loss", `${options.what}: more than ${options.sizeMaxBytes} bytes`, {
      cause: error,
    });
  }
}

function canceled(wanted: HttpRequest): EngineError {
  return new EngineError("canceled", "context canceled", { cause: wanted.signal?.reason });
}

function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" ? 443 : 80;
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
