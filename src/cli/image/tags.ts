import { listTags } from "../../client/distribution.ts";
import { parseReference } from "../../oci/reference.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { listFormatFlag } from "../flag/flags.ts";
import { type Listing, renderList } from "../format/listing.ts";
import { registryAuthHeader, serverOf } from "../registry/credentials.ts";

/** Lists the tags that a repository has in its registry. */
export const command: Command = {
  usage: "[OPTIONS] REPOSITORY",
  operands: exactly(1),
  flags: [listFormatFlag],
  completes: "none",
  run,
};

const listing: Listing<string> = {
  typeName: "tagContext",
  quiet: "Tag",
  columns: ["Tag"],
  headers: { Tag: "TAG" },
  fields: { Tag: (tag) => tag },
};

async function run({ operands, flags, output, engine, environment }: Invocation): Promise<number> {
  const [name = ""] = operands;
  const headers = await registryAuthHeader(environment, serverOf(parseReference(name).domain));
  const tags = await listTags(await engine(), name, headers);
  const format = flags.text("format");
  // Names one a line, for other programs; a table when one is asked for.
  output.out(await renderList(tags, listing, { format, isQuiet: format === "", output }));
  return 0;
}
