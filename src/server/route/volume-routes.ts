import { decodeVolumeCreate } from "../../api/request/decode-request.ts";
import { boolValue, filtersValue } from "../../api/request/query.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import {
  type Exchange,
  type Handler,
  param,
  readJsonBody,
  sendEmpty,
  sendJson,
} from "../exchange.ts";

/** Handlers of the volume operations, by operation name. */
export const volumeRoutes: Readonly<Record<string, Handler>> = {
  VolumeList: async (exchange) => {
    const Volumes = await exchange.backend.volumes.list(filtersOfList(exchange));
    sendJson(exchange, { Volumes, Warnings: null });
  },
  VolumeCreate: async (exchange) => {
    const request = decodeVolumeCreate(await readJsonBody(exchange));
    sendJson(exchange, await exchange.backend.volumes.create(request), 201);
  },
  VolumeInspect: async (exchange) => {
    sendJson(exchange, await exchange.backend.volumes.inspect(param(exchange, "name")));
  },
  VolumeDelete: async (exchange) => {
    await exchange.backend.volumes.remove(param(exchange, "name"), {
      force: boolValue(exchange.query, "force"),
    });
    sendEmpty(exchange);
  },
  VolumePrune: async (exchange) => {
    sendJson(exchange, await exchange.backend.volumes.prune(filtersValue(exchange.query)));
  },
};

/** Docker: the list alone says what could not be read, seen in 28.5. */
function filtersOfList(exchange: Exchange): ReturnType<typeof filtersValue> {
  try {
    return filtersValue(exchange.query);
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
    const sentence = `error reading volume filters: ${error.message}`;
    throw new EngineError("invalid-argument", sentence, { cause: error });
  }
}
