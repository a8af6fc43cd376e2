import { filtersValue } from "../api/query.ts";
import { type Handler, param, sendJson } from "./exchange.ts";

/** Handlers of the network operations, by operation name. */
export const networkRoutes: Readonly<Record<string, Handler>> = {
  NetworkList: async (exchange) => {
    sendJson(exchange, exchange.backend.networks.list(filtersValue(exchange.query)));
    await Promise.resolve();
  },
  NetworkInspect: async (exchange) => {
    sendJson(exchange, exchange.backend.networks.inspect(param(exchange, "id")));
    await Promise.resolve();
  },
};
