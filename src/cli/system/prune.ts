import { pruneBuildCache } from "../../client/builds.ts";
import { pruneContainers } from "../../client/containers.ts";
import { pruneImages } from "../../client/images.ts";
import { pruneNetworks } from "../../client/networks.ts";
import type { Transport } from "../../client/transport.ts";
import { pruneVolumes } from "../../client/volumes.ts";
import { EngineError } from "../../lib/errors.ts";
import { formatSize } from "../../lib/size.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { confirm } from "../confirm.ts";
import { parseFilters } from "../flag/filters.ts";
import { listFlag, switchFlag } from "../flag/flags.ts";
import { imageLines } from "../image/prune.ts";

/** Removes all that nothing uses. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    switchFlag("all", "Remove all unused images not just dangling ones", { short: "a" }),
    switchFlag("force", "Do not prompt for confirmation", { short: "f" }),
    switchFlag("volumes", "Prune anonymous volumes"),
    listFlag("filter", 'Provide filter values (e.g. "label=<key>=<value>")', {
      placeholder: "filter",
    }),
  ],
  completes: "none",
  run,
};

type Filters = ReadonlyMap<string, readonly string[]>;

/** What one kind of thing has lost. */
interface Part {
  readonly title: string;
  readonly lines: readonly string[];
  readonly reclaimedBytes: number;
}

interface Wanted {
  readonly isAll: boolean;
  readonly hasVolumes: boolean;
  readonly filters: Filters;
}

async function run({ flags, output, engine }: Invocation): Promise<number> {
  const given = flags.list("filter");
  const wanted: Wanted = {
    isAll: flags.isOn("all"),
    hasVolumes: flags.isOn("volumes"),
    filters: parseFilters(given, { flag: "--filter" }),
  };
  if (wanted.hasVolumes && wanted.filters.has("until")) {
    throw new EngineError(
      "invalid-argument",
      'The "until" filter is not supported with "--volumes"',
    );
  }
  // Docker: no is an answer, not a failure, seen in 28.2
  if (!flags.isOn("force") && !(await confirm(warningOf(wanted, given), output))) return 0;
  let reclaimedBytes = 0;
  const transport = await engine();
  for (const prune of partsOf(wanted)) {
    const part = await prune(transport);
    reclaimedBytes += part.reclaimedBytes;
    if (part.lines.length === 0) continue;
    output.out(`${part.title}\n${part.lines.map((line) => `${line}\n`).join("")}\n`);
  }
  output.out(`Total reclaimed space: ${formatSize(reclaimedBytes)}\n`);
  return 0;
}

/** In Docker's words. */
function warningOf({ isAll, hasVolumes }: Wanted, filters: readonly string[]): string {
  const parts = [
    "all stopped containers",
    "all networks not used by at least one container",
    ...(hasVolumes ? ["all anonymous volumes not used by at least one container"] : []),
    isAll ? "all images without at least one container associated to them" : "all dangling images",
    isAll ? "all build cache" : "unused build cache",
  ];
  const lines = ["WARNING! This will remove:", ...parts.map((part) => `  - ${part}`)];
  if (filters.length > 0) {
    lines.push("", "  Items to be pruned will be filtered with:");
    lines.push(...filters.toSorted().map((filter) => `  - ${filter}`));
  }
  return `${lines.join("\n")}\n`;
}

/** In Docker's order: what goes first lets the next go too. */
function partsOf({
  isAll,
  hasVolumes,
  filters,
}: Wanted): readonly ((transport: Transport) => Promise<Part>)[] {
  const imageFilters = new Map([...filters, ["dangling", [isAll ? "false" : "true"]]]);
  // The cache has no labels.
  const cacheFilters = new Map([...filters].filter(([name]) => !name.startsWith("label")));
  return [
    async (transport) => {
      const pruned = await pruneContainers(transport, filters);
      return part("Deleted Containers:", pruned.ContainersDeleted, pruned.SpaceReclaimed);
    },
    async (transport) => {
      const pruned = await pruneNetworks(transport, filters);
      return part("Deleted Networks:", pruned.NetworksDeleted, 0);
    },
    ...(hasVolumes
      ? [
          async (transport: Transport) => {
            const pruned = await pruneVolumes(transport, filters);
            return part("Deleted Volumes:", pruned.VolumesDeleted, pruned.SpaceReclaimed);
          },
        ]
      : []),
    async (transport) => {
      const pruned = await pruneImages(transport, imageFilters);
      return part("Deleted Images:", imageLines(pruned), pruned.SpaceReclaimed);
    },
    async (transport) => {
      const pruned = await pruneBuildCache(transport, { all: isAll, filters: cacheFilters });
      return part("Deleted build cache objects:", pruned.CachesDeleted, pruned.SpaceReclaimed);
    },
  ];
}

function part(title: string, lines: readonly string[] | null, reclaimedBytes: number): Part {
  return { title, lines: lines ?? [], reclaimedBytes };
}
