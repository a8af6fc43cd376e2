import { saveImages } from "../../client/images.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { checkOutputPath, refuseTerminal, writeArchive } from "../file-output.ts";
import { textFlag } from "../flag/flags.ts";
import { platformQuery } from "./platform.ts";

/** Writes images as a tar. */
export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  operands: atLeast(1),
  flags: [
    textFlag("output", "Write to a file, instead of STDOUT", { short: "o" }),
    textFlag(
      "platform",
      'Save only the given platform variant. Formatted as "os[/arch[/variant]]"',
    ),
  ],
  completes: "images",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const path = flags.text("output");
  refuseTerminal(path, output);
  checkOutputPath(path, "save image");
  const stream = await saveImages(await engine(), operands, platformQuery(flags.text("platform")));
  await using _ = stream;
  await writeArchive(stream, { path, what: "save image" });
  return 0;
}
