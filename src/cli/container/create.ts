import type { ContainerCreateRequest } from "../../api/container.ts";
import { EngineError } from "../../lib/errors.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { refusalCode, withExitCode } from "../errors.ts";
import { textFlag } from "../flag/flags.ts";
import { containerFlags } from "../options/container-flags.ts";
import { createFrom, requestOf } from "./create-container.ts";

/** Creates a container. */
export const command: Command = {
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  operands: atLeast(1),
  stopsAtOperand: true,
  flags: [
    ...containerFlags,
    textFlag("pull", 'Pull image before creating ("always", "missing", "never")', {
      fallback: "missing",
    }),
  ],
  completes: "images",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const request = requestOrRefusal(invocation);
  const id = await createFrom(await invocation.engine(), request, invocation);
  invocation.output.out(`${id}\n`);
  return 0;
}

function requestOrRefusal(invocation: Invocation): ContainerCreateRequest {
  try {
    return requestOf(invocation);
  } catch (error) {
    if (error instanceof EngineError && error.details["isUsage"] === true) throw error;
    throw withExitCode(error, refusalCode);
  }
}
