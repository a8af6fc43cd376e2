import { decodeExecCreate, decodeExecStart } from "../../api/request/decode-request.ts";
import { terminalSize } from "../../api/request/query.ts";
import { sleep } from "../../lib/concurrency/retry.ts";
import { EngineError } from "../../lib/errors.ts";
import {
  type Exchange,
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
    await processThere(exchange);
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

/** Docker: a resize waits so long for a process that is being started, seen in 28.5. */
const startMaxMs = 10_000;
const startLookMs = 5;

/** Resolves when an exec has a process, or had one. @throws deadline-exceeded when it gets none */
async function processThere(exchange: Exchange): Promise<void> {
  const endMs = performance.now() + startMaxMs;
  for (;;) {
    const { Pid, ExitCode } = await exchange.backend.containers.execInspect(param(exchange, "id"));
    if (Pid !== 0 || ExitCode !== null) return;
    if (performance.now() > endMs) {
      throw new EngineError("deadline-exceeded", "timeout waiting for exec session ready");
    }
    await sleep(startLookMs, exchange.signal);
  }
}
