import type { BuildCacheRecord } from "../../api/system.ts";
import { diskUsage } from "../../client/system.ts";
import { formatSize } from "../../lib/size.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { listFormatFlag, switchFlag } from "../flag/flags.ts";
import { since } from "../format/human.ts";
import { type Listing, renderList } from "../format/listing.ts";

/** Shows what the build cache takes of the disk. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [listFormatFlag, switchFlag("verbose", "Provide a more verbose output", { short: "v" })],
  completes: "none",
  run,
};

async function run({ flags, output, engine }: Invocation): Promise<number> {
  const { BuildCache } = await diskUsage(await engine());
  const records = [...(BuildCache ?? [])].sort((left, right) => right.Size - left.Size);
  const format = flags.text("format");
  const listing = cacheListing(flags.isOn("verbose"));
  output.out(await renderList(records, listing, { format, isQuiet: false, output }));
  if (format !== "" && format !== "table") return 0;
  const sum = (list: readonly BuildCacheRecord[]): string =>
    formatSize(list.reduce((bytes, record) => bytes + record.Size, 0));
  output.out(`Reclaimable:\t${sum(records.filter(({ InUse }) => !InUse))}\n`);
  output.out(`Total:\t\t${sum(records)}\n`);
  return 0;
}

function cacheListing(isVerbose: boolean): Listing<BuildCacheRecord> {
  return {
    typeName: "buildCacheContext",
    quiet: "ID",
    columns: [
      ...["ID", "Reclaimable", "Size", "LastUsed"],
      ...(isVerbose ? ["UsageCount", "Type", "Description"] : []),
    ],
    headers: {
      ID: "ID",
      Reclaimable: "RECLAIMABLE",
      Size: "SIZE",
      LastUsed: "LAST ACCESSED",
      UsageCount: "USES",
      Type: "TYPE",
      Description: "DESCRIPTION",
    },
    fields: {
      ID: (record) => record.ID,
      Reclaimable: (record) => String(!record.InUse),
      // A star: what others hold as well is not won by removing it.
      Size: (record) => `${formatSize(record.Size)}${record.Shared ? "*" : ""}`,
      LastUsed: (record) =>
        record.LastUsedAt === null ? "" : since(Date.parse(record.LastUsedAt) / 1000),
      UsageCount: (record) => String(record.UsageCount),
      Type: (record) => record.Type,
      Description: (record) => record.Description,
    },
  };
}
