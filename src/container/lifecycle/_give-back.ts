import { rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import type { Endpoint } from "../../network/network-service.ts";
import type { Shim } from "../../runtime/shim.ts";
import { bundleFolder, type Context } from "../context.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { closeSharedMemory } from "../bundle/namespaces.ts";
import { unmountVolumes } from "../bundle/volume-use.ts";

/** What a container held. */
export interface Held {
  /** A shim whose container did not start, or whose start is undone: its process is killed. */
  readonly shim?: Shim;
  readonly endpoint?: Endpoint;
  /** Name of the shim whose folder is no longer needed. */
  readonly shimName?: string;
  readonly hasVolumes: boolean;
}

/** Gives back what a container held. Never throws: what fails is told to the log, the rest goes on. */
export async function giveBack(
  context: Context,
  container: LiveContainer,
  held: Held,
): Promise<void> {
  const { record } = container;
  const attempt = async (what: string, work: () => Promise<void> | void): Promise<void> => {
    try {
      await work();
    } catch (error) {
      context.logger.warn(`${what} of container`, { container: record.id, error });
    }
  };
  const { shim, endpoint, shimName } = held;
  // Whatever it has come to: a process that runs goes with it.
  if (shim !== undefined) await attempt("abandon shim", () => shim.abandon());
  if (endpoint !== undefined) {
    await attempt("disconnect network", () =>
      context.networks.disconnect(endpoint, { containerId: record.id }),
    );
  }
  if (held.hasVolumes) await attempt("unmount volumes", () => unmountVolumes(context, record));
  await attempt("unmount shared memory", () => closeSharedMemory(context, record));
  const name = shimName ?? shim?.name;
  if (name !== undefined) await attempt("forget shim", () => context.shims.forget(name));
}

/** Removes the bundle. A root file system that is still mounted there is left, with a word. */
export function removeBundle(context: Context, id: string): void {
  const bundle = bundleFolder(context, id);
  for (const name of ["rootfs", "shm"]) {
    try {
      rmdirSync(join(bundle, name));
    } catch (error) {
      if (codeOf(error) === "ENOENT") continue;
      context.logger.warn("bundle of container is left", { container: id, error });
      return;
    }
  }
  rmSync(bundle, { recursive: true, force: true });
}
