import { removeVolume } from "../../client/volumes.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { switchFlag } from "../flag/flags.ts";

/** Removes volumes. */
export const command: Command = {
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  operands: atLeast(1),
  flags: [switchFlag("force", "Force the removal of one or more volumes", { short: "f" })],
  completes: "volumes",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const transport = await engine();
  return forEachOperand(operands, {
    output,
    act: async (volume) => {
      await removeVolume(transport, volume, { force: flags.isOn("force") });
      output.out(`${volume}\n`);
    },
  });
}
