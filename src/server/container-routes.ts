import { decodeContainerCreate } from "../api/decode-container.ts";
import { filtersOf, flag, integerOr, timeOf } from "../api/query.ts";
import { EngineError } from "../lib/errors.ts";
import {
  type Exchange,
  type Handler,
  joinHijacked,
  joinWebSocket,
  param,
  readBody,
  sendEmpty,
  sendJson,
  sendStream,
  streamContentType,
} from "./exchange.ts";

/** Handlers of the container operations, by operation name. */
export const containerRoutes: Readonly<Record<string, Handler>> = {
  ContainerList: async (exchange) => {
    const { query, backend } = exchange;
    const limit = integerOr(query, "limit", 0);
    sendJson(
      exchange,
      await backend.containers.list({
        all: flag(query, "all"),
        ...(limit > 0 ? { limit } : {}),
        size: flag(query, "size"),
        filters: filtersOf(query),
      }),
    );
  },

  ContainerCreate: async (exchange) => {
    const body = decodeContainerCreate(await readBody(exchange));
    const name = exchange.query.get("name") ?? "";
    const platform = exchange.query.get("platform") ?? "";
    const created = await exchange.backend.containers.create(body, {
      ...(name === "" ? {} : { name }),
      ...(platform === "" ? {} : { platform }),
    });
    sendJson(exchange, created, 201);
  },

  ContainerInspect: async (exchange) => {
    const size = flag(exchange.query, "size");
    sendJson(exchange, await exchange.backend.containers.inspect(param(exchange, "id"), { size }));
  },

  ContainerTop: async (exchange) => {
    const psArgs = exchange.query.get("ps_args") ?? "-ef";
    sendJson(exchange, await exchange.backend.containers.top(param(exchange, "id"), { psArgs }));
  },

  ContainerLogs: async (exchange) => {
    const { query } = exchange;
    const stdout = flag(query, "stdout");
    const stderr = flag(query, "stderr");
    if (!stdout && !stderr) {
      throw new EngineError(
        "invalid-argument",
        "Bad parameters: you must choose at least one stream",
      );
    }
    const tail = query.get("tail") ?? "all";
    const tailCount = /^\d{1,15}$/.test(tail) ? Number(tail) : undefined;
    const sinceNs = timeOf(query, "since");
    const untilNs = timeOf(query, "until");
    const { hasTty, stream } = await exchange.backend.containers.logs(param(exchange, "id"), {
      follow: flag(query, "follow"),
      stdout,
      stderr,
      timestamps: flag(query, "timestamps"),
      details: flag(query, "details"),
      ...(sinceNs === undefined ? {} : { sinceNs }),
      ...(untilNs === undefined ? {} : { untilNs }),
      ...(tailCount === undefined ? {} : { tail: tailCount }),
      signal: exchange.signal,
    });
    await sendStream(exchange, { body: stream, contentType: streamContentType(exchange, hasTty) });
  },

  ContainerStart: async (exchange) => {
    const detachKeys = exchange.query.get("detachKeys");
    await refuseStartBody(exchange);
    await exchange.backend.containers.start(param(exchange, "id"), {
      ...(detachKeys === null ? {} : { detachKeys }),
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
    const signal = exchange.query.get("signal") ?? "";
    await exchange.backend.containers.kill(param(exchange, "id"), signal === "" ? {} : { signal });
    sendEmpty(exchange);
  },

  ContainerRename: async (exchange) => {
    const name = exchange.query.get("name") ?? "";
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
    const condition = exchange.query.get("condition") ?? "";
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
      volumes: flag(query, "v"),
      force: flag(query, "force"),
      link: flag(query, "link"),
    });
    sendEmpty(exchange);
  },

  ContainerPrune: async (exchange) => {
    sendJson(exchange, await exchange.backend.containers.prune(filtersOf(exchange.query)));
  },
};

function attachQuery(
  exchange: Exchange,
): Parameters<Exchange["backend"]["containers"]["attach"]>[1] {
  const { query } = exchange;
  const detachKeys = query.get("detachKeys") ?? "";
  return {
    stdin: flag(query, "stdin"),
    stdout: flag(query, "stdout"),
    stderr: flag(query, "stderr"),
    stream: flag(query, "stream"),
    logs: flag(query, "logs"),
    ...(detachKeys === "" ? {} : { detachKeys }),
  };
}

function stopOptions(exchange: Exchange): { signal?: string; timeoutS?: number } {
  const signal = exchange.query.get("signal") ?? "";
  const hasTimeout = (exchange.query.get("t") ?? "") !== "";
  return {
    ...(signal === "" ? {} : { signal }),
    ...(hasTimeout ? { timeoutS: integerOr(exchange.query, "t", 10) } : {}),
  };
}

function sizeOf(exchange: Exchange): { rows: number; columns: number } {
  return {
    rows: dimension(exchange.query, "h"),
    columns: dimension(exchange.query, "w"),
  };
}

const dimensionMax = 65_535; // struct winsize, man 2 ioctl_tty

function dimension(query: URLSearchParams, name: string): number {
  const value = query.get(name) ?? "";
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number <= dimensionMax)) {
    throw new EngineError(
      "invalid-argument",
      `invalid resize ${name === "h" ? "height" : "width"} "${value}": it is a whole number up to ${dimensionMax}`,
    );
  }
  return number;
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
      throw new EngineError("invalid-argument", `invalid condition: "${condition}"`);
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
