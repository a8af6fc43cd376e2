import { getManifest } from "../../client/distribution.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError } from "../../lib/errors.ts";
import { decodeManifestOrIndex, isIndex } from "../../oci/manifest.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";
import { parseDigest } from "../../oci/digest.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { switchFlag } from "../flag/flags.ts";
import { registryAuthHeader, serverOfImage } from "../registry/credentials.ts";
import { formatDocument, indexDocument } from "./index-document.ts";
import { insecureFlag } from "./insecure-flag.ts";
import { findList, getList, listName, orNoSuchManifest } from "./local-lists.ts";

/** Shows a manifest or a list: one in the making, or a registry's. */
export const command: Command = {
  usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
  operands: between(1, 2),
  flags: [
    insecureFlag,
    switchFlag("verbose", "Output additional info including layers and platform", { short: "v" }),
  ],
  completes: "none",
  run,
};

type Headers = Readonly<Record<string, string>>;

async function run({ operands, flags, output, engine, environment }: Invocation): Promise<number> {
  const names = operands.map(listName);
  const [first = "", second] = names;
  if (second !== undefined) {
    const listed = getList(environment, first).manifests.find(({ name }) => name === second);
    if (listed === undefined) {
      throw new EngineError("not-found", `manifest for image ${second} does not exist in ${first}`);
    }
    output.out(`${formatDocument({ Ref: listed.name, Descriptor: listed.descriptor })}\n`);
    return 0;
  }
  const local = findList(environment, first);
  if (local !== undefined) {
    output.out(`${indexDocument(local).text}\n`);
    return 0;
  }
  const headers = await registryAuthHeader(environment, serverOfImage(first));
  const transport = await engine();
  const { bytes } = await orNoSuchManifest(first, () => getManifest(transport, first, headers));
  if (flags.isOn("verbose")) {
    output.out(`${formatDocument(await verbose(transport, { name: first, headers }), "\t")}\n`);
    return 0;
  }
  const document = decodeManifestOrIndex(bytes);
  const read = JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
  output.out(`${formatDocument(read, isIndex(document) ? "   " : "\t")}\n`);
  return 0;
}

/** A manifest with its descriptor; of a list, each of its manifests. */
async function verbose(
  transport: Transport,
  { name, headers }: { readonly name: string; readonly headers: Headers },
): Promise<unknown> {
  const { descriptor, bytes } = await getManifest(transport, name, headers);
  const document = decodeManifestOrIndex(bytes);
  if (!isIndex(document)) {
    return {
      Ref: name,
      Descriptor: descriptor,
      Raw: Buffer.from(bytes).toString("base64"),
      SchemaV2Manifest: document,
    };
  }
  const { domain, path } = parseReference(name);
  const parts: unknown[] = [];
  for (const each of document.manifests) {
    const one = formatReference({ domain, path, digest: parseDigest(each.digest) });
    const inner = await getManifest(transport, one, headers);
    parts.push({
      Ref: one,
      Descriptor: each,
      Raw: Buffer.from(inner.bytes).toString("base64"),
      SchemaV2Manifest: JSON.parse(Buffer.from(inner.bytes).toString("utf8")) as unknown,
    });
  }
  return parts;
}
