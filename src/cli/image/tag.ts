import { tagImage } from "../../client/images.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { EngineError } from "../../lib/errors.ts";
import { defaultTag, familiarName, isIdPrefix, parseReference } from "../../oci/reference.ts";

/** Gives an image one more name. */
export const command: Command = {
  usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  operands: exactly(2),
  flags: [],
  completes: "images",
  run,
};

async function run({ operands, engine }: Invocation): Promise<number> {
  const [source = "", target = ""] = operands;
  if (!isIdPrefix(source.replace(/^sha256:/, ""))) readName(source);
  const reference = readName(target);
  if (reference.digest !== undefined) {
    throw new EngineError("invalid-argument", "refusing to create a tag with a digest reference");
  }
  await tagImage(await engine(), source, {
    repo: familiarName(reference),
    tag: reference.tag ?? defaultTag,
  });
  return 0;
}

function readName(name: string): ReturnType<typeof parseReference> {
  try {
    return parseReference(name);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError(
      "invalid-argument",
      `Error parsing reference: ${JSON.stringify(name)} is not a valid repository/tag: ${error.message}`,
      { cause: error },
    );
  }
}
