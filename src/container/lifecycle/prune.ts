import { checkFilterNames, matchesLabels } from "../../lib/filters.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { parseTime } from "../../lib/time.ts";
import type { Context } from "../context.ts";
import type { FilterMap } from "../container-service.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { removeByRequest } from "./remove.ts";

/**
 * Removes all containers that do not run and pass the filters `until` and `label`, `label!`.
 *
 * @throws invalid-argument for filters that are none
 */
export async function pruneContainers(
  context: Context,
  filters: FilterMap,
): Promise<{ readonly ContainersDeleted: readonly string[]; readonly SpaceReclaimed: number }> {
  checkFilterNames(filters, ["label", "label!", "until"]);
  const until = untilOf(context, filters);
  const deleted: string[] = [];
  let reclaimedBytes = 0;
  for (const container of context.store.all()) {
    if (!isPruned(container, filters, until)) continue;
    const sizeBytes = await sizeOf(context, container);
    try {
      await removeByRequest(context, container, {
        name: container.record.name,
        volumes: false,
        force: false,
        link: false,
      });
    } catch (error) {
      // Somebody else removed or started it meanwhile.
      if (isKind(error, "conflict", "not-found")) continue;
      context.logger.warn("prune container", { container: container.id, error });
      continue;
    }
    deleted.push(container.id);
    reclaimedBytes += sizeBytes;
  }
  context.events.publish({
    type: "container",
    action: "prune",
    id: "",
    attributes: { reclaimed: String(reclaimedBytes) },
  });
  return { ContainersDeleted: deleted, SpaceReclaimed: reclaimedBytes };
}

function isPruned(
  container: LiveContainer,
  filters: FilterMap,
  until: bigint | undefined,
): boolean {
  const { phase, createdNs, config } = container.record;
  if (!["created", "exited", "dead"].includes(phase) || container.isRemoving) return false;
  if (until !== undefined && BigInt(createdNs) > until) return false;
  return (
    matchesLabels(config.Labels, filters.get("label")) &&
    matchesLabels(config.Labels, filters.get("label!"), { negate: true })
  );
}

function untilOf(context: Context, filters: FilterMap): bigint | undefined {
  const values = filters.get("until") ?? [];
  const [value] = values;
  if (value === undefined) return undefined;
  if (values.length > 1) {
    throw new EngineError("invalid-argument", "more than one until filter specified");
  }
  return parseTime(value, { nowNs: context.now() });
}

async function sizeOf(context: Context, container: LiveContainer): Promise<number> {
  if (context.snapshots.find(container.id) === undefined) return 0;
  return (await context.snapshots.usage(container.id)).sizeBytes;
}
