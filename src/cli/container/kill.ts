import { actOnContainer } from "../../client/containers.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { textFlag } from "../flag/flags.ts";

/** Kills containers. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  operands: atLeast(1),
  flags: [textFlag("signal", "Signal to send to the container", { short: "s" })],
  completes: "running",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const transport = await engine();
  const query = { signal: flags.text("signal") };
  return forEachOperand(operands, {
    output,
    act: async (container) => {
      await actOnContainer(transport, container, { action: "kill", query });
      output.out(`${container}\n`);
    },
  });
}
