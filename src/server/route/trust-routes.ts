import { decodeSignature } from "../../api/request/decode-signature.ts";
import { boolValue } from "../../api/request/query.ts";
import { type Handler, param, readJsonBody, sendEmpty, sendJson } from "../exchange.ts";
import { callOf } from "./registry-routes.ts";

/** Handlers of the operations on signatures of images, by operation name. */
export const trustRoutes: Readonly<Record<string, Handler>> = {
  ImageSignatures: async (exchange) => {
    const { trust } = exchange.backend;
    const packs = boolValue(exchange.query, "pack");
    const call = { ...callOf(exchange), packs };
    sendJson(exchange, await trust.signatures(param(exchange, "name"), call));
  },

  ImageSign: async (exchange) => {
    const signature = decodeSignature(await readJsonBody(exchange));
    const call = callOf(exchange);
    await exchange.backend.trust.addSignature(param(exchange, "name"), { ...call, signature });
    sendEmpty(exchange, 201);
  },
};
