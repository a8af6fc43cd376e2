import { pruneContainers } from "../../client/containers.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../flag/filters.ts";
import { prune, pruneFlags } from "../prune.ts";

/** Removes all stopped containers. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: pruneFlags,
  run,
};

function run(invocation: Invocation): Promise<number> {
  const filters = parseFilters(invocation.flags.list("filter"), { flag: "--filter" });
  return prune(invocation, {
    warning: "This will remove all stopped containers.",
    act: async () => {
      const pruned = await pruneContainers(await invocation.engine(), filters);
      return {
        title: "Deleted Containers:",
        lines: pruned.ContainersDeleted ?? [],
        reclaimedBytes: pruned.SpaceReclaimed,
      };
    },
  });
}
