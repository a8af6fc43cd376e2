import type { Volume } from "../../api/volume.ts";
import { listVolumes } from "../../client/volumes.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { labelPairs } from "../container/listing.ts";
import { parseFilters } from "../filters.ts";
import { filterFlag, listFormatFlag, switchFlag } from "../flags.ts";
import { listSize } from "../format/human.ts";
import { type Listing, renderList } from "../format/listing.ts";
import { compareNaturally } from "../format/natural.ts";

/** Lists volumes. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    { ...filterFlag, help: 'Provide filter values (e.g. "dangling=true")' },
    listFormatFlag,
    switchFlag("quiet", "Only display volume names", { short: "q" }),
  ],
  run,
};

async function run({ flags, output, engine }: Invocation): Promise<number> {
  const { Volumes: volumes } = await listVolumes(
    await engine(),
    parseFilters(flags.list("filter")),
  );
  const sorted = [...(volumes ?? [])].sort((left, right) =>
    compareNaturally(left.Name, right.Name),
  );
  output.out(
    await renderList(sorted, listing, {
      format: flags.text("format"),
      isQuiet: flags.isOn("quiet"),
      output,
    }),
  );
  return 0;
}

const listing: Listing<Volume> = {
  typeName: "volumeContext",
  quiet: "Name",
  columns: ["Driver", "Name"],
  headers: {
    Name: "VOLUME NAME",
    Driver: "DRIVER",
    Scope: "SCOPE",
    Mountpoint: "MOUNTPOINT",
    Labels: "LABELS",
    Links: "LINKS",
    Size: "SIZE",
    Availability: "AVAILABILITY",
    Group: "GROUP",
    Status: "STATUS",
  },
  jsonFields: [
    ...["Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope"],
    ...["Size", "Status"],
  ],
  fields: {
    Name: (volume) => volume.Name,
    Driver: (volume) => volume.Driver,
    Scope: (volume) => volume.Scope,
    Mountpoint: (volume) => volume.Mountpoint,
    Labels: (volume) => labelPairs(volume.Labels),
    Label: (volume) => (name: string) => volume.Labels?.[name] ?? "",
    Links: (volume) => (volume.UsageData === undefined ? "N/A" : String(volume.UsageData.RefCount)),
    Size: (volume) => (volume.UsageData === undefined ? "N/A" : listSize(volume.UsageData.Size)),
    Availability: () => "N/A",
    Group: () => "N/A",
    Status: () => "N/A",
  },
};
