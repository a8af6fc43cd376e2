import type { SystemDiskUsage } from "../../api/system.ts";
import { diskUsage } from "../../client/system.ts";
import { formatSize } from "../../lib/size.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { listFormatFlag, switchFlag } from "../flag/flags.ts";
import { type Listing, renderList } from "../format/listing.ts";
import { renderDetails } from "./_df-details.ts";

/** Tells what the engine's data takes on the disk. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    listFormatFlag,
    switchFlag("verbose", "Show detailed information on space usage", { short: "v" }),
  ],
  run,
};

async function run({ flags, output, engine }: Invocation): Promise<number> {
  const usage = await diskUsage(await engine());
  const options = { format: flags.text("format"), output };
  output.out(
    flags.isOn("verbose")
      ? await renderDetails(usage, options)
      : await renderList(rowsOf(usage), listing, options),
  );
  return 0;
}

interface UsageRow {
  readonly type: string;
  readonly totalCount: number;
  readonly activeCount: number;
  readonly sizeBytes: number;
  readonly reclaimable: string;
}

const listing: Listing<UsageRow> = {
  typeName: "diskUsageContext",
  quiet: "Type",
  columns: ["Type", "TotalCount", "Active", "Size", "Reclaimable"],
  headers: {
    Type: "TYPE",
    TotalCount: "TOTAL",
    Active: "ACTIVE",
    Size: "SIZE",
    Reclaimable: "RECLAIMABLE",
  },
  fields: {
    Active: (row) => String(row.activeCount),
    Reclaimable: (row) => row.reclaimable,
    Size: (row) => formatSize(row.sizeBytes),
    TotalCount: (row) => String(row.totalCount),
    Type: (row) => row.type,
  },
};

function rowsOf(usage: SystemDiskUsage): readonly UsageRow[] {
  return [imageRow(usage), containerRow(usage), volumeRow(usage), cacheRow(usage)];
}

function imageRow({ Images, LayersSize }: SystemDiskUsage): UsageRow {
  const images = Images ?? [];
  const used = images.filter((image) => image.Containers > 0);
  const isKnown = (sizeBytes: number): boolean => sizeBytes !== -1;
  const usedBytes = used
    .filter((image) => isKnown(image.Size) && isKnown(image.SharedSize))
    .reduce((sum, image) => sum + image.Size - image.SharedSize, 0);
  return {
    type: "Images",
    totalCount: images.length,
    activeCount: used.length,
    sizeBytes: LayersSize,
    reclaimable: withShare(LayersSize - usedBytes, LayersSize),
  };
}

function containerRow({ Containers }: SystemDiskUsage): UsageRow {
  const containers = Containers ?? [];
  const isActive = ({ State }: { readonly State: string }): boolean =>
    ["running", "paused", "restarting"].includes(State);
  const sizeOf = (list: typeof containers): number =>
    list.reduce((sum, container) => sum + (container.SizeRw ?? 0), 0);
  const sizeBytes = sizeOf(containers);
  return {
    type: "Containers",
    totalCount: containers.length,
    activeCount: containers.filter(isActive).length,
    sizeBytes,
    reclaimable: withShare(sizeOf(containers.filter((one) => !isActive(one))), sizeBytes),
  };
}

function volumeRow({ Volumes }: SystemDiskUsage): UsageRow {
  const volumes = Volumes ?? [];
  const isUsed = (volume: (typeof volumes)[number]): boolean =>
    (volume.UsageData?.RefCount ?? 0) > 0;
  const sizeOf = (list: typeof volumes): number =>
    list.reduce((sum, volume) => sum + Math.max(volume.UsageData?.Size ?? 0, 0), 0);
  const sizeBytes = sizeOf(volumes);
  return {
    type: "Local Volumes",
    totalCount: volumes.length,
    activeCount: volumes.filter(isUsed).length,
    sizeBytes,
    reclaimable: withShare(sizeOf(volumes.filter((volume) => !isUsed(volume))), sizeBytes),
  };
}

/** What images and containers share with the cache is theirs. */
function cacheRow({ BuildCache }: SystemDiskUsage): UsageRow {
  const records = BuildCache ?? [];
  const own = records.filter((record) => !record.Shared);
  const sizeOf = (list: typeof own): number => list.reduce((sum, record) => sum + record.Size, 0);
  const sizeBytes = sizeOf(own);
  return {
    type: "Build Cache",
    totalCount: records.length,
    activeCount: records.filter((record) => record.InUse).length,
    sizeBytes,
    reclaimable: formatSize(sizeBytes - sizeOf(own.filter((record) => record.InUse))),
  };
}

function withShare(partBytes: number, totalBytes: number): string {
  const size = formatSize(partBytes);
  return totalBytes > 0 ? `${size} (${Math.trunc((partBytes * 100) / totalBytes)}%)` : size;
}
