/**
 * Removing containers.
 *
 * 1. Anonymous volumes go; the record says so first. 2. Record and snapshot go, in one transaction.
 * 3. The folders go. A removal that was cut short is finished by the next daemon.
 */
import { rm } from "node:fs/promises";
import {
  cannotRemovePaused,
  cannotRemoveRunning,
  removalInProgress,
} from "../../lib/docker-messages.ts";
import { EngineError, isKind, messageOf } from "../../lib/errors.ts";
import { withDeadline } from "../../lib/concurrency/deadline.ts";
import { signalProcess } from "../../sys/process/process.ts";
import { type Context, containerFolder, publish } from "../context.ts";
import { removeBundle } from "./_give-back.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { killHard } from "./stop.ts";
import { releaseVolumes } from "../bundle/volume-use.ts";

/** How long a forced removal waits for a start that is under way. */
const startWaitMaxMs = 2000;

/** What `remove` may be asked. */
export interface RemoveOptions {
  readonly volumes: boolean;
  readonly force: boolean;
  readonly link: boolean;
}

/**
 * Removes a container by request.
 *
 * @param name as the caller gave it
 * @throws conflict when it runs and force was not asked, or when it is being removed
 */
export async function removeByRequest(
  context: Context,
  container: LiveContainer,
  options: RemoveOptions & { readonly name: string },
): Promise<void> {
  const { name, force } = options;
  if (options.link) {
    throw new EngineError(
      "conflict",
      "Conflict, cannot remove the default link name of the container",
    );
  }
  if (container.isRemoving) throw removalInProgress(name);
  if (!force) refuseAlive(container, name);
  container.isRemoving = true;
  try {
    let isOver = false;
    while (!isOver) {
      if (force) await endIt(context, container);
      isOver = await context.locks.run(container.id, async () => {
        if (!context.store.has(container.id)) return true;
        // A start may have held the lock, and not have said so yet: what it started is ended too.
        if (container.isRunning && force) return false;
        if (container.isRunning) throw cannotRemoveRunning(name);
        await removeContainer(context, container, { volumes: options.volumes });
        return true;
      });
    }
  } catch (error) {
    container.isRemoving = false;
    throw error;
  }
}

function refuseAlive(container: LiveContainer, name: string): void {
  const { phase } = container.record;
  if (phase === "paused") throw cannotRemovePaused(name);
  if (phase === "running" || phase === "starting") throw cannotRemoveRunning(name);
}

/** Kills whatever of the container is alive, a shim that hangs included. */
async function endIt(context: Context, container: LiveContainer): Promise<void> {
  if (container.record.phase === "starting") await endStart(context, container);
  if (!container.isRunning) return;
  await killHard(context, container);
}

async function endStart(context: Context, container: LiveContainer): Promise<void> {
  const started = context.locks.run(container.id, async () => undefined);
  try {
    await withDeadline(started, startWaitMaxMs, `start of container ${container.id} hangs`);
  } catch (error) {
    if (!isKind(error, "deadline-exceeded")) throw error;
    const shim = container.shim;
    context.logger.warn("a start is cut short by removal", { container: container.id });
    if (shim !== undefined) signalProcess(shim.pid, "SIGKILL");
    await started;
  }
}

/**
 * Removes a container that does not run, under its lock. May be called again after a failure.
 *
 * @throws internal when something of it could not be removed; it is `dead` then
 */
export async function removeContainer(
  context: Context,
  container: LiveContainer,
  options: { readonly volumes: boolean },
): Promise<void> {
  const { id, record } = container;
  container.isRemoving = true;
  const change = { phase: "removing", removal: options } as const;
  // Volumes go one by one: whoever finds the record later must go on with them.
  const hasOwn = options.volumes && record.mounts.some((mount) => mount.isAnonymous === true);
  if (hasOwn) context.store.note(container, change);
  else context.store.keep(container, change);
  for (const stream of container.pendingStreams) stream.abandon();
  container.pendingStreams.clear();
  try {
    await releaseVolumes(context, record, { remove: options.volumes });
    // Snapshot and container are gone together, or there together.
    await context.store.remove(container, () => context.snapshots.remove(id));
  } catch (error) {
    if (!context.store.has(id)) {
      context.logger.warn("snapshot of a removed container is left", { container: id, error });
    } else {
      container.isRemoving = false;
      const reason = `could not be removed: ${messageOf(error)}`;
      context.store.note(container, { phase: "dead", error: reason });
      throw new EngineError("internal", `remove container ${id}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
  await context.store.flush();
  context.execs.removeOf(container);
  publish(context, container, { action: "destroy" });
  container.tell("removal", container.lastResult);
  container.tell("exit", container.lastResult);
  removeFolders(context, id);
}

/** Nobody waits for it: what a crash leaves is swept at the next start. */
function removeFolders(context: Context, id: string): void {
  if (context.tasks.signal.aborted) return;
  context.tasks.run(`remove folders of container ${id}`, async () => {
    await rm(containerFolder(context, id), { recursive: true, force: true });
    removeBundle(context, id);
  });
}
