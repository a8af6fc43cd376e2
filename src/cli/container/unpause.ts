import { actOnContainer } from "../../client/containers.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";

/** Lets paused containers go on. */
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
      await actOnContainer(transport, container, { action: "unpause" });
      output.out(`${container}\n`);
    },
  });
}
