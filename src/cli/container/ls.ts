import type { ContainerSummary } from "../../api/container.ts";
import { listContainers } from "../../client/containers.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { readConfigFile } from "../environment.ts";
import { parseFilters } from "../flag/filters.ts";
import { filterFlag, listFormatFlag, numberFlag, switchFlag } from "../flag/flags.ts";
import { renderList } from "../format/listing.ts";
import { containerListing } from "./listing.ts";

/** Lists containers. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    switchFlag("all", "Show all containers (default shows just running)", { short: "a" }),
    filterFlag,
    listFormatFlag,
    numberFlag("last", "Show n last created containers (includes all states)", {
      short: "n",
      fallback: "-1",
    }),
    switchFlag("latest", "Show the latest created container (includes all states)", { short: "l" }),
    switchFlag("no-trunc", "Don't truncate output"),
    switchFlag("quiet", "Only display container IDs", { short: "q" }),
    switchFlag("size", "Display total file sizes", { short: "s" }),
  ],
  run,
};

async function run({ flags, output, engine, environment }: Invocation): Promise<number> {
  const given = flags.text("format");
  const isQuiet = flags.isOn("quiet");
  const format =
    given === "" && !isQuiet ? ((await readConfigFile(environment)).psFormat ?? "") : given;
  const last = flags.number("last", -1);
  const limit = flags.isOn("latest") && last <= 0 ? 1 : last;
  const filters = parseFilters(flags.list("filter"));
  // Sizes cost the engine a walk over the disk: asked for only when they are shown.
  const showsSize =
    flags.isOn("size") || (format !== "" && /\.Size\b|\{\{\s*json \.\s*\}\}/.test(format));
  const items = await listContainers(await engine(), {
    all: flags.isOn("all") || limit > 0 || flags.isOn("latest"),
    size: showsSize,
    filters,
    ...(limit > 0 ? { limit } : {}),
  });
  const listing = containerListing({
    isTruncated: !flags.isOn("no-trunc"),
    showsSize: flags.isOn("size"),
  });
  output.out(
    await renderList<ContainerSummary>(items, listing, {
      format,
      isQuiet,
      output,
    }),
  );
  return 0;
}
