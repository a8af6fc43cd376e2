import { progressOf, pushImage } from "../../client/images.ts";
import { EngineError } from "../../lib/errors.ts";
import {
  defaultTag,
  familiarName,
  formatReference,
  parseReference,
  withDefaultTag,
} from "../../oci/reference.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { parsePlatform } from "../image/platform.ts";
import { showProgress } from "../image/progress.ts";
import { registryAuthHeader, serverOf } from "./credentials.ts";
import { trustFlag } from "./trust-flag.ts";

/** Uploads an image. */
export const command: Command = {
  usage: "[OPTIONS] NAME[:TAG]",
  operands: exactly(1),
  flags: [
    switchFlag("all-tags", "Push all tags of an image to the repository", { short: "a" }),
    trustFlag("Skip image signing"),
    textFlag(
      "platform",
      "Push a platform-specific manifest as a single-platform image to the registry.\n" +
        "Image index won't be pushed, meaning that other manifests, including attestations " +
        "won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
    switchFlag("quiet", "Suppress verbose output", { short: "q" }),
  ],
  completes: "images",
  run,
};

const platformNote =
  "\n Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.\n" +
  "         Other components, like attestations, will not be included.\n" +
  "         To push the complete multi-platform image, remove the --platform flag.\n         \n";

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine, environment } = invocation;
  const [name = ""] = operands;
  const given = parseReference(name);
  const hasAllTags = flags.isOn("all-tags");
  const isBare = given.tag === undefined && given.digest === undefined;
  if (hasAllTags && !isBare) {
    throw new EngineError("invalid-argument", "tag can't be used with --all-tags/-a");
  }
  if (given.digest !== undefined) {
    throw new EngineError("invalid-argument", "cannot push a digest reference");
  }
  const isQuiet = flags.isOn("quiet");
  const reference = hasAllTags ? given : withDefaultTag(given);
  if (isBare && !hasAllTags && !isQuiet) output.out(`Using default tag: ${defaultTag}\n`);
  const text = flags.text("platform");
  const platform = text === "" ? undefined : JSON.stringify(parsePlatform(text));
  if (platform !== undefined) output.out(platformNote);
  const { tag } = reference;
  const stream = await pushImage(await engine(), familiarName(reference), {
    headers: await registryAuthHeader(environment, serverOf(reference.domain)),
    ...(tag === undefined ? {} : { tag }),
    ...(platform === undefined ? {} : { platform }),
  });
  await using _ = stream;
  await showProgress(progressOf(stream), { output, isQuiet });
  if (isQuiet) output.out(`${formatReference(reference)}\n`);
  return 0;
}
