import { pruneBuildCache } from "../../client/builds.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../flag/filters.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { prune, pruneFlags } from "../prune.ts";

const bytes = { placeholder: "bytes" };

/** Removes build cache. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    ...pruneFlags,
    switchFlag("all", "Remove all unused build cache, not just dangling ones", { short: "a" }),
    textFlag("max-used-space", "Maximum amount of disk space allowed to keep for cache", bytes),
    textFlag("min-free-space", "Target amount of free disk space after pruning", bytes),
    textFlag("reserved-space", "Amount of disk space always allowed to keep for cache", bytes),
    textFlag("keep-storage", "Amount of disk space to keep for cache: reserved-space", bytes),
  ],
  completes: "none",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { flags, engine } = invocation;
  const all = flags.isOn("all");
  const filters = parseFilters(flags.list("filter"), { flag: "--filter" });
  const spaceOf = (key: string, flag: string): Readonly<Record<string, number>> =>
    flags.isGiven(flag) ? { [key]: flags.sizeBytes(flag) } : {};
  return await prune(invocation, {
    warning: all
      ? "This will remove all build cache. Are you sure you want to continue?"
      : "This will remove all dangling build cache. Are you sure you want to continue?",
    act: async () => {
      const pruned = await pruneBuildCache(await engine(), {
        all,
        filters,
        ...spaceOf("maxUsedBytes", "max-used-space"),
        ...spaceOf("minFreeBytes", "min-free-space"),
        ...spaceOf("reservedBytes", "keep-storage"),
        ...spaceOf("reservedBytes", "reserved-space"),
      });
      return {
        title: "Deleted build cache objects:",
        lines: pruned.CachesDeleted ?? [],
        reclaimedBytes: pruned.SpaceReclaimed,
      };
    },
  });
}
