import { EngineError } from "../../lib/errors.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { scripts } from "./scripts.ts";

/** Prints the script that makes a shell ask `tug __complete`. */
export const command: Command = {
  usage: "[bash|zsh|fish]",
  operands: exactly(1),
  flags: [],
  details:
    "Load it now:\n  source <(tug completion bash)\n  source <(tug completion zsh)\n  tug completion fish | source",
  run,
};

function run({ operands, output }: Invocation): Promise<number> {
  const [shell = ""] = operands;
  const script = scripts[shell];
  if (script === undefined) {
    throw new EngineError(
      "invalid-argument",
      `completion for ${JSON.stringify(shell)}: no such shell here, want bash, zsh or fish`,
    );
  }
  output.out(script);
  return Promise.resolve(0);
}
