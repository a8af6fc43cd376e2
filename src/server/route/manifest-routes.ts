import { textValues } from "../../api/request/query.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Handler, param, readBody, sendJson } from "../exchange.ts";
import { callOf } from "./registry-routes.ts";

/** Handlers of the operations on what registries have, by operation name. */
export const manifestRoutes: Readonly<Record<string, Handler>> = {
  DistributionTags: async (exchange) => {
    const name = param(exchange, "name");
    const tags = await exchange.backend.manifests.listTags(name, callOf(exchange));
    sendJson(exchange, { Name: name, Tags: tags });
  },

  DistributionManifest: async (exchange) => {
    const { manifests } = exchange.backend;
    const { descriptor, bytes } = await manifests.get(param(exchange, "name"), callOf(exchange));
    sendJson(exchange, {
      Descriptor: descriptor,
      Manifest: Buffer.from(bytes).toString("base64"),
    });
  },

  DistributionPush: async (exchange) => {
    const mediaType = exchange.request.headers["content-type"] ?? "";
    const bytes = await readBody(exchange);
    if (mediaType === "") {
      throw new EngineError(
        "invalid-argument",
        "push manifest: Content-Type must be its media type",
      );
    }
    const { manifests } = exchange.backend;
    const sources = textValues(exchange.query, "from");
    const call = { ...callOf(exchange), mediaType, bytes, sources };
    sendJson(exchange, { Digest: await manifests.put(param(exchange, "name"), call) }, 201);
  },
};
