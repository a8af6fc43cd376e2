/** Operations on networks. */
import type { Network, NetworkPruneResponse } from "../api/network.ts";
import { encodeFilters, type Transport } from "./transport.ts";

/** @see Engine API v1.51, NetworkList */
export function listNetworks(
  transport: Transport,
  filters: ReadonlyMap<string, readonly string[]> = new Map(),
): Promise<readonly Network[]> {
  return transport.json("GET /networks", { query: { filters: encodeFilters(filters) } });
}

/** @see Engine API v1.51, NetworkPrune */
export function pruneNetworks(
  transport: Transport,
  filters: ReadonlyMap<string, readonly string[]>,
): Promise<NetworkPruneResponse> {
  return transport.json("POST /networks/prune", { query: { filters: encodeFilters(filters) } });
}
