import { Agent as HttpAgent, type ClientRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { canceled } from "./canceled.ts";
import {
  connectionFailure,
  isUnconnected,
  proxyFailure,
  requestFailure,
} from "./connection-failure.ts";
import type { RemoteLimits } from "./limits.ts";
import { type Exchange, openRequest } from "./_open-request.ts";
import type { HttpAnswer, HttpRequest, HttpTransport, Route } from "./transport.ts";

/** Connections kept to one origin, and origins they are kept to. */
const idleSocketsMax = 4;
const originsMax = 256;

/** Bytes of a body that is sent once more, at most. */
const repeatedMaxBytes = 4 * 1024 * 1024;

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

function newAgent(url: URL): HttpAgent {
  const options = { keepAlive: true, maxFreeSockets: idleSocketsMax };
  return url.protocol === "https:" ? new HttpsAgent(options) : new HttpAgent(options);
}

async function exchange(plan: Exchange): Promise<HttpAnswer> {
  const { wanted, limits } = plan;
  const { signal } = wanted;
  if (signal?.aborted) throw canceled(signal);
  const node = await openRequest(plan);
  const outcome = Promise.withResolvers<IncomingMessage>();
  node.on("response", outcome.resolve);
  node.on("error", outcome.reject);
  const abort = (): void => {
    outcome.reject(canceled(signal));
    node.destroy();
  };
  signal?.addEventListener("abort", abort, { once: true });
  // It may have fired while a proxy was asked.
  if (signal?.aborted) abort();
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
    if (signal?.aborted) throw canceled(signal);
    const isStale =
      plan.agent !== false && mayRepeat(wanted) && node.reusedSocket && isBreak(error);
    if (isStale) throw new StaleConnection("unavailable", "stale connection");
    const { proxy } = plan.route;
    throw proxy !== undefined && wanted.url.protocol === "http:" && isUnconnected(error)
      ? proxyFailure(wanted, { proxy, error })
      : connectionFailure(wanted, error);
  } finally {
    clock.stop();
    signal?.removeEventListener("abort", abort);
  }
}

/** What the server may have begun is the same when it is asked a second time: a manifest, not a piece. */
function mayRepeat({ method, body }: HttpRequest): boolean {
  return body === undefined || (method === "PUT" && body.sizeBytes <= repeatedMaxBytes);
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
      if ((method === "HEAD" || message.complete) && node.writableEnded) message.resume();
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
    if (signal?.aborted) throw canceled(signal);
    if (isStalled) throw stalled();
    if (!message.complete && !isEmpty(message)) throw requestFailure(wanted, "unexpected EOF");
  } catch (error) {
    if (signal?.aborted) throw canceled(signal);
    if (isStalled) throw stalled();
    if (error instanceof EngineError) throw error;
    throw requestFailure(wanted, "unexpected EOF", { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
    // A body that was not sent whole leaves a connection that nobody can use again.
    if (!message.complete || !node.writableEnded) end();
  }
  function stalled(): EngineError {
    return requestFailure(wanted, `the transfer stalled: no byte within ${limits.stallMs} ms`);
  }
}

/** Answers that have no body by their kind. */
function isEmpty(message: IncomingMessage): boolean {
  return message.statusCode === 204 || message.statusCode === 304;
}
