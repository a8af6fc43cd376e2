import type { ContainerCreateOptions } from "../../api/container.ts";
import { decodeContainerCreate } from "../../api/request/decode-container.ts";
import {
  boolValue,
  filtersValue,
  integerValue,
  terminalSize,
  textValue,
  timestampValue,
} from "../../api/request/query.ts";
import { compareVersions } from "../../api/versions.ts";
import { invalidWaitCondition, noLogStream } from "../../lib/docker-messages.ts";
import { EngineError } from "../../lib/errors.ts";
import {
  type Exchange,
  type Handler,
  joinHijacked,
  joinWebSocket,
  param,
  readBody,
  readJsonBody,
  sendEmpty,
  sendJson,
  sendStream,
  streamContentType,
} from "../exchange.ts";

/** Handlers of the container operations, by operation name. */
export const containerRoutes: Readonly<Record<string, Handler>> = {
  ContainerList: async (exchange) => {
    const { query, backend } = exchange;
    const limit = integerValue(query, "limit") ?? 0;
    sendJson(
      exchange,
      await backend.containers.list({
        all: boolValue(query, "all"),
        ...(limit > 0 ? { limit } : {}),
        size: boolValue(query, "size"),
        filters: filtersValue(query),
      }),
    );
  },

  ContainerCreate: async (exchange) => {
    const body = adaptCreate(decodeContainerCreate(await readJsonBody(exchange)), exchange.version);
    const name = textValue(exchange.query, "name");
    const platform = textValue(exchange.query, "platform");
    const created = await exchange.backend.containers.create(body, {
      ...(name === "" ? {} : { name }),
      ...(platform === "" ? {} : { platform }),
    });
    const isOutdated = body.config.MacAddress !== undefined && body.config.MacAddress !== "";
    const isTold = isOutdated && compareVersions(exchange.version, macAddressMovedIn) >= 0;
    const warnings = isTold ? [macAddressMoved, ...created.Warnings] : created.Warnings;
    sendJson(exchange, { ...created, Warnings: warnings }, 201);
  },

  ContainerInspect: async (exchange) => {
    const size = boolValue(exchange.query, "size");
    sendJson(exchange, await exchange.backend.containers.inspect(param(exchange, "id"), { size }));
  },

  ContainerTop: async (exchange) => {
    const psArgs = textValue(exchange.query, "ps_args") || "-ef";
    sendJson(exchange, await exchange.backend.containers.top(param(exchange, "id"), { psArgs }));
  },

  ContainerLogs: async (exchange) => {
    const { query } = exchange;
    const stdout = boolValue(query, "stdout");
    const stderr = boolValue(query, "stderr");
    if (!stdout && !stderr) {
      throw noLogStream();
    }
    const tail = textValue(query, "tail");
    const tailCount = /^\d{1,15}$/.test(tail) ? Number(tail) : undefined;
    const sinceNs = timestampValue(query, "since");
    const untilNs = timestampValue(query, "until", { zeroIsAbsent: true });
    const { hasTty, stream } = await exchange.backend.containers.logs(param(exchange, "id"), {
      follow: boolValue(query, "follow"),
      stdout,
      stderr,
      timestamps: boolValue(query, "timestamps"),
      details: boolValue(query, "details"),
      ...(sinceNs === undefined ? {} : { sinceNs }),
      ...(untilNs === undefined ? {} : { untilNs }),
      ...(tailCount === undefined ? {} : { tail: tailCount }),
      signal: exchange.signal,
    });
    await sendStream(exchange, { body: stream, contentType: streamContentType(exchange, hasTty) });
  },

  ContainerStart: async (exchange) => {
    const detachKeys = textValue(exchange.query, "detachKeys");
    await refuseStartBody(exchange);
    await exchange.backend.containers.start(param(exchange, "id"), {
      ...(detachKeys === "" ? {} : { detachKeys }),
    });
    sendEmpty(exchange);
  },

  ContainerStop: async (exchange) => {
    await exchange.backend.containers.stop(param(exchange, "id"), stopOptions(exchange));
    sendEmpty(exchange);
  },

  ContainerRestart: async (exchange) => {
    await exchange.backend.containers.restart(param(exchange, "id"), stopOptions(exchange));
    sendEmpty(exchange);
  },

  ContainerKill: async (exchange) => {
    const signal = textValue(exchange.query, "signal");
    await exchange.backend.containers.kill(param(exchange, "id"), signal === "" ? {} : { signal });
    sendEmpty(exchange);
  },

  ContainerRename: async (exchange) => {
    const name = textValue(exchange.query, "name");
    await exchange.backend.containers.rename(param(exchange, "id"), { name });
    sendEmpty(exchange);
  },

  ContainerPause: async (exchange) => {
    await exchange.backend.containers.pause(param(exchange, "id"));
    sendEmpty(exchange);
  },

  ContainerUnpause: async (exchange) => {
    await exchange.backend.containers.unpause(param(exchange, "id"));
    sendEmpty(exchange);
  },

  ContainerAttach: async (exchange) => {
    await readBody(exchange);
    const attachment = await exchange.backend.containers.attach(
      param(exchange, "id"),
      attachQuery(exchange),
    );
    await joinHijacked(exchange, attachment);
  },

  ContainerAttachWebsocket: async (exchange) => {
    const attachment = await exchange.backend.containers.attach(
      param(exchange, "id"),
      attachQuery(exchange),
    );
    await joinWebSocket(exchange, attachment);
  },

  ContainerResize: async (exchange) => {
    await exchange.backend.containers.resize(param(exchange, "id"), sizeOf(exchange));
    sendEmpty(exchange, 200);
  },

  ContainerWait: async (exchange) => {
    const { response } = exchange;
    const condition = textValue(exchange.query, "condition");
    const status = await exchange.backend.containers.wait(param(exchange, "id"), {
      condition: waitCondition(condition),
      accepted: () => {
        response.statusCode = 200;
        response.setHeader("Content-Type", "application/json");
        response.flushHeaders();
      },
      signal: exchange.signal,
    });
    response.end(`${JSON.stringify(status)}\n`);
  },

  ContainerDelete: async (exchange) => {
    const { query } = exchange;
    await exchange.backend.containers.remove(param(exchange, "id"), {
      volumes: boolValue(query, "v"),
      force: boolValue(query, "force"),
      link: boolValue(query, "link"),
    });
    sendEmpty(exchange);
  },

  ContainerPrune: async (exchange) => {
    const pruned = await exchange.backend.containers.prune(filtersValue(exchange.query));
    const { ContainersDeleted: ids } = pruned;
    // Docker: null when nothing was removed, seen in 28.5
    sendJson(exchange, { ...pruned, ContainersDeleted: ids?.length === 0 ? null : ids });
  },
};

