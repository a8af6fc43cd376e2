import { filtersValue, textValue, timestampValue } from "../../api/request/query.ts";
import { apiVersionMax } from "../../api/versions.ts";
import { matchesEvent } from "../../event/event-filter.ts";
import { encodeJson } from "../../api/encode.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Exchange, type Handler, sendJson } from "../exchange.ts";

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

  SystemEvents: async (exchange) => {
    const { query, response } = exchange;
    const filters = filtersValue(query);
    const sinceNs = timestampValue(query, "since");
    const untilNs = timestampValue(query, "until", { zeroIsAbsent: true });
    if (sinceNs !== undefined && untilNs !== undefined && sinceNs > untilNs) {
      throw sinceAfterUntil(textValue(query, "since"), textValue(query, "until"));
    }
    const events = exchange.backend.events.subscribe({
      ...(sinceNs === undefined ? {} : { sinceNs }),
      ...(untilNs === undefined ? {} : { untilNs }),
      matches: (event) => matchesEvent(event, filters),
      signal: exchange.signal,
    });
    response.statusCode = 200;
    response.setHeader("Content-Type", "application/json");
    response.flushHeaders();
    for await (const event of events) {
      if (response.destroyed) break;
      response.write(encodeJson(event));
    }
    response.end();
  },
};

function sinceAfterUntil(since: string, until: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `\`since\` time (${since}) cannot be after \`until\` time (${until})`,
  );
}

async function ping(exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  response.setHeader("Cache-Control", "no-cache, no-store, must-revalidate");
  response.setHeader("Pragma", "no-cache");
  response.setHeader("Builder-Version", "2");
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.setHeader("Swarm", "inactive");
  response.setHeader("Api-Version", apiVersionMax);
  response.setHeader("Content-Length", "2");
  response.end(request.method === "HEAD" ? undefined : "OK");
  await Promise.resolve();
}
