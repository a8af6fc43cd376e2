import { exportContainer } from "../../client/containers.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { checkOutputPath, refuseTerminal, writeArchive } from "../file-output.ts";
import { textFlag } from "../flag/flags.ts";

/** Writes the files of a container as a tar. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  operands: exactly(1),
  flags: [textFlag("output", "Write to a file, instead of STDOUT", { short: "o" })],
  completes: "containers",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const [container = ""] = operands;
  const path = flags.text("output");
  refuseTerminal(path, output);
  checkOutputPath(path, "export container");
  await using stream = await exportContainer(await engine(), container);
  await writeArchive(stream, { path, what: "export container" });
  return 0;
}
