import { alreadyPaused, containerNotRunning, notPaused } from "../../lib/docker-messages.ts";
import { codeOf } from "../../lib/errors.ts";
import { type Context, publish } from "../context.ts";
import { freezeCgroup, thawCgroup } from "./_freezer.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { cgroupPathOf } from "../bundle/spec-plan.ts";

/** Stops all processes of a container where they are. The caller holds its lock. @throws conflict */
export async function pauseContainer(context: Context, container: LiveContainer): Promise<void> {
  if (container.record.phase === "paused") throw alreadyPaused(container.id);
  if (!container.isRunning) throw containerNotRunning(container.id);
  const path = cgroupPathOf(context, container.record);
  try {
    await freezeCgroup(path);
  } catch (error) {
    // It has ended meanwhile, and its cgroup with it.
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENODEV") throw error;
    throw containerNotRunning(container.id);
  }
  // A frozen process does not end, whatever it was sent.
  if (container.killedPid === container.record.task?.pid) {
    thawCgroup(path);
    throw containerNotRunning(container.id);
  }
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
