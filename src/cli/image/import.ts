import { createImage, progressOf } from "../../client/images.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { listFlag, textFlag } from "../flag/flags.ts";
import { readFileChunks } from "../input.ts";
import { isInputTerminal, readStandardInput } from "../standard-input.ts";
import { EngineError } from "../../lib/errors.ts";
import { parseReference } from "../../oci/reference.ts";
import { showProgress } from "./progress.ts";

/** Makes an image of a file system in a tar. */
export const command: Command = {
  usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
  operands: between(1, 2),
  flags: [
    listFlag("change", "Apply Dockerfile instruction to the created image", { short: "c" }),
    textFlag("message", "Set commit message for imported image", { short: "m" }),
    textFlag("platform", "Set platform if server is multi-platform capable"),
  ],
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const [source = "", repo = ""] = operands;
  if (repo !== "") parseReference(repo);
  const isUrl = /^https?:\/\//.test(source);
  if (source === "-" && isInputTerminal()) {
    throw new EngineError(
      "invalid-argument",
      "cowardly refusing to read from a terminal, redirect",
    );
  }
  await using stream = await createImage(
    await engine(),
    {
      fromSrc: isUrl ? source : "-",
      repo,
      message: flags.text("message"),
      changes: flags.list("change"),
      platform: flags.text("platform"),
    },
    isUrl ? {} : { upload: source === "-" ? readStandardInput() : readFileChunks(source) },
  );
  await showProgress(progressOf(stream), { output });
  return 0;
}
