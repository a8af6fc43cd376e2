import { EngineError } from "../../lib/errors.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { currentContextName, defaultContext } from "../environment.ts";
import { forEachOperand } from "../errors.ts";
import { switchFlag } from "../flag/flags.ts";
import { getContext, removeContext, useContext } from "./store.ts";

/** Removes contexts. */
export const command: Command = {
  usage: "CONTEXT [CONTEXT...]",
  operands: atLeast(1),
  flags: [switchFlag("force", "Force the removal of a context in use", { short: "f" })],
  completes: "contexts",
  run,
};

async function run({ operands, flags, output, environment }: Invocation): Promise<number> {
  const current = await currentContextName(environment);
  const isForced = flags.isOn("force");
  return forEachOperand(operands, {
    output,
    act: (name) => {
      if (name === defaultContext) {
        throw new EngineError("invalid-argument", `context "${defaultContext}" cannot be removed`);
      }
      if (!isForced) getContext(environment, name);
      if (name === current) {
        if (!isForced) {
          throw new EngineError(
            "conflict",
            `context ${JSON.stringify(name)} is in use, set -f flag to force remove`,
          );
        }
        useContext(environment, defaultContext);
      }
      removeContext(environment, name);
      output.out(`${name}\n`);
      return Promise.resolve();
    },
  });
}
