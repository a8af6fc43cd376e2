import { actOnContainer } from "../../client/containers.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { numberFlag, textFlag } from "../flags.ts";

/** Stops containers. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  operands: atLeast(1),
  flags: [
    textFlag("signal", "Signal to send to the container", { short: "s" }),
    numberFlag("timeout", "Seconds to wait before killing the container", { short: "t" }),
    numberFlag("time", "Seconds to wait before killing the container", {
      isHidden: true,
      aliasOf: "timeout",
    }),
  ],
  completes: "running",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const transport = await engine();
  const query = {
    ...(flags.isGiven("timeout") ? { t: flags.number("timeout") } : {}),
    signal: flags.text("signal"),
  };
  return forEachOperand(operands, {
    output,
    act: async (container) => {
      await actOnContainer(transport, container, { action: "stop", query });
      output.out(`${container}\n`);
    },
  });
}
