import { boolValue, filtersValue, textValue, textValues } from "../api/query.ts";
import { EngineError, messageOf } from "../lib/errors.ts";
import { type Platform, parsePlatform } from "../oci/platform.ts";
import { Readable } from "node:stream";
import {
  beginJsonLines,
  type Exchange,
  type Handler,
  param,
  readBody,
  sendEmpty,
  sendJson,
  sendStream,
} from "./exchange.ts";

/** Handlers of the image operations, by operation name. */
export const imageRoutes: Readonly<Record<string, Handler>> = {
  ImageList: async (exchange) => {
    const { query } = exchange;
    sendJson(
      exchange,
      await exchange.backend.images.list({
        all: boolValue(query, "all"),
        sharedSize: boolValue(query, "shared-size"),
        digests: boolValue(query, "digests"),
        manifests: boolValue(query, "manifests"),
        filters: filtersValue(query),
      }),
    );
  },

  ImageInspect: async (exchange) => {
    const name = param(exchange, "name");
    // Docker: the platform is JSON here, seen in 28.5
    const text = textValue(exchange.query, "platform");
    if (text !== "") parsePlatformJson(text);
    const platform = platformOf(exchange);
    sendJson(
      exchange,
      await exchange.backend.images.inspect(name, platform === undefined ? {} : { platform }),
    );
  },

  ImageHistory: async (exchange) => {
    sendJson(exchange, await exchange.backend.images.history(param(exchange, "name")));
  },

  ImageTag: async (exchange) => {
    await exchange.backend.images.tag(param(exchange, "name"), {
      repo: textValue(exchange.query, "repo"),
      tag: textValue(exchange.query, "tag"),
    });
    sendEmpty(exchange, 201);
  },

  ImageDelete: async (exchange) => {
    const { query } = exchange;
    const removed = await exchange.backend.images.remove(param(exchange, "name"), {
      force: boolValue(query, "force"),
      noPrune: boolValue(query, "noprune"),
    });
    sendJson(exchange, removed);
  },

  ImagePrune: async (exchange) => {
    const { deleted, spaceReclaimedBytes } = await exchange.backend.images.prune(
      filtersValue(exchange.query),
    );
    sendJson(exchange, {
      ImagesDeleted: deleted.length === 0 ? null : deleted,
      SpaceReclaimed: spaceReclaimedBytes,
    });
  },

  ImageCreate: async (exchange) => {
    const { query } = exchange;
    const source = textValue(query, "fromSrc");
    if (textValue(query, "fromImage") !== "") {
      await readBody(exchange);
      throw new EngineError("not-implemented", "Tug does not pull images from registries yet");
    }
    if (source !== "-") {
      throw new EngineError(
        "not-implemented",
        'Tug imports an image from the request body only (fromSrc="-"), not from a URL',
      );
    }
    const platform = platformOf(exchange);
    await streamProgress(exchange, async (progress) => {
      const id = await exchange.backend.images.import(bodyStream(exchange), {
        repo: textValue(query, "repo"),
        tag: textValue(query, "tag"),
        message: textValue(query, "message"),
        changes: textValues(query, "changes"),
        ...(platform === undefined ? {} : { platform }),
        progress,
        signal: exchange.signal,
      });
      progress({ status: id });
    });
  },

  ImageLoad: async (exchange) => {
    const isQuiet = boolValue(exchange.query, "quiet");
    const platform = platformOf(exchange);
    await streamProgress(exchange, async (progress) => {
      await exchange.backend.images.load(bodyStream(exchange), {
        progress: (message) => {
          if (!isQuiet || message.stream !== undefined) progress(message);
        },
        ...(platform === undefined ? {} : { platform }),
        signal: exchange.signal,
      });
    });
  },

  ImageGet: async (exchange) => sendArchive(exchange, [param(exchange, "name")]),

  ImageGetAll: async (exchange) => sendArchive(exchange, textValues(exchange.query, "names")),
};

async function sendArchive(exchange: Exchange, names: readonly string[]): Promise<void> {
  const platform = platformOf(exchange);
  const body = await exchange.backend.images.save(names, {
    ...(platform === undefined ? {} : { platform }),
    signal: exchange.signal,
  });
  await sendStream(exchange, { body, contentType: "application/x-tar" });
}

/** Runs work that tells its progress; a failure after the first message becomes the last message. */
async function streamProgress(
  exchange: Exchange,
  work: (progress: (message: object) => void) => Promise<void>,
): Promise<void> {
  let send: ((value: unknown) => void) | undefined;
  const progress = (message: object): void => {
    send ??= beginJsonLines(exchange);
    send(message);
  };
  try {
    await work(progress);
  } catch (error) {
    if (send === undefined) throw error;
    const message = messageOf(error);
    send({ errorDetail: { message }, error: message });
  }
  if (send === undefined) sendEmpty(exchange, 200);
  else exchange.response.end();
}

function bodyStream(exchange: Exchange): ReadableStream<Uint8Array> {
  return Readable.toWeb(exchange.request) as unknown as ReadableStream<Uint8Array>;
}

function parsePlatformJson(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return { ...value };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new EngineError("invalid-argument", `failed to parse platform: ${text} is no JSON object`);
}

function platformOf(exchange: Exchange): Platform | undefined {
  const text = textValue(exchange.query, "platform");
  if (text === "") return undefined;
  if (!text.startsWith("{")) return parsePlatform(text);
  const { os, architecture, variant } = parsePlatformJson(text);
  return parsePlatform(
    [os, architecture, variant].filter((part) => typeof part === "string").join("/"),
  );
}
