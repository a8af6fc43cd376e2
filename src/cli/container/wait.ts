import { waitForContainer } from "../../client/containers.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { EngineError } from "../../lib/errors.ts";

/** Waits until containers have ended. */
export const command: Command = {
  usage: "CONTAINER [CONTAINER...]",
  operands: atLeast(1),
  flags: [],
  completes: "running",
  run,
};

async function run({ operands, output, engine }: Invocation): Promise<number> {
  const transport = await engine();
  return forEachOperand(operands, {
    output,
    act: async (container) => {
      await using wait = await waitForContainer(transport, container);
      const { StatusCode: exitCode, Error: failure } = await wait.result;
      if (failure !== undefined && failure !== null) {
        throw new EngineError("internal", failure.Message);
      }
      output.out(`${exitCode}\n`);
    },
  });
}
