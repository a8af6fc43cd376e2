import { EngineError } from "../../lib/errors.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import type { FlagReader } from "../flag/flag-reader.ts";
import { listFlag, textFlag } from "../flag/flags.ts";
import { findList, type ListedManifest, listName, putList } from "./local-lists.ts";

/** What a manifest can be for: Docker's list, and what Go and its images have come to since. */
const architectures: Readonly<Record<string, readonly string[]>> = {
  darwin: ["386", "amd64", "arm", "arm64"],
  dragonfly: ["amd64"],
  freebsd: ["386", "amd64", "arm", "arm64", "riscv64"],
  linux: [
    ...["386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le"],
    ...["ppc64le", "riscv64", "s390x"],
  ],
  netbsd: ["386", "amd64", "arm", "arm64"],
  openbsd: ["386", "amd64", "arm", "arm64"],
  plan9: ["386", "amd64"],
  solaris: ["amd64"],
  windows: ["386", "amd64", "arm", "arm64"],
};

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
  // Docker: what is given comes to what was there, seen in 28.2
  const features = new Set([
    ...(known["os.features"] ?? []),
    ...flags.list("os-features").flatMap((text) => text.split(",")),
  ]);
  const platform = {
    ...known,
    ...given,
    ...(features.size === 0 ? {} : { "os.features": [...features] }),
  };
  if (architectures[platform.os]?.includes(platform.architecture) !== true) {
    const combination = `${platform.os}/${platform.architecture}`;
    throw new EngineError(
      "invalid-argument",
      `manifest entry for image has unsupported os/arch combination: ${combination}`,
    );
  }
  return { ...manifest, descriptor: { ...manifest.descriptor, platform } };
}
