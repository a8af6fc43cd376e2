import { removeContainer } from "../../client/containers.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { switchFlag } from "../flag/flags.ts";
import { EngineError } from "../../lib/errors.ts";

/** Removes containers. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  operands: atLeast(1),
  flags: [
    switchFlag("force", "Force the removal of a running container (uses SIGKILL)", { short: "f" }),
    switchFlag("link", "Remove the specified link", { short: "l" }),
    switchFlag("volumes", "Remove anonymous volumes associated with the container", { short: "v" }),
  ],
  completes: "containers",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const transport = await engine();
  const options = {
    force: flags.isOn("force"),
    volumes: flags.isOn("volumes"),
    link: flags.isOn("link"),
  };
  return forEachOperand(operands, {
    output,
    act: async (operand) => {
      const container = operand.replace(/^\/+|\/+$/g, "");
      if (container === "")
        throw new EngineError("invalid-argument", "Container name cannot be empty");
      try {
        await removeContainer(transport, container, options);
      } catch (error) {
        const isGone = error instanceof EngineError && error.kind === "not-found";
        if (!isGone || !options.force) throw error;
        // Docker: `rm -f` of what is not there says so and succeeds, seen in 28.2.
        output.err(`Error response from daemon: ${error.message}\n`);
        return;
      }
      output.out(`${operand}\n`);
    },
  });
}
