import { putManifest } from "../../client/distribution.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { switchFlag } from "../flag/flags.ts";
import { registryAuthHeader, serverOfImage } from "../registry/credentials.ts";
import { indexDocument } from "./index-document.ts";
import { insecureFlag } from "./insecure-flag.ts";
import { getList, listName, removeList } from "./local-lists.ts";

/** Pushes a list that has been made. */
export const command: Command = {
  usage: "[OPTIONS] MANIFEST_LIST",
  operands: exactly(1),
  flags: [
    insecureFlag,
    switchFlag("purge", "Remove the local manifest list after push", { short: "p" }),
  ],
  completes: "none",
  run,
};

async function run({ operands, flags, output, engine, environment }: Invocation): Promise<number> {
  const name = listName(operands[0] ?? "");
  const list = getList(environment, name);
  for (const { name: manifest, descriptor } of list.manifests) {
    const { os = "", architecture = "" } = descriptor.platform ?? {};
    if (os !== "" && architecture !== "") continue;
    throw new EngineError(
      "invalid-argument",
      `manifest ${manifest} must have an OS and Architecture to be pushed to a registry`,
    );
  }
  const { mediaType, text } = indexDocument(list);
  const headers = await registryAuthHeader(environment, serverOfImage(name));
  const bytes = Buffer.from(text);
  const sources = list.manifests.map((manifest) => manifest.name);
  const options = { mediaType, bytes, headers, sources };
  output.out(`${await putManifest(await engine(), name, options)}\n`);
  if (flags.isOn("purge")) removeList(environment, name);
  return 0;
}
