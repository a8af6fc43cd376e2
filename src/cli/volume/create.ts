import { createVolume } from "../../client/volumes.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { listFlag, textFlag } from "../flag/flags.ts";
import { EngineError } from "../../lib/errors.ts";
import { keyValues } from "../options/key-values.ts";

/** Creates a volume. */
export const command: Command = {
  usage: "[OPTIONS] [VOLUME]",
  operands: between(0, 1),
  flags: [
    textFlag("driver", "Specify volume driver name", { short: "d", fallback: "local" }),
    listFlag("label", "Set metadata for a volume"),
    textFlag("name", "Specify volume name", { isHidden: true }),
    listFlag("opt", "Set driver specific options", { short: "o", placeholder: "map" }),
  ],
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const [operand] = operands;
  if (operand !== undefined && flags.isGiven("name")) {
    throw new EngineError(
      "invalid-argument",
      "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
    );
  }
  const volume = await createVolume(await engine(), {
    Name: operand ?? flags.text("name"),
    Driver: flags.isGiven("driver") ? flags.text("driver") : "local",
    DriverOpts: keyValues(flags.list("opt")),
    Labels: keyValues(flags.list("label")),
  });
  output.out(`${volume.Name}\n`);
  return 0;
}
