import { pruneBuildCache } from "../../client/builds.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../filters.ts";
import { switchFlag, textFlag } from "../flags.ts";
import { prune, pruneFlags } from "../prune.ts";

/** Removes build cache. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    ...pruneFlags,
    switchFlag("all", "Remove all unused build cache, not just dangling ones", { short: "a" }),
    textFlag("keep-storage", "Amount of disk space to keep for cache", { placeholder: "bytes" }),
  ],
  completes: "none",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { flags, engine } = invocation;
  const all = flags.isOn("all");
  const filters = parseFilters(flags.list("filter"));
  return await prune(invocation, {
    warning: all
      ? "This will remove all build cache. Are you sure you want to continue?"
      : "This will remove all dangling build cache. Are you sure you want to continue?",
    act: async () => {
      const pruned = await pruneBuildCache(await engine(), {
        all,
        filters,
        ...(flags.isGiven("keep-storage") ? { keepBytes: flags.sizeBytes("keep-storage") } : {}),
      });
      return {
        title: "Deleted build cache objects:",
        lines: pruned.CachesDeleted ?? [],
        reclaimedBytes: pruned.SpaceReclaimed,
      };
    },
  });
}
