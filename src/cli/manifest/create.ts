import type { OciDescriptor } from "../../api/image.ts";
import { inspectDistribution } from "../../client/distribution.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { isIndexType } from "../../oci/media-types.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { switchFlag } from "../flag/flags.ts";
import { registryAuthHeader, serverOfImage } from "../registry/credentials.ts";
import { insecureFlag } from "./insecure-flag.ts";
import {
  findList,
  type ListedManifest,
  listName,
  orNoSuchManifest,
  putList,
} from "./local-lists.ts";

/** Begins a manifest list, or adds to one. */
export const command: Command = {
  usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
  operands: atLeast(2),
  flags: [switchFlag("amend", "Amend an existing manifest list", { short: "a" }), insecureFlag],
  completes: "none",
  run,
};

async function run({ operands, flags, output, engine, environment }: Invocation): Promise<number> {
  const [first = "", ...names] = operands;
  const name = nameOfNew(first);
  const known = findList(environment, name);
  if (known !== undefined && !flags.isOn("amend")) {
    throw new EngineError(
      "already-exists",
      "refusing to amend an existing manifest list with no --amend flag",
    );
  }
  const transport = await engine();
  const manifests = new Map((known?.manifests ?? []).map((each) => [each.name, each]));
  for (const each of names) {
    const headers = await registryAuthHeader(environment, serverOfImage(each));
    const listed = await describe(transport, { name: listName(each), headers });
    manifests.set(listed.name, listed);
  }
  putList(environment, { name, manifests: [...manifests.values()] });
  output.out(`Created manifest list ${name}\n`);
  return 0;
}

function nameOfNew(text: string): string {
  try {
    return listName(text);
  } catch (error) {
    const sentence = `error parsing name for manifest list ${text}: ${messageOf(error)}`;
    throw new EngineError("invalid-argument", sentence, { cause: error });
  }
}

async function describe(
  transport: Transport,
  { name, headers }: { readonly name: string; readonly headers: Readonly<Record<string, string>> },
): Promise<ListedManifest> {
  const { Descriptor, Platforms } = await orNoSuchManifest(name, () =>
    inspectDistribution(transport, name, headers),
  );
  if (isIndexType(Descriptor.mediaType)) {
    throw new EngineError("invalid-argument", `${name} is a manifest list`);
  }
  const [platform] = Platforms ?? [];
  const { mediaType, digest, size } = Descriptor;
  const descriptor: OciDescriptor = {
    mediaType,
    digest,
    size,
    ...(platform === undefined ? {} : { platform }),
  };
  return { name, descriptor };
}