/** Since then a MAC address belongs to an endpoint. */
const macAddressMovedIn = "1.44";
const macAddressMoved =
  "The container-wide MacAddress field is now deprecated. " +
  "It should be specified in EndpointsConfig instead.";
/** Since then nobody shares a container's IPC unless told so. */
const ipcPrivateSince = "1.40";

/** A request of an old version, in the words of the newest. */
function adaptCreate(body: ContainerCreateOptions, version: string): ContainerCreateOptions {
  const { hostConfig } = body;
  if (hostConfig.IpcMode !== "" || compareVersions(version, ipcPrivateSince) >= 0) return body;
  return { ...body, hostConfig: { ...hostConfig, IpcMode: "shareable" } };
}

function attachQuery(
  exchange: Exchange,
): Parameters<Exchange["backend"]["containers"]["attach"]>[1] {
  const { query } = exchange;
  const detachKeys = textValue(query, "detachKeys");
  return {
    stdin: boolValue(query, "stdin"),
    stdout: boolValue(query, "stdout"),
    stderr: boolValue(query, "stderr"),
    stream: boolValue(query, "stream"),
    logs: boolValue(query, "logs"),
    ...(detachKeys === "" ? {} : { detachKeys }),
  };
}

function stopOptions(exchange: Exchange): { signal?: string; timeoutS?: number } {
  const signal = textValue(exchange.query, "signal");
  const hasTimeout = textValue(exchange.query, "t") !== "";
  return {
    ...(signal === "" ? {} : { signal }),
    ...(hasTimeout ? { timeoutS: integerValue(exchange.query, "t") ?? 10 } : {}),
  };
}

function sizeOf(exchange: Exchange): { rows: number; columns: number } {
  const { height, width } = terminalSize(exchange.query);
  return { rows: height, columns: width };
}

function waitCondition(condition: string): "not-running" | "next-exit" | "removed" {
  switch (condition) {
    case "":
    case "not-running":
      return "not-running";
    case "next-exit":
    case "removed":
      return condition;
    default:
      throw invalidWaitCondition(condition);
  }
}

/** As much body as an empty JSON document or its padding takes. */
const emptyBodyMaxBytes = 7;

/** A start with a host configuration was the way before API 1.24. */
async function refuseStartBody(exchange: Exchange): Promise<void> {
  const body = await readBody(exchange);
  if (body.length > emptyBodyMaxBytes) {
    throw new EngineError(
      "invalid-argument",
      "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
    );
  }
}
