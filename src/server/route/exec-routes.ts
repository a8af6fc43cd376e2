import { decodeExecCreate, decodeExecStart } from "../../api/request/decode-request.ts";
import { terminalSize } from "../../api/request/query.ts";
import {
  type Handler,
  joinStarting,
  param,
  readJsonBody,
  sendEmpty,
  sendJson,
} from "../exchange.ts";

/** Handlers of the exec operations, by operation name. */
export const execRoutes: Readonly<Record<string, Handler>> = {
  ContainerExec: async (exchange) => {
    const body = decodeExecCreate(await readJsonBody(exchange));
    sendJson(
      exchange,
      await exchange.backend.containers.execCreate(param(exchange, "id"), body),
      201,
    );
  },

  ExecStart: async (exchange) => {
    const body = decodeExecStart(await readJsonBody(exchange));
    const size = body.ConsoleSize ?? undefined;
    const console = size === undefined ? {} : { rows: size[0], columns: size[1] };
    const id = param(exchange, "id");
    if (body.Detach === true) {
      await exchange.backend.containers.execStart(id, console);
      sendEmpty(exchange, 200);
      return;
    }
    // Docker: output is framed as the start asks for, whatever the exec has, seen in 28.5
    const hasTty = body.Tty === true;
    const starting = exchange.backend.containers.execAttach(id, { hasTty, ...console });
    await joinStarting(exchange, { hasTty, starting, withHeaders: true });
  },

  ExecResize: async (exchange) => {
    const { height, width } = terminalSize(exchange.query);
    await exchange.backend.containers.execResize(param(exchange, "id"), {
      rows: height,
      columns: width,
    });
    sendEmpty(exchange, 200);
  },

  ExecInspect: async (exchange) => {
    sendJson(exchange, await exchange.backend.containers.execInspect(param(exchange, "id")));
  },
};
