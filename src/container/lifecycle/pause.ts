import { alreadyPaused, containerNotRunning, notPaused } from "../../lib/docker-messages.ts";
import { type Context, publish } from "../context.ts";
import { freezeCgroup, thawCgroup } from "./_freezer.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { cgroupPathOf } from "../bundle/spec-plan.ts";

/** Stops all processes of a container where they are. The caller holds its lock. @throws conflict */
export async function pauseContainer(context: Context, container: LiveContainer): Promise<void> {
  if (container.record.phase === "paused") throw alreadyPaused(container.id);
  if (!container.isRunning) throw containerNotRunning(container.id);
  await freezeCgroup(cgroupPathOf(context, container.record));
  context.store.note(container, { phase: "paused" });
  publish(context, container, { action: "pause" });
}

/** Lets them go on. The caller holds its lock. @throws conflict */
export function unpauseContainer(context: Context, container: LiveContainer): void {
  if (container.record.phase !== "paused") throw notPaused(container.id);
  thawCgroup(cgroupPathOf(context, container.record));
  context.store.note(container, { phase: "running" });
  publish(context, container, { action: "unpause" });
}
