import { pruneVolumes } from "../../client/volumes.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../flag/filters.ts";
import { switchFlag } from "../flag/flags.ts";
import { EngineError } from "../../lib/errors.ts";
import { prune, pruneFlags } from "../prune.ts";

/** Removes volumes that no container uses. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    ...pruneFlags,
    switchFlag("all", "Remove all unused volumes, not just anonymous ones", { short: "a" }),
  ],
  run,
};

function run(invocation: Invocation): Promise<number> {
  const isAll = invocation.flags.isOn("all");
  const filters = parseFilters(invocation.flags.list("filter"), { flag: "--filter" });
  if (isAll) {
    if (filters.has("all")) {
      throw new EngineError(
        "invalid-argument",
        "conflicting options: cannot specify both --all and --filter all=1",
      );
    }
    filters.set("all", ["true"]);
  }
  return prune(invocation, {
    warning: isAll
      ? "This will remove all local volumes not used by at least one container."
      : "This will remove anonymous local volumes not used by at least one container.",
    act: async () => {
      const pruned = await pruneVolumes(await invocation.engine(), filters);
      return {
        title: "Deleted Volumes:",
        lines: pruned.VolumesDeleted ?? [],
        reclaimedBytes: pruned.SpaceReclaimed,
      };
    },
  });
}
