import { filtersValue, textValue } from "../../api/request/query.ts";
import type { NetworkPruneResponse } from "../../api/network.ts";
import { noSuchNetwork } from "../../lib/docker-messages.ts";
import { checkFilterNames } from "../../lib/filters.ts";
import { type Handler, param, readBody, sendJson } from "../exchange.ts";

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
  NetworkPrune: async (exchange) => {
    await readBody(exchange);
    checkFilterNames(filtersValue(exchange.query), ["label", "label!", "until"]);
    // The engine has its own networks alone, and those stay.
    sendJson(exchange, { NetworksDeleted: null } satisfies NetworkPruneResponse);
  },
};
