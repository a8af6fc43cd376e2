/**
 * From a request to its handler: version, route, refusals, errors.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { decodeQuery } from "../api/request/query.ts";
import { matchRoute, pageNotFound } from "../api/routes.ts";
import { apiVersionMax, negotiateVersion } from "../api/versions.ts";
import { createId } from "../lib/id.ts";
import { codeOf, EngineError, type ErrorKind, isKind, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Backend } from "./backend.ts";
import { buildRoutes } from "./route/build-routes.ts";
import { buildkitRoutes } from "./route/buildkit-routes.ts";
import { containerFilesRoutes } from "./route/container-files-routes.ts";
import { containerRoutes } from "./route/container-routes.ts";
import { diskUsageRoutes } from "./route/disk-usage-routes.ts";
import { sendError, statusOf } from "./errors.ts";
import type { Exchange, Handler } from "./exchange.ts";
import { execRoutes } from "./route/exec-routes.ts";
import type { RequestHandler } from "./http-front.ts";
import { imageRoutes } from "./route/image-routes.ts";
import { refuseForeignOrigin } from "./_origin.ts";
import { manifestRoutes } from "./route/manifest-routes.ts";
import { networkRoutes } from "./route/network-routes.ts";
import { registryRoutes } from "./route/registry-routes.ts";
import { systemRoutes } from "./route/system-routes.ts";
import { trustRoutes } from "./route/trust-routes.ts";
import { volumeRoutes } from "./route/volume-routes.ts";

/** Every operation that is served, by name. */
export const handlers: Readonly<Record<string, Handler>> = {
  ...buildRoutes,
  ...buildkitRoutes,
  ...containerFilesRoutes,
  ...containerRoutes,
  ...diskUsageRoutes,
  ...execRoutes,
  ...imageRoutes,
  ...manifestRoutes,
  ...networkRoutes,
  ...registryRoutes,
  ...systemRoutes,
  ...trustRoutes,
  ...volumeRoutes,
};

/** What the HTTP adapter is made with. */
export interface ServerOptions {
  readonly backend: Backend;
  readonly logger: Logger;
  /** How much of what was written to a socket its client has not read; unknown when absent. */
  readonly unreadBytes?: (fd: number) => number;
  /** As in the `Server` header: `Tug/0.1.0 (linux)`. */
  readonly product: string;
}

/** Makes the function that serves requests. */
export function createRequestHandler(options: ServerOptions): RequestHandler {
  return (request, response) => {
    void serve(options, { request, response });
  };
}

interface Pair {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Serves one request; whatever it throws becomes an answer. */
async function serve(options: ServerOptions, { request, response }: Pair): Promise<void> {
  const { logger } = options;
  response.setHeader("Api-Version", apiVersionMax);
  response.setHeader("Docker-Experimental", "false");
  response.setHeader("Ostype", "linux");
  response.setHeader("Server", options.product);
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableEnded) gone.abort();
  });
  response.on("error", () => gone.abort());
  try {
    refuseForeignOrigin(request);
    const { handler, exchange } = route(options, { request, response, signal: gone.signal });
    await handler(exchange);
  } catch (error) {
    answerFailure(logger, { request, response, error });
  }
}

function route(
  options: ServerOptions,
  { request, response, signal }: Pair & { readonly signal: AbortSignal },
): { readonly handler: Handler; readonly exchange: Exchange } {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  const match = matchRoute(request.method ?? "GET", path);
  if (match === undefined) throw pageNotFound();
  const version = negotiateVersion(match.version);
  const { name, method, path: pattern } = match.route;
  const handler = handlers[name];
  if (handler === undefined) {
    // Docker: its CLI goes on to look elsewhere for a name when it reads "not supported", seen in 28.2
    throw new EngineError(
      "not-implemented",
      `Tug does not serve ${method} ${pattern} yet: not supported`,
    );
  }
  const query = decodeQuery(mark < 0 ? "" : url.slice(mark + 1));
  const { backend, logger, unreadBytes } = options;
  return {
    handler,
    exchange: {
      request,
      response,
      backend,
      logger,
      params: match.params,
      query,
      operation: name,
      version,
      signal,
      ...(unreadBytes === undefined ? {} : { unreadBytes }),
    },
  };
}

/** Kinds that mean 500 whoever asks: what else has that status has it because Docker gives it. */
const faultKinds: readonly ErrorKind[] = ["canceled", "data-loss", "internal"];

function answerFailure(
  logger: Logger,
  { request, response, error }: Pair & { readonly error: unknown },
): void {
  const status = statusOf(error);
  // Without its query, which may hold build arguments and URLs with passwords.
  const path = request.url?.split("?")[0];
  if (response.destroyed && isBreak(error)) {
    logger.debug("the client went away", { method: request.method, path });
    return;
  }
  const fields = { method: request.method, path, status };
  if (error instanceof EngineError && response.headersSent && !response.destroyed) {
    // No status and no text can say it any more: the client learns that there is no rest.
    logger.error("answer broken off", { ...fields, error });
    sendError(response, error);
  } else if (error instanceof EngineError && !isKind(error, ...faultKinds)) {
    logger.debug(messageOf(error), fields);
    sendError(response, error);
  } else if (error instanceof EngineError) {
    logger.error("request failed", { ...fields, error });
    sendError(response, error);
  } else {
    const id = createId().slice(0, 12);
    const stack = error instanceof Error ? error.stack : undefined;
    logger.error("request ended by a fault of the engine", { ...fields, id, error, stack });
    sendError(
      response,
      new EngineError("internal", `internal fault ${id}: the daemon's log says more`, {
        cause: error,
      }),
    );
  }
}

/** Whether it may come of nothing but a client that went away: of its request, or of what was asked. */
function isBreak(error: unknown): boolean {
  if (isKind(error, "canceled") || codeOf(error) === "ECONNRESET") return true;
  return error instanceof Error && error.name === "AbortError";
}
