/**
 * What the daemon finds at its start: containers that run, that ended meanwhile, that were on their
 * way in or out. One that cannot be dealt with never stops the rest.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { codeOf, messageOf } from "../../lib/errors.ts";
import type { RecoveredShim } from "../../runtime/shim.ts";
import type { Context } from "../context.ts";
import { handleExit, listenTo, lostStatus } from "./exit.ts";
import { thawCgroup } from "./_freezer.ts";
import { removeBundle } from "./_give-back.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { removeContainer } from "./remove.ts";
import { cgroupPathOf } from "../bundle/spec-plan.ts";
import { holdVolumes } from "../bundle/volume-use.ts";

const idForm = /^[0-9a-f]{64}$/;

/** Brings records and reality together again. */
export async function recoverContainers(context: Context): Promise<void> {
  const containers = context.store.all();
  for (const container of containers) holdVolumes(context, container.record);
  const found = await findShims(context, containers);
  const ended: (() => Promise<void>)[] = [];
  for (const container of containers) {
    const shim = found.get(container.id);
    try {
      if (shim?.kind === "running") resume(context, container, shim);
      else if (container.record.task !== undefined) {
        ended.push(() => conclude(context, container, shim));
      }
    } catch (error) {
      tell(context, container, error);
    }
  }
  await recoverNetworks(context, containers);
  for (const work of ended) await work();
  for (const container of containers) await finishRemoval(context, container);
  await sweep(context);
}

async function findShims(
  context: Context,
  containers: readonly LiveContainer[],
): Promise<ReadonlyMap<string, RecoveredShim>> {
  const known = containers.flatMap(({ id, record: { task } }) =>
    task === undefined || task.hasEnded === true ? [] : [{ name: task.shimName, containerId: id }],
  );
  const found = await context.shims.recover(known);
  return new Map(
    found.map((shim) => [shim.kind === "running" ? shim.shim.containerId : shim.containerId, shim]),
  );
}

/** Goes on with a container that runs. */
function resume(
  context: Context,
  container: LiveContainer,
  found: Extract<RecoveredShim, { kind: "running" }>,
): void {
  const { shim } = found;
  const { record } = container;
  container.shim = shim;
  for (const { volume, target, isReadOnly } of record.mounts) {
    if (volume !== undefined) {
      context.volumes.mount(volume, { containerId: record.id, target, isReadOnly });
    }
  }
  shim.listen(listenTo(context, container, shim));
  endCommitPause(context, container);
}

/** A commit that the last daemon did not finish leaves no container stopped. */
function endCommitPause(context: Context, container: LiveContainer): void {
  if (container.record.isCommitPaused !== true) return;
  thawCgroup(cgroupPathOf(context, container.record));
  context.store.note(container, { phase: "running", isCommitPaused: undefined });
}

async function recoverNetworks(
  context: Context,
  containers: readonly LiveContainer[],
): Promise<void> {
  const running = containers.flatMap(({ id, shim, record: { task } }) =>
    shim === undefined || task?.endpoint === undefined
      ? []
      : [{ containerId: id, endpoint: task.endpoint, ports: task.ports }],
  );
  await context.networks.recover(running);
}

/** Deals with a container whose process is gone. */
async function conclude(
  context: Context,
  container: LiveContainer,
  found: RecoveredShim | undefined,
): Promise<void> {
  const { record } = container;
  try {
    if (record.isCommitPaused === true)
      context.store.note(container, { isCommitPaused: undefined });
    if (record.task?.hasEnded === true) {
      await context.shims.forget(record.task.shimName);
      context.store.note(container, { task: undefined });
    } else {
      const status =
        found?.kind === "exited"
          ? found.status
          : lostStatus(context, found?.kind === "lost" ? found.reason : "its shim is lost");
      await handleExit(context, container, { status });
    }
  } catch (error) {
    tell(context, container, error);
  }
}

async function finishRemoval(context: Context, container: LiveContainer): Promise<void> {
  const { phase, hostConfig, removal, startedNs } = container.record;
  if (!context.store.has(container.id)) return;
  const isLeftOver = phase === "exited" && hostConfig.AutoRemove && startedNs !== undefined;
  if (phase !== "removing" && !isLeftOver) return;
  try {
    await removeContainer(context, container, removal ?? { volumes: isLeftOver });
  } catch (error) {
    tell(context, container, error);
  }
}

/** Removes what no record knows. */
async function sweep(context: Context): Promise<void> {
  for (const info of context.snapshots.list()) {
    // Keys of containers are IDs; other active snapshots belong to unpacks.
    if (info.kind !== "active" || !idForm.test(info.key) || context.store.has(info.key)) continue;
    try {
      await context.snapshots.remove(info.key);
    } catch (error) {
      context.logger.warn("sweep snapshot", { snapshot: info.key, error });
    }
  }
  for (const root of [context.dataRoot, context.execRoot]) {
    for (const name of namesIn(join(root, "containers"))) {
      if (!idForm.test(name) || context.store.has(name)) continue;
      try {
        if (root === context.execRoot) removeBundle(context, name);
        else rmSync(join(root, "containers", name), { recursive: true, force: true });
      } catch (error) {
        context.logger.warn("sweep folder of container", { container: name, error });
      }
    }
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

function tell(context: Context, container: LiveContainer, error: unknown): void {
  context.logger.error("recover container", { container: container.id, reason: messageOf(error) });
}
