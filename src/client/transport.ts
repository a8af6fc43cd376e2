/**
 * Requests to one engine.
 *
 * 1. Short questions (`json`, `text`, `send`) are read whole: over a unix socket by hand
 *    (`_unix-question.ts`), by whatever connects fastest here (`unix-connect.ts`), over TCP by `fetch`.
 * 2. Long streams (`stream`) and two-way ones (`hijack`) go over a raw connection with backpressure.
 * 3. The path names the newest API version known here. An engine that is older refuses and names
 *    its own; the request is repeated with that one, which is kept for the rest of the transport's
 *    life. There is no extra question before the first request.
 */
import { apiVersionMax } from "../api/versions.ts";
import { EngineError, messageOf } from "../lib/errors.ts";
import { type Answer, askUnix, type Question } from "./_unix-question.ts";
import type { Endpoint } from "./endpoint.ts";
import { engineRefusal, versionWanted } from "./errors.ts";
import type { BodyStream, Hijacked } from "./exchange.ts";
import type { UnixConnect } from "../lib/unix-connection.ts";

type TcpEndpoint = Extract<Endpoint, { readonly kind: "tcp" }>;

/** Values of a query; undefined, false and "" are left out, true is "1". */
export type Query = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

/** One request. */
export interface RequestOptions {
  readonly query?: Query;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** A request for a connection. */
export interface HijackOptions extends RequestOptions {
  /** Headers of several values, each sent in a line of its own. */
  readonly repeatedHeaders?: Readonly<Record<string, readonly string[]>>;
}

/** A request with a body that is produced while it is sent. */
export interface StreamOptions extends RequestOptions {
  readonly upload?: AsyncIterable<Uint8Array>;
  readonly contentType?: string;
}

/** Requests to one engine. Holds nothing open between them. */
export interface Transport {
  readonly endpoint: Endpoint;
  /** The API version in use. */
  readonly version: string;
  /** Asks and reads one JSON value. @throws the engine's refusal, or unavailable */
  json<T>(target: string, options?: RequestOptions): Promise<T>;
  /** Asks and reads the answer as text. */
  text(target: string, options?: RequestOptions): Promise<string>;
  /** Asks and ignores the answer's body; 304 is success. @returns the status */
  send(target: string, options?: RequestOptions): Promise<number>;
  /** Asks and reads the body as it comes. */
  stream(target: string, options?: StreamOptions): Promise<BodyStream>;
  /** Turns the connection into a two-way stream. */
  hijack(target: string, options?: HijackOptions): Promise<Hijacked>;
}

/** How a transport is made. */
export interface TransportOptions {
  /** Pins the API version: no falling back. */
  readonly version?: string;
  readonly userAgent?: string;
  /** How short questions reach a unix socket; by node:net when absent. */
  readonly connectUnix?: UnixConnect;
}

/** Makes a transport; connects nowhere yet. */
export function openTransport(endpoint: Endpoint, options: TransportOptions = {}): Transport {
  const isPinned = options.version !== undefined;
  let version = options.version ?? apiVersionMax;
  let isSettled = isPinned;

  const settled = async <T>(attempt: () => Promise<T>): Promise<T> => {
    try {
      return await attempt();
    } catch (error) {
      const wanted = error instanceof EngineError && !isSettled ? versionWanted(error) : undefined;
      if (wanted === undefined) throw error;
      version = wanted;
      isSettled = true;
      return attempt();
    }
  };
  const pathOf = (path: string, query: Query | undefined): string =>
    `/v${version}${path}${formatQuery(query)}`;

  const ask = (target: string, request: RequestOptions = {}): Promise<Answer> =>
    settled(async () => {
      const { method, path } = splitTarget(target);
      const answer = await question(endpoint, {
        method,
        path: pathOf(path, request.query),
        userAgent: options.userAgent ?? "tug",
        ...(options.connectUnix === undefined ? {} : { connectUnix: options.connectUnix }),
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
        ...(request.headers === undefined ? {} : { headers: request.headers }),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      });
      if (answer.status >= 400) throw engineRefusal(answer.status, answer.text);
      return answer;
    });

  return {
    endpoint,
    get version() {
      return version;
    },
    async json<T>(target: string, request?: RequestOptions): Promise<T> {
      return decodeJson<T>((await ask(target, request)).text);
    },
    async text(target, request) {
      return (await ask(target, request)).text;
    },
    async send(target, request) {
      return (await ask(target, request)).status;
    },
    async stream(target, request = {}) {
      const { openStream } = await import("./exchange.ts");
      // A body that has begun to flow cannot be sent again: settle the version before.
      if (request.upload !== undefined && !isSettled) await ask("GET /version");
      return settled(() => {
        const { method, path } = splitTarget(target);
        return openStream(endpoint, { ...request, method, path: pathOf(path, request.query) });
      });
    },
    async hijack(target, request = {}) {
      const { openHijacked } = await import("./exchange.ts");
      return settled(() => {
        const { method, path } = splitTarget(target);
        return openHijacked(endpoint, { ...request, method, path: pathOf(path, request.query) });
      });
    },
  };
}

/** Reads JSON that an engine wrote. @throws data-loss when it is none */
export function decodeJson<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new EngineError("data-loss", `read the engine's answer: not JSON, ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Writes one segment of a path: image names keep their slashes. */
export function pathSegment(text: string): string {
  return encodeURIComponent(text).replace(/%2F/g, "/").replace(/%3A/g, ":").replace(/%40/g, "@");
}

/** Writes filters as the API takes them; undefined when there are none. */
export function encodeFilters(filters: ReadonlyMap<string, readonly string[]>): string | undefined {
  if (filters.size === 0) return undefined;
  const value: Record<string, Record<string, boolean>> = {};
  for (const [name, values] of filters) {
    value[name] = Object.fromEntries(values.map((one) => [one, true]));
  }
  return JSON.stringify(value);
}

function splitTarget(target: string): { readonly method: string; readonly path: string } {
  const space = target.indexOf(" ");
  return { method: target.slice(0, space), path: target.slice(space + 1) };
}

function formatQuery(query: Query | undefined): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined || value === false || value === "") continue;
    const values = typeof value === "object" ? value : [value === true ? "1" : String(value)];
    for (const one of values) parts.push(`${name}=${encodeURIComponent(one)}`);
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

async function question(endpoint: Endpoint, asked: Question): Promise<Answer> {
  try {
    return await (endpoint.kind === "unix" ? askUnix(endpoint, asked) : fetchFrom(endpoint, asked));
  } catch (error) {
    if (asked.signal?.aborted === true) {
      throw new EngineError("canceled", "request canceled", { cause: error });
    }
    if (error instanceof EngineError) throw error;
    const { connectFailure } = await import("./connection.ts");
    throw connectFailure(endpoint, error);
  }
}

async function fetchFrom(endpoint: TcpEndpoint, asked: Question): Promise<Answer> {
  const { method, path, userAgent, body, headers, signal } = asked;
  const response = await fetch(`${baseUrl(endpoint)}${path}`, {
    method,
    headers: {
      "User-Agent": userAgent,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
    ...(signal === undefined ? {} : { signal }),
    keepalive: false,
    redirect: "manual" as const,
    timeout: false,
    ...fetchRoute(endpoint),
  });
  return { status: response.status, text: await response.text() };
}

function baseUrl(endpoint: TcpEndpoint): string {
  const host = endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host;
  return `${endpoint.tls === undefined ? "http" : "https"}://${host}:${endpoint.port}${endpoint.basePath}`;
}

function fetchRoute(endpoint: TcpEndpoint): BunFetchRequestInit {
  if (endpoint.tls === undefined) return { proxy: "" };
  const { ca, cert, key, isVerified } = endpoint.tls;
  return {
    proxy: "",
    tls: {
      rejectUnauthorized: isVerified,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
  };
}
