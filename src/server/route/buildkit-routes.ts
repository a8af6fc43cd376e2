import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { EngineError } from "../../lib/errors.ts";
import { replayDuplex } from "../../lib/grpc/replay-duplex.ts";
import type { Exchange, Handler } from "../exchange.ts";
import { hijack } from "../http-front.ts";

/** Handlers of the connections on which BuildKit's protocol is spoken. */
export const buildkitRoutes: Readonly<Record<string, Handler>> = {
  Session: async (exchange) => {
    const { headers } = exchange.request;
    requireHttp2(exchange.request);
    const buildkit = await exchange.backend.buildkit();
    buildkit.checkSession(headers);
    await buildkit.acceptSession(takeConnection(exchange), headers);
  },

  Grpc: async (exchange) => {
    requireHttp2(exchange.request);
    const buildkit = await exchange.backend.buildkit();
    await buildkit.acceptCalls(takeConnection(exchange));
  },
};

function requireHttp2(request: IncomingMessage): void {
  const protocol = request.headers.upgrade;
  if (protocol === undefined) {
    throw new EngineError("invalid-argument", "no upgrade proto in request");
  }
  if (protocol !== "h2c") {
    throw new EngineError("invalid-argument", `protocol ${protocol} not supported`);
  }
}

function takeConnection(exchange: Exchange): Duplex {
  const { socket, early } = hijack(exchange.request, {
    response: exchange.response,
    head: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c",
  });
  return replayDuplex(socket, { early });
}
