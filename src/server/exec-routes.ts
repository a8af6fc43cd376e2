import { decodeExecCreate, decodeExecStart } from "../api/decode-request.ts";
import { EngineError } from "../lib/errors.ts";
import { type Handler, joinHijacked, param, readBody, sendEmpty, sendJson } from "./exchange.ts";

/** Handlers of the exec operations, by operation name. */
export const execRoutes: Readonly<Record<string, Handler>> = {
  ContainerExec: async (exchange) => {
    const body = decodeExecCreate(await readBody(exchange));
    sendJson(
      exchange,
      await exchange.backend.containers.execCreate(param(exchange, "id"), body),
      201,
    );
  },

  ExecStart: async (exchange) => {
    const body = decodeExecStart(await readBody(exchange));
    const size = body.ConsoleSize ?? undefined;
    const console = size === undefined ? {} : { rows: size[0], columns: size[1] };
    const id = param(exchange, "id");
    if (body.Detach === true) {
      await exchange.backend.containers.execStart(id, console);
      sendEmpty(exchange, 200);
      return;
    }
    const attachment = await exchange.backend.containers.execAttach(id, {
      hasTty: body.Tty === true,
      ...console,
    });
    await joinHijacked(exchange, attachment);
  },

  ExecResize: async (exchange) => {
    const [rows, columns] = ["h", "w"].map((name) => {
      const value = exchange.query.get(name) ?? "";
      if (!/^\d{1,5}$/.test(value)) {
        throw new EngineError("invalid-argument", `invalid resize value ${name}="${value}"`);
      }
      return Number(value);
    });
    await exchange.backend.containers.execResize(param(exchange, "id"), {
      rows: rows ?? 0,
      columns: columns ?? 0,
    });
    sendEmpty(exchange, 200);
  },

  ExecInspect: async (exchange) => {
    sendJson(exchange, exchange.backend.containers.execInspect(param(exchange, "id")));
  },
};
