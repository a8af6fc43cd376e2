import { EngineError } from "../../lib/errors.ts";
import {
  defaultTag,
  formatReference,
  parseReference,
  withDefaultTag,
} from "../../oci/reference.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { pullFrom } from "./pull-from.ts";
import { trustFlag } from "./trust-flag.ts";

/** Downloads an image. */
export const command: Command = {
  usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
  operands: exactly(1),
  flags: [
    switchFlag("all-tags", "Download all tagged images in the repository", { short: "a" }),
    trustFlag("Skip image verification"),
    textFlag("platform", "Set platform if server is multi-platform capable"),
    switchFlag("quiet", "Suppress verbose output", { short: "q" }),
  ],
  completes: "images",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine, environment } = invocation;
  const [name = ""] = operands;
  const given = parseReference(name);
  const isBare = given.tag === undefined && given.digest === undefined;
  const hasAllTags = flags.isOn("all-tags");
  if (hasAllTags && !isBare) {
    throw new EngineError("invalid-argument", "tag can't be used with --all-tags/-a");
  }
  const platform = flags.text("platform");
  const isQuiet = flags.isOn("quiet");
  const reference = hasAllTags ? given : withDefaultTag(given);
  if (isBare && !hasAllTags && !isQuiet) output.out(`Using default tag: ${defaultTag}\n`);
  await pullFrom(await engine(), { reference, platform, environment, output, isQuiet });
  output.out(`${formatReference(reference)}\n`);
  return 0;
}
