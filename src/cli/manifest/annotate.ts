import { EngineError } from "../../lib/errors.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import type { FlagReader } from "../flag/flag-reader.ts";
import { listFlag, textFlag } from "../flag/flags.ts";
import { findList, type ListedManifest, listName, putList } from "./local-lists.ts";

/** Says of a manifest of a list what it is for. */
export const command: Command = {
  usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
  operands: exactly(2),
  flags: [
    textFlag("arch", "Set architecture"),
    textFlag("os", "Set operating system"),
    listFlag("os-features", "Set operating system feature", { placeholder: "strings" }),
    textFlag("os-version", "Set operating system version"),
    textFlag("variant", "Set architecture variant"),
  ],
  completes: "none",
  run,
};

async function run({ operands, flags, environment }: Invocation): Promise<number> {
  const [list = "", manifest = ""] = operands.map(listName);
  const manifests = findList(environment, list)?.manifests ?? [];
  if (!manifests.some(({ name }) => name === manifest)) {
    throw new EngineError("not-found", `manifest for image ${manifest} does not exist in ${list}`);
  }
  const changed = manifests.map((each) => (each.name === manifest ? annotated(each, flags) : each));
  putList(environment, { name: list, manifests: changed });
  return await Promise.resolve(0);
}

function annotated(manifest: ListedManifest, flags: FlagReader): ListedManifest {
  const known = manifest.descriptor.platform ?? { os: "", architecture: "" };
  const texts = {
    os: flags.text("os"),
    architecture: flags.text("arch"),
    variant: flags.text("variant"),
    "os.version": flags.text("os-version"),
  };
  const given = Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ""));
  const features = flags.list("os-features").flatMap((text) => text.split(","));
  const platform = {
    ...known,
    ...given,
    ...(features.length === 0 ? {} : { "os.features": features }),
  };
  return { ...manifest, descriptor: { ...manifest.descriptor, platform } };
}
