/**
 * The end of a container's process: told by its shim, or found after a restart of the daemon.
 */
import { sleep } from "../../lib/concurrency/retry.ts";
import { messageOf } from "../../lib/errors.ts";
import type { ExitStatus } from "../../runtime/shim-protocol.ts";
import type { Shim, ShimListener } from "../../runtime/shim.ts";
import { type Context, publish } from "../context.ts";
import { giveBack } from "./_give-back.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { execEnded, execsLost } from "../process/exec.ts";
import { removeContainer } from "./remove.ts";

/** Exit code of a container whose shim was killed: SIGKILL's. */
const exitCodeLost = 137;

/**
 * A container that removes itself stays for so long after its end, unless somebody waits for that:
 * who has read its log to the end then asks how it ended.
 */
// Docker: its removal takes some of that; its SDK for Python runs containers so, seen in 28.5
const autoRemoveDelayMs = 250;

/** Hears what a shim tells of its container. */
export function listenTo(context: Context, container: LiveContainer, shim: Shim): ShimListener {
  return {
    exited: (status) => handleLater(context, container, { shim, status }),
    oomKilled: () => oomKilled(context, container),
    execExited: (execId, status) => execEnded(context, container, { execId, status }),
    lost: (reason) =>
      handleLater(context, container, { shim, status: lostStatus(context, reason) }),
  };
}

/** How a container ended of which nothing is known but why. */
export function lostStatus(context: Pick<Context, "now">, reason: string): ExitStatus {
  return {
    exitCode: exitCodeLost,
    exitedAtNs: String(context.now()),
    isOomKilled: false,
    error: reason,
  };
}

interface End {
  readonly shim?: Shim;
  readonly status: ExitStatus;
}

function handleLater(context: Context, container: LiveContainer, end: End): void {
  if (context.tasks.signal.aborted) return;
  context.tasks.run(`end of container ${container.id}`, async () => {
    await context.locks.run(container.id, () => handleExit(context, container, end));
  });
}

function oomKilled(context: Context, container: LiveContainer): void {
  if (container.record.isOomKilled) return;
  publish(context, container, { action: "oom" });
  if (container.isRunning) context.store.note(container, { isOomKilled: true });
}

/**
 * Stores how a container ended, tells it, and gives back what it held; under its lock.
 *
 * A shim that the container does not have any more is not listened to.
 */
export async function handleExit(
  context: Context,
  container: LiveContainer,
  end: End,
): Promise<void> {
  const { record } = container;
  const { status } = end;
  if (record.task === undefined || record.task.hasEnded === true) return;
  if (end.shim !== undefined && end.shim !== container.shim) return;
  const { task } = record;
  const isAutoRemoved = record.hostConfig.AutoRemove && !container.isRemoving;
  const isAwaited = container.isAwaited("exit") || container.isAwaited("removal");
  const isRemoved = isAutoRemoved && isAwaited;
  if (isRemoved) container.isRemoving = true;
  const change = {
    phase: isRemoved ? "removing" : "exited",
    exitCode: status.exitCode,
    error: status.error ?? "",
    isOomKilled: status.isOomKilled || record.isOomKilled,
    finishedNs: status.exitedAtNs,
    task: { ...task, hasEnded: true },
  } as const;
  // Of one that goes at once the next daemon would find the end again by its shim.
  if (isRemoved) context.store.keep(container, change);
  else context.store.note(container, change);
  container.shim = undefined;
  container.specInput = undefined;
  if (status.isOomKilled && !record.isOomKilled) publish(context, container, { action: "oom" });
  execsLost(context, container);
  const told = tellEnd(context, container, { isStored: !isRemoved });
  const givenBack = giveBack(context, container, {
    ...(task.endpoint === undefined ? {} : { endpoint: task.endpoint }),
    shimName: task.shimName,
    hasVolumes: true,
  });
  await Promise.all([told, givenBack]);
  // Stored with the next change: until then it is given back once more, which does no harm.
  const { task: _, ...rest } = container.record;
  container.record = rest;
  if (isRemoved) await autoRemove(context, container);
  else if (isAutoRemoved) autoRemoveLater(context, container);
}

/** Removes it a while after; a daemon that stops first leaves it to the next one. */
function autoRemoveLater(context: Context, container: LiveContainer): void {
  if (context.tasks.signal.aborted) return;
  context.tasks.run(`removal of container ${container.id}`, async (signal) => {
    await sleep(autoRemoveDelayMs, signal);
    await context.locks.run(container.id, async () => {
      const isThere = context.store.has(container.id) && !container.isRemoving;
      if (isThere && !container.isRunning) await autoRemove(context, container);
    });
  });
}

async function autoRemove(context: Context, container: LiveContainer): Promise<void> {
  try {
    await removeContainer(context, container, { volumes: true });
  } catch (error) {
    context.logger.error("auto-remove container", { container: container.id, error });
    context.logger.debug(messageOf(error));
  }
}

async function tellEnd(
  context: Context,
  container: LiveContainer,
  { isStored }: { readonly isStored: boolean },
): Promise<void> {
  if (isStored) await context.store.flushNotes();
  const { exitCode, startedNs, finishedNs } = container.record;
  const durationNs =
    startedNs === undefined || finishedNs === undefined
      ? 0n
      : BigInt(finishedNs) - BigInt(startedNs);
  const seconds = durationNs < 0n ? 0n : durationNs / 1_000_000_000n;
  publish(context, container, {
    action: "die",
    attributes: { exitCode: String(exitCode), execDuration: String(seconds) },
  });
  container.tell("exit", container.lastResult);
}
