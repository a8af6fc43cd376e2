/**
 * What a container does with its volumes and bind sources, from its creation to its removal.
 */
import { closeSync, mkdirSync, readlinkSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { missingBindSource } from "../../lib/docker-messages.ts";
import { codeOf, EngineError, isKind } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { openInRoot, openRoot } from "../../sys/fs/fs.ts";
import { mountOverlay, unmount } from "../../sys/mount/mount.ts";
import { anonymousVolumeLabel } from "../../volume/volume-service.ts";
import { bundleFolder, type Context } from "../context.ts";
import type { MountWish } from "../configuration/mounts.ts";
import type { ContainerRecord, StoredMount } from "../record/record.ts";

/** What a mount of a container is made of, at its place in the record's list. */
export interface MountedSource {
  /** Absolute host path; absent for a tmpfs. */
  readonly path?: string;
}

/** Gives anonymous volumes their names; nothing is made yet. */
export function nameVolumes(wishes: readonly MountWish[]): readonly MountWish[] {
  return wishes.map((wish) => {
    if (wish.type !== "volume" || wish.volume !== undefined) return wish;
    const labels = { ...wish.labels, [anonymousVolumeLabel]: "" };
    return { ...wish, volume: createId(), labels };
  });
}

/** What the record keeps of wishes that have their names. */
export function storedMounts(wishes: readonly MountWish[]): readonly StoredMount[] {
  return wishes.map(({ labels: _labels, driverOptions: _options, ...stored }) => stored);
}

/**
 * Makes the volumes that are not there, and holds all for the container.
 *
 * @throws what the volume service throws; `releaseVolumes` undoes what was done
 */
export async function createVolumes(
  context: Context,
  container: { readonly id: string; readonly wishes: readonly MountWish[] },
): Promise<void> {
  for (const wish of container.wishes) {
    if (wish.volume === undefined) continue;
    await context.volumes.create({
      Name: wish.volume,
      Driver: wish.driver ?? "",
      ...(wish.labels === undefined ? {} : { Labels: wish.labels }),
      ...(wish.driverOptions === undefined ? {} : { DriverOpts: wish.driverOptions }),
    });
    context.volumes.hold(wish.volume, container.id);
  }
}

/** Holds the volumes of a container again after a restart; one that is lost is told, not thrown. */
export function holdVolumes(context: Context, record: ContainerRecord): void {
  for (const { volume } of record.mounts) {
    if (volume === undefined) continue;
    try {
      context.volumes.hold(volume, record.id);
    } catch (error) {
      if (!isKind(error, "not-found")) throw error;
      context.logger.warn("a volume of a container is lost", { container: record.id, volume });
    }
  }
}

/** Lets volumes go; with `remove` those that were made for this container alone are removed. */
export async function releaseVolumes(
  context: Context,
  container: Pick<ContainerRecord, "id" | "mounts">,
  options: { readonly remove: boolean },
): Promise<void> {
  for (const mount of container.mounts) {
    if (mount.volume === undefined) continue;
    context.volumes.release(mount.volume, container.id);
    if (!options.remove || mount.isAnonymous !== true) continue;
    try {
      await context.volumes.remove(mount.volume, { force: true });
    } catch (error) {
      // Another container has taken it over by --volumes-from.
      if (isKind(error, "conflict")) continue;
      const fields = { container: container.id, volume: mount.volume, error };
      context.logger.warn("remove anonymous volume", fields);
    }
  }
}

/** Makes the sources of all mounts ready. A failure leaves none mounted. */
export async function mountVolumes(
  context: Context,
  record: ContainerRecord,
): Promise<readonly MountedSource[]> {
  try {
    return record.mounts.map((mount) => sourceOf(context, record, mount));
  } catch (error) {
    unmountVolumes(context, record);
    throw error;
  }
}

/** Takes `mountVolumes` back. */
export function unmountVolumes(context: Context, record: ContainerRecord): void {
  for (const { volume } of record.mounts) {
    if (volume !== undefined) context.volumes.unmount(volume, record.id);
  }
}

/** Where a volume's files are; "" for one that is lost. */
export function volumePath(context: Context, name: string): string {
  return context.volumes.find(name)?.Mountpoint ?? "";
}

function sourceOf(context: Context, record: ContainerRecord, mount: StoredMount): MountedSource {
  switch (mount.type) {
    case "tmpfs":
      return {};
    case "bind":
      return { path: bindSource(mount) };
    case "volume": {
      const { path } = context.volumes.mount(mount.volume ?? "", {
        containerId: record.id,
        target: mount.target,
        isReadOnly: mount.isReadOnly,
        propagation: mount.propagation,
      });
      return { path: mount.subpath === undefined ? path : resolveBelow(path, mount.subpath) };
    }
  }
}

function bindSource(mount: StoredMount): string {
  const source = mount.source ?? "";
  if (statSync(source, { throwIfNoEntry: false }) !== undefined) return source;
  if (mount.isSourceMade !== true) throw missingBindSource(source);
  try {
    mkdirSync(source, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new EngineError(
      "invalid-argument",
      `error while creating mount source path '${source}': mkdir ${source}: ${codeOf(error) ?? error}`,
      { cause: error },
    );
  }
  return source;
}

/** The path of `path` below `root`, links resolved there. @throws not-found */
function resolveBelow(root: string, path: string): string {
  const rootFd = openRoot(root);
  try {
    // O_PATH: whatever it is, it is not opened.
    const fd = openInRoot(rootFd, path, pathOnly);
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(rootFd);
  }
}

/** O_PATH, which node:fs does not name. @see man 2 open */
const pathOnly = 0o10000000;

/**
 * Copies what the image has at the targets of volumes into those that are empty.
 */
export async function populateVolumes(
  context: Context,
  container: Pick<ContainerRecord, "id" | "mounts">,
): Promise<void> {
  const wanted = container.mounts.filter(
    (mount) =>
      mount.volume !== undefined && mount.isCopyDisabled !== true && mount.subpath === undefined,
  );
  if (wanted.length === 0) return;
  const root = mountImage(context, container.id);
  if (root === undefined) return;
  try {
    for (const { volume = "", target } of wanted) {
      const source = findBelow(root.path, target);
      if (source !== undefined) await context.volumes.populate(volume, source);
    }
  } finally {
    root.close();
  }
}

function findBelow(root: string, target: string): string | undefined {
  try {
    return resolveBelow(root, target);
  } catch (error) {
    const code = isKind(error) ? error.details["code"] : undefined;
    if (isKind(error, "not-found") || code === "ENOTDIR" || code === "ELOOP") return undefined;
    throw error;
  }
}

/** Shows the image's file system for a moment; undefined for an image without layers. */
function mountImage(
  context: Context,
  id: string,
): { readonly path: string; readonly close: () => void } | undefined {
  const rootfs = context.snapshots.mounts(id);
  if (rootfs.type === "bind") {
    return rootfs.source === undefined
      ? undefined
      : { path: rootfs.source, close: () => undefined };
  }
  const [only, ...others] = rootfs.lowerDirs ?? [];
  if (only === undefined) return undefined;
  if (others.length === 0) return { path: only, close: () => undefined };
  const bundle = bundleFolder(context, id);
  const target = join(bundle, "image");
  mkdirSync(target, { recursive: true, mode: 0o700 });
  mountOverlay({ lowerDirs: [only, ...others], target });
  return {
    path: target,
    close: () => {
      unmount(target, { detach: true });
      rmdirSync(target);
    },
  };
}
