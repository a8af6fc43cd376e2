import type { ImagePruneResponse } from "../../api/image.ts";
import { pruneImages } from "../../client/images.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../flag/filters.ts";
import { switchFlag } from "../flag/flags.ts";
import { prune, pruneFlags } from "../prune.ts";

/** Removes images that nothing uses. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    ...pruneFlags,
    switchFlag("all", "Remove all unused images, not just dangling ones", { short: "a" }),
  ],
  run,
};

function run(invocation: Invocation): Promise<number> {
  const isAll = invocation.flags.isOn("all");
  const filters = parseFilters(invocation.flags.list("filter"), { flag: "--filter" });
  filters.set("dangling", [isAll ? "false" : "true"]);
  return prune(invocation, {
    warning: isAll
      ? "This will remove all images without at least one container associated to them."
      : "This will remove all dangling images.",
    act: async () => {
      const pruned = await pruneImages(await invocation.engine(), filters);
      return {
        title: "Deleted Images:",
        lines: imageLines(pruned),
        reclaimedBytes: pruned.SpaceReclaimed,
      };
    },
  });
}

/** Shows what has become of images. */
export function imageLines({ ImagesDeleted: items }: ImagePruneResponse): readonly string[] {
  return (items ?? []).map(({ Untagged: untagged, Deleted: deleted }) =>
    untagged === undefined || untagged === "" ? `deleted: ${deleted}` : `untagged: ${untagged}`,
  );
}
