/**
 * From a request to its handler: path, who asks, refusals, the answer to a failure, the access log.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createId } from "../../lib/id.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { type BodyCounts, type Exchange, ManifestSpace } from "./_exchange.ts";
import { operationsOf } from "./_operations.ts";
import { answerOf, refusal } from "../errors.ts";
import type { Gate } from "../auth/gate.ts";
import type { Metrics } from "./metrics.ts";
import { parsePath, type Target } from "../names.ts";
import type { Registry } from "../registry.ts";
import type { TokenServer } from "../auth/token-server.ts";

/** What the HTTP adapter is made with. */
export interface RegistryServerOptions {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly tokenServer?: TokenServer;
  /** Nothing may be pushed or removed. */
  readonly isReadOnly: boolean;
  /** Manifests, tags and blobs may be removed. */
  readonly isDeleteAllowed: boolean;
  /** `/metrics` is served here too. */
  readonly hasMetrics: boolean;
  readonly hasAccessLog: boolean;
}

type ServerParts = RegistryServerOptions & Pick<Exchange, "manifestSpace">;

/** How long the rest of a body that nobody wants is read, so that the client sees the answer. */
const lingerMs = 2_000;

/** Makes the function that serves requests. */
export function createRegistryHandler(
  options: RegistryServerOptions,
): (request: IncomingMessage, response: ServerResponse) => void {
  const manifestSpace = new ManifestSpace();
  return (request, response) => void serve({ ...options, manifestSpace }, { request, response });
}

/** Serves one request; whatever is thrown becomes an answer. */
async function serve(
  options: ServerParts,
  { request, response }: Pick<Incoming, "request" | "response">,
): Promise<void> {
  const startMs = performance.now();
  const remote = request.socket.remoteAddress;
  const counts: BodyCounts = { receivedBytes: 0, sentBytes: 0 };
  const seen: Seen = { operation: "none", user: undefined };
  const { metrics, logger } = options;
  response.setHeader("Docker-Distribution-Api-Version", "registry/2.0");
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.on("error", () => undefined);
  metrics.begin();
  let failure: unknown;
  try {
    await dispatch(options, { request, response, counts, seen });
  } catch (error) {
    failure = error;
    fail(logger, { request, response, error });
  }
  endBody(request, response);
  const durationMs = performance.now() - startMs;
  const method = methods.includes(request.method ?? "") ? (request.method ?? "") : "other";
  const status = response.statusCode;
  metrics.end({ operation: seen.operation, method, status, durationMs, ...counts });
  if (!options.hasAccessLog) return;
  logger.info("request", {
    remote,
    user: seen.user,
    method: request.method,
    path: request.url?.slice(0, pathLogMax),
    status,
    sentBytes: counts.sentBytes,
    receivedBytes: counts.receivedBytes,
    durationMs: Math.round(durationMs),
    ...(failure instanceof EngineError ? { error: failure } : {}),
  });
}

const methods: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/** Characters of a path that are logged. */
const pathLogMax = 1_024;

interface Seen {
  operation: string;
  user: string | undefined;
}

interface Incoming {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly counts: BodyCounts;
  readonly seen: Seen;
}

async function dispatch(options: ServerParts, incoming: Incoming): Promise<void> {
  const { request, response, counts, seen } = incoming;
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  const query = new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1));
  const target = targetOf(request, mark < 0 ? url : url.slice(0, mark));
  if (target === undefined) throw noSuchPath();
  seen.operation = target.kind;
  const table = operationsOf(options, { target, query });
  if (table["GET"] === undefined && table["POST"] === undefined) throw noSuchPath();
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "");
  const operation = table[method];
  if (operation === undefined) {
    const allowed = Object.keys(table).join(", ");
    throw refusal("UNSUPPORTED", { headers: { Allow: allowed } });
  }
  if (method !== "GET") refuseChange(options, request, target);
  const caller =
    operation.wanted === undefined
      ? { user: undefined, may: () => false }
      : await options.gate.admit(request, operation.wanted);
  seen.user = caller.user;
  const { registry, logger, manifestSpace } = options;
  await operation.run({
    request,
    response,
    query,
    registry,
    caller,
    logger,
    counts,
    manifestSpace,
  });
}

/** A manifest under what cannot be a tag is not there, as any other; only to store one so is a mistake. */
function targetOf({ method }: IncomingMessage, path: string): Target | undefined {
  try {
    return parsePath(path);
  } catch (error) {
    const isBadTag = isKind(error) && error.details["distributionCode"] === "TAG_INVALID";
    if (!isBadTag || method === "PUT") throw error;
    throw refusal("MANIFEST_UNKNOWN", { detail: error.details["detail"], cause: error });
  }
}

function noSuchPath(): EngineError {
  return refusal("UNSUPPORTED", { message: "no such path", status: 404 });
}

/** @throws UNSUPPORTED or DENIED for what must not be changed */
function refuseChange(
  options: RegistryServerOptions,
  request: IncomingMessage,
  target: Target,
): void {
  if (target.kind === "token") return;
  if (request.headers.origin !== undefined) {
    // Only a browser says so, and no page has business here: on loopback nothing else would stop it.
    throw refusal("DENIED", { message: "changes are not taken from web pages" });
  }
  if (options.isReadOnly) {
    throw refusal("UNSUPPORTED", { message: "the registry is read-only" });
  }
  const isRemoval = request.method === "DELETE" && target.kind !== "upload";
  if (isRemoval && !options.isDeleteAllowed) {
    throw refusal("UNSUPPORTED", { message: "the registry removes nothing: it was started so" });
  }
}

function fail(
  logger: Logger,
  options: {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    readonly error: unknown;
  },
): void {
  const { request, response, error } = options;
  if (isKind(error, "canceled") && (request.destroyed || response.destroyed)) {
    // The access log has a status for who went away, as nginx does.
    response.statusCode = 499;
    response.destroy();
    return;
  }
  const { status, headers, body } = answerOf(error);
  if (status >= 500) {
    const stack =
      error instanceof EngineError || !(error instanceof Error) ? undefined : error.stack;
    const id = createId().slice(0, 12);
    const fields = { id, method: request.method, path: request.url?.slice(0, pathLogMax) };
    logger.error("request failed", { ...fields, status, error, stack });
  }
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": String(Buffer.byteLength(body)),
    ...(request.complete ? {} : { Connection: "close" }),
    ...headers,
  });
  if (request.method === "HEAD") response.end();
  else if (request.complete) response.end(body);
  // Whole by its length, but not ended: that would close the connection, see endBody.
  else response.write(body);
}

/**
 * Reads on for a while what the client still sends. To close at once would reset the connection under
 * the client, which then tells of a broken pipe and not of the answer.
 */
function endBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete || request.destroyed) {
    if (!response.writableEnded) response.end();
    return;
  }
  request.on("error", () => undefined);
  request.resume();
  const { socket } = request;
  const end = (): void => {
    clearTimeout(timer);
    if (!response.writableEnded) response.end();
  };
  const timer = setTimeout(() => {
    end();
    socket.destroy();
  }, lingerMs);
  timer.unref();
  request.once("end", end);
  response.once("close", () => request.complete && clearTimeout(timer));
}
