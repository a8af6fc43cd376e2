import { type Command, exactly, type Invocation } from "../command.ts";
import { getContext, useContext } from "./store.ts";

/** Makes a context the current one. */
export const command: Command = {
  usage: "CONTEXT",
  operands: exactly(1),
  flags: [],
  completes: "contexts",
  run,
};

function run({ operands, output, environment }: Invocation): Promise<number> {
  const [name = ""] = operands;
  getContext(environment, name);
  useContext(environment, name);
  output.out(`${name}\n`);
  output.err(`Current context is now ${JSON.stringify(name)}\n`);
  const overriding = ["DOCKER_HOST", "DOCKER_CONTEXT"].find((key) => environment.variables[key]);
  if (overriding !== undefined) {
    output.err(
      `Warning: ${overriding} environment variable overrides the active context. To use ` +
        `${JSON.stringify(name)}, either set the global --context flag, or unset ${overriding} environment variable.\n`,
    );
  }
  return Promise.resolve(0);
}
