import { decodeVolumeCreate } from "../api/decode-request.ts";
import { filtersOf, flag } from "../api/query.ts";
import { type Handler, param, readBody, sendEmpty, sendJson } from "./exchange.ts";

/** Handlers of the volume operations, by operation name. */
export const volumeRoutes: Readonly<Record<string, Handler>> = {
  VolumeList: async (exchange) => {
    const Volumes = await exchange.backend.volumes.list(filtersOf(exchange.query));
    sendJson(exchange, { Volumes, Warnings: null });
  },
  VolumeCreate: async (exchange) => {
    const request = decodeVolumeCreate(await readBody(exchange));
    sendJson(exchange, await exchange.backend.volumes.create(request), 201);
  },
  VolumeInspect: async (exchange) => {
    sendJson(exchange, await exchange.backend.volumes.inspect(param(exchange, "name")));
  },
  VolumeDelete: async (exchange) => {
    await exchange.backend.volumes.remove(param(exchange, "name"), {
      force: flag(exchange.query, "force"),
    });
    sendEmpty(exchange);
  },
  VolumePrune: async (exchange) => {
    sendJson(exchange, await exchange.backend.volumes.prune(filtersOf(exchange.query)));
  },
};
