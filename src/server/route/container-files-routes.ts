import { decodeCommitConfig } from "../../api/request/decode-container.ts";
import { boolValue, textValue, textValues } from "../../api/request/query.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Handler, param, readBody, sendJson, sendStream } from "../exchange.ts";

/** Handlers of the operations on a container's files as a whole, by operation name. */
export const containerFilesRoutes: Readonly<Record<string, Handler>> = {
  ContainerChanges: async (exchange) => {
    const { signal } = exchange;
    const changes = await exchange.backend.containers.changes(param(exchange, "id"), { signal });
    // Docker: null when nothing was changed, seen in 28.5
    sendJson(exchange, changes.length === 0 ? null : changes);
  },

  ContainerExport: async (exchange) => {
    const { signal } = exchange;
    const body = await exchange.backend.containers.export(param(exchange, "id"), { signal });
    await sendStream(exchange, { body, contentType: "application/octet-stream" });
  },

  ImageCommit: async (exchange) => {
    const { query } = exchange;
    const config = decodeCommitConfig(await readBody(exchange));
    const container = textValue(query, "container");
    if (container === "") {
      throw new EngineError("invalid-argument", 'invalid name or ID supplied: ""');
    }
    const id = await exchange.backend.containers.commit(container, {
      repo: textValue(query, "repo"),
      tag: textValue(query, "tag"),
      author: textValue(query, "author"),
      comment: textValue(query, "comment"),
      isPaused: textValue(query, "pause") === "" || boolValue(query, "pause"),
      changes: textValues(query, "changes"),
      ...(config === undefined ? {} : { config }),
      signal: exchange.signal,
    });
    sendJson(exchange, { Id: id }, 201);
  },
};
