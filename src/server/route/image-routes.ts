import {
  boolValue,
  filtersValue,
  imageFiltersValue,
  textValue,
  textValues,
} from "../../api/request/query.ts";
import { EngineError } from "../../lib/errors.ts";
import { isDigest } from "../../oci/digest.ts";
import {
  formatReference,
  parseReference,
  type Reference,
  withDigest,
  withTag,
} from "../../oci/reference.ts";
import { Readable } from "node:stream";
import {
  type Exchange,
  type Handler,
  param,
  readBody,
  sendEmpty,
  sendJson,
  sendStream,
} from "../exchange.ts";
import { parsePlatformJson, platformsValue, platformValue } from "./_platform.ts";
import { streamProgress } from "./_progress.ts";
import { callOf } from "./registry-routes.ts";

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
        filters: imageFiltersValue(query, exchange.version),
      }),
    );
  },

  ImageInspect: async (exchange) => {
    const name = param(exchange, "name");
    // Docker: the platform is JSON here, seen in 28.5
    const text = textValue(exchange.query, "platform");
    if (text !== "") parsePlatformJson(text);
    const platform = platformValue(exchange.query);
    const manifests = boolValue(exchange.query, "manifests");
    if (manifests && platform !== undefined) {
      throw new EngineError(
        "invalid-argument",
        "conflicting options: manifests and platform options cannot both be set",
      );
    }
    sendJson(
      exchange,
      await exchange.backend.images.inspect(name, {
        ...(platform === undefined ? {} : { platform }),
        manifests,
      }),
    );
  },

  ImageHistory: async (exchange) => {
    const platform = platformValue(exchange.query);
    sendJson(
      exchange,
      await exchange.backend.images.history(
        param(exchange, "name"),
        platform === undefined ? {} : { platform },
      ),
    );
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
      platforms: platformsValue(query),
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
    if (textValue(query, "fromImage") !== "") return await pull(exchange);
    const source = textValue(query, "fromSrc");
    const platform = platformValue(query);
    await streamProgress(exchange, async (progress) => {
      const { images } = exchange.backend;
      const isBody = source === "-";
      const layer = isBody
        ? bodyStream(exchange)
        : await images.openUrl(source, { progress, signal: exchange.signal });
      const id = await images.import(layer, {
        repo: textValue(query, "repo"),
        tag: textValue(query, "tag"),
        message: textValue(query, "message") || `Imported from ${source}`,
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
    const platform = platformValue(exchange.query);
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

/** Docker: a tag may be a digest; without one all tags are meant, seen in 28.5. */
async function pull(exchange: Exchange): Promise<void> {
  const { query, backend } = exchange;
  await readBody(exchange);
  const reference = pullReference(textValue(query, "fromImage"), textValue(query, "tag"));
  const platform = platformValue(query);
  await streamProgress(exchange, async (progress) => {
    const options = {
      ...callOf(exchange),
      ...(platform === undefined ? {} : { platform }),
      progress,
    };
    if (reference.tag === undefined && reference.digest === undefined) {
      await backend.images.pullAll(formatReference(reference), options);
    } else {
      await backend.images.pull(formatReference(reference), options);
    }
  });
}

function pullReference(image: string, tag: string): Reference {
  const reference = parseReference(image.replace(/:$/, ""));
  if (tag === "" || reference.digest !== undefined) return reference;
  return isDigest(tag) ? withDigest(reference, tag) : withTag(reference, tag);
}

async function sendArchive(exchange: Exchange, names: readonly string[]): Promise<void> {
  const platform = platformValue(exchange.query);
  const body = await exchange.backend.images.save(names, {
    ...(platform === undefined ? {} : { platform }),
    signal: exchange.signal,
  });
  await sendStream(exchange, { body, contentType: "application/x-tar" });
}

function bodyStream(exchange: Exchange): ReadableStream<Uint8Array> {
  return Readable.toWeb(exchange.request) as unknown as ReadableStream<Uint8Array>;
}
