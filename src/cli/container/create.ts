import { atLeast, type Command, type Invocation } from "../command.ts";
import { failureCode, withExitCode } from "../errors.ts";
import { textFlag } from "../flags.ts";
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
  try {
    const request = requestOf(invocation);
    const id = await createFrom(await invocation.engine(), request, invocation);
    invocation.output.out(`${id}\n`);
    return 0;
  } catch (error) {
    throw withExitCode(error, failureCode);
  }
}
