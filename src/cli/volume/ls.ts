import { listVolumes } from "../../client/volumes.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../flag/filters.ts";
import { filterFlag, listFormatFlag, switchFlag } from "../flag/flags.ts";
import { renderList } from "../format/listing.ts";
import { compareNaturally } from "../format/natural.ts";
import { volumeListing } from "./listing.ts";

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
    await renderList(sorted, volumeListing, {
      format: flags.text("format"),
      isQuiet: flags.isOn("quiet"),
      output,
    }),
  );
  return 0;
}
