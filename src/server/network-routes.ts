import { filtersValue, textValue } from "../api/query.ts";
import { noSuchNetwork } from "../lib/docker-messages.ts";
import { type Handler, param, sendJson } from "./exchange.ts";

/** Handlers of the network operations, by operation name. */
export const networkRoutes: Readonly<Record<string, Handler>> = {
  NetworkList: async (exchange) => {
    sendJson(exchange, exchange.backend.networks.list(filtersValue(exchange.query)));
    await Promise.resolve();
  },
  NetworkInspect: async (exchange) => {
    const id = param(exchange, "id");
    const scope = textValue(exchange.query, "scope");
    const network = exchange.backend.networks.inspect(id);
    if (scope !== "" && network.Scope !== scope) throw noSuchNetwork(id);
    sendJson(exchange, network);
    await Promise.resolve();
  },
};
