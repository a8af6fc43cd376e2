import { actOnContainer } from "../../client/containers.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { numberFlag, textFlag } from "../flag/flags.ts";

/** A command that does one thing to each running container named, and prints its name. */
export function actionCommand(action: "pause" | "unpause"): Command {
  return {
    usage: "CONTAINER [CONTAINER...]",
    operands: atLeast(1),
    flags: [],
    completes: "running",
    run: async (invocation) => await actOnEach(invocation, { action }),
  };
}

/** As `actionCommand`, for what ends the process: with a signal and a time to wait. */
export function endingCommand(action: "stop" | "restart"): Command {
  return {
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
    run: async (invocation) => {
      const { flags } = invocation;
      const query = {
        ...(flags.isGiven("timeout") ? { t: flags.number("timeout") } : {}),
        signal: flags.text("signal"),
      };
      return await actOnEach(invocation, { action, query });
    },
  };
}

async function actOnEach(
  { operands, output, engine }: Invocation,
  request: Parameters<typeof actOnContainer>[2],
): Promise<number> {
  const transport = await engine();
  return forEachOperand(operands, {
    output,
    act: async (container) => {
      await actOnContainer(transport, container, request);
      output.out(`${container}\n`);
    },
  });
}
