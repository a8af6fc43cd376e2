import type { OciDescriptor } from "../../api/image.ts";
import { getManifest, inspectDistribution } from "../../client/distribution.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError } from "../../lib/errors.ts";
import { decodeManifestOrIndex, isIndex } from "../../oci/manifest.ts";
import { dockerMediaTypes } from "../../oci/media-types.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";
import { parseDigest } from "../../oci/digest.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { switchFlag } from "../flag/flags.ts";
import { registryAuthHeader, serverOfImage } from "../registry/credentials.ts";
import { formatDocument, indexDocument } from "./index-document.ts";
import { insecureFlag } from "./insecure-flag.ts";
import {
  findList,
  getList,
  type ListedManifest,
  listName,
  type ManifestList,
  orNoSuchManifest,
} from "./local-lists.ts";

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

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine, environment } = invocation;
  const names = operands.map(listName);
  const [first = "", second] = names;
  const isVerbose = flags.isOn("verbose");
  const name = second ?? first;
  const ask = async (): Promise<Asked> => ({
    transport: await engine(),
    headers: await registryAuthHeader(environment, serverOfImage(name)),
  });
  if (second !== undefined) {
    const listed = getList(environment, first).manifests.find((each) => each.name === second);
    if (listed === undefined) {
      throw new EngineError("not-found", `manifest for image ${second} does not exist in ${first}`);
    }
    const entry = await entryOf(listed, await ask());
    output.out(`${isVerbose ? formatDocument(entry, "\t") : formatManifest(entry)}\n`);
    return 0;
  }
  const local = findList(environment, first);
  if (local !== undefined) {
    output.out(
      `${isVerbose ? await verboseList(local, await ask()) : indexDocument(local).text}\n`,
    );
    return 0;
  }
  const asked = await ask();
  const { bytes } = await orNoSuchManifest(first, () => get(asked, first));
  if (isVerbose) {
    output.out(`${formatDocument(await verbose(first, { ...asked, bytes }), "\t")}\n`);
    return 0;
  }
  const document = decodeManifestOrIndex(bytes);
  output.out(`${formatDocument(parse(bytes), isIndex(document) ? "   " : "\t")}\n`);
  return 0;
}

interface Asked {
  readonly transport: Transport;
  readonly headers: Headers;
}

/** A manifest with what is said of it. */
interface Entry {
  readonly Ref: string;
  readonly Descriptor: OciDescriptor;
  readonly Raw: string;
  readonly OCIManifest?: unknown;
  readonly SchemaV2Manifest?: unknown;
}

/** A manifest with its descriptor; of a list, each of its manifests. */
async function verbose(
  name: string,
  asked: Asked & { readonly bytes: Uint8Array },
): Promise<Entry | readonly Entry[]> {
  const document = decodeManifestOrIndex(asked.bytes);
  if (!isIndex(document)) {
    const { Descriptor, Platforms } = await inspectDistribution(
      asked.transport,
      name,
      asked.headers,
    );
    const [platform] = Platforms ?? [];
    const descriptor = { ...Descriptor, ...(platform === undefined ? {} : { platform }) };
    return entry({ name, descriptor, bytes: asked.bytes });
  }
  const entries: Entry[] = [];
  for (const descriptor of document.manifests) {
    // Docker: with the tag that was asked for, seen in 28.2
    const bytes = (await get(asked, byDigest(name, descriptor.digest))).bytes;
    entries.push(entry({ name: `${name}@${descriptor.digest}`, descriptor, bytes }));
  }
  return entries;
}

async function verboseList(list: ManifestList, asked: Asked): Promise<string> {
  const entries: Entry[] = [];
  for (const listed of list.manifests) entries.push(await entryOf(listed, asked));
  return formatDocument(entries, "\t");
}

/** What a list in the making names, with its manifest. */
async function entryOf({ name, descriptor }: ListedManifest, asked: Asked): Promise<Entry> {
  const one = byDigest(name, descriptor.digest);
  const { bytes } = await orNoSuchManifest(one, () => get(asked, one));
  return entry({ name, descriptor, bytes });
}

function entry(of: {
  readonly name: string;
  readonly descriptor: OciDescriptor;
  readonly bytes: Uint8Array;
}): Entry {
  const { name, descriptor, bytes } = of;
  const { mediaType, digest, size, platform } = descriptor;
  const isDocker = mediaType === dockerMediaTypes.manifest;
  return {
    Ref: name,
    Descriptor: { mediaType, digest, size, ...(platform === undefined ? {} : { platform }) },
    Raw: Buffer.from(bytes).toString("base64"),
    [isDocker ? "SchemaV2Manifest" : "OCIManifest"]: parse(bytes),
  };
}

function formatManifest({ OCIManifest, SchemaV2Manifest }: Entry): string {
  return formatDocument(OCIManifest ?? SchemaV2Manifest, "\t");
}

async function get({ transport, headers }: Asked, name: string): ReturnType<typeof getManifest> {
  return await getManifest(transport, name, headers);
}

function byDigest(name: string, digest: string): string {
  const { domain, path } = parseReference(name);
  return formatReference({ domain, path, digest: parseDigest(digest) });
}

function parse(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
}
