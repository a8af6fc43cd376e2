import { filtersOf, timeOf } from "../api/query.ts";
import { apiVersionMax } from "../api/versions.ts";
import { EngineError } from "../lib/errors.ts";
import { eventMatches } from "../api/event-filter.ts";
import { type Exchange, type Handler, readBody, sendJson } from "./exchange.ts";

/** Handlers of the system operations, by operation name. */
export const systemRoutes: Readonly<Record<string, Handler>> = {
  SystemPing: ping,
  SystemPingHead: ping,

  SystemVersion: async (exchange) => {
    sendJson(exchange, exchange.backend.system.version());
  },

  SystemInfo: async (exchange) => {
    sendJson(exchange, await exchange.backend.system.info());
  },

  SystemAuth: async (exchange) => {
    await readBody(exchange);
    throw new EngineError("not-implemented", "Tug does not log in to registries yet");
  },

  SystemEvents: async (exchange) => {
    const { query, response } = exchange;
    const filters = filtersOf(query);
    const sinceNs = timeOf(query, "since");
    const untilNs = timeOf(query, "until");
    const events = exchange.backend.events.subscribe({
      ...(sinceNs === undefined ? {} : { sinceNs }),
      ...(untilNs === undefined ? {} : { untilNs }),
      matches: eventMatches(filters),
      signal: exchange.signal,
    });
    response.statusCode = 200;
    response.setHeader("Content-Type", "application/json");
    response.flushHeaders();
    for await (const event of events) {
      if (response.destroyed) break;
      response.write(`${JSON.stringify(event)}\n`);
    }
    response.end();
  },
};

async function ping(exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  response.setHeader("Cache-Control", "no-cache, no-store, must-revalidate");
  response.setHeader("Pragma", "no-cache");
  response.setHeader("Builder-Version", "1");
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.setHeader("Swarm", "inactive");
  response.setHeader("Api-Version", apiVersionMax);
  response.setHeader("Content-Length", "2");
  response.end(request.method === "HEAD" ? undefined : "OK");
  await Promise.resolve();
}
