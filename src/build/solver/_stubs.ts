/**
 * Removes from a layer what the start of its command made only to mount on.
 *
 * An OCI runtime makes missing mount points: empty files and folders that nobody asked for and that
 * would make the layer of `RUN true` different each time.
 */
import {
  type BigIntStats,
  lstatSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import { join, posix } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import { getXattr } from "../../sys/fs/fs.ts";
import type { SnapshotLayers } from "../../snapshot/snapshotter.ts";

/** As the kernel's MAXSYMLINKS. */
const linksMax = 40;
const opaqueAttribute = "trusted.overlay.opaque";

/**
 * Removes mount points that are empty and that no layer below has, the folders on the way to them,
 * and copies of folders below that hold nothing more.
 *
 * @param targets absolute paths, as the command saw them
 */
export function removeStubs(layers: SnapshotLayers, targets: readonly string[]): void {
  // Deep ones first, so that what holds them is empty when its turn comes.
  const sorted = targets.toSorted((a, b) => b.split("/").length - a.split("/").length);
  for (const target of sorted) {
    const path = resolveTarget(layers, target);
    if (path !== undefined) removeStub(layers, path);
  }
}

function removeStub({ dir, parentDirs, kind }: SnapshotLayers, path: string): void {
  // Of a copy nothing tells what was there before.
  if (kind === "copy") return;
  let at = path;
  const own = lstat(join(dir, at));
  if (own !== undefined) {
    if (find(parentDirs, at) !== undefined || !removeEmpty(join(dir, at), own)) return;
  } else if (find([dir, ...parentDirs], at) !== undefined) return;
  for (at = posix.dirname(at); at !== "/"; at = posix.dirname(at)) {
    const folder = lstat(join(dir, at));
    if (folder === undefined) continue;
    const below = find(parentDirs, at);
    if (below !== undefined && !isPlainCopy(join(dir, at), { own: folder, below })) return;
    if (!removeEmpty(join(dir, at), folder)) return;
  }
}

/** Tells whether it was empty and is gone. */
function removeEmpty(path: string, stat: BigIntStats): boolean {
  if (stat.isFile() && stat.size === 0n) {
    unlinkSync(path);
    return true;
  }
  if (!stat.isDirectory()) return false;
  try {
    if (readdirSync(path).length > 0) return false;
    rmdirSync(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOTEMPTY") return false;
    throw error;
  }
}

/** Whether a folder is what overlayfs makes of one below when something in it changes. */
function isPlainCopy(
  path: string,
  stats: { readonly own: BigIntStats; readonly below: BigIntStats },
): boolean {
  const { own, below } = stats;
  return (
    own.isDirectory() &&
    below.isDirectory() &&
    own.mode === below.mode &&
    own.uid === below.uid &&
    own.gid === below.gid &&
    !isOpaque(path)
  );
}

/** The path that `target` is, links of all layers followed; undefined when they lead nowhere. */
function resolveTarget({ dir, parentDirs }: SnapshotLayers, target: string): string | undefined {
  const layers = [dir, ...parentDirs];
  let names = target.split("/").filter((name) => name !== "");
  let at = "/";
  for (let links = 0; names.length > 0; ) {
    const [name = "", ...rest] = names;
    const next = posix.join(at, name);
    const link = linkOf(layers, next);
    if (link === undefined) {
      at = next;
      names = rest;
      continue;
    }
    links += 1;
    if (links > linksMax) return undefined;
    const path = link.startsWith("/") ? link : posix.join(at, link);
    names = [...posix.normalize(path).split("/"), ...rest].filter((part) => part !== "");
    at = "/";
  }
  return at === "/" ? undefined : at;
}

function linkOf(layers: readonly string[], path: string): string | undefined {
  const found = find(layers, path);
  if (found?.isSymbolicLink() !== true) return undefined;
  for (const layer of layers) {
    if (lstat(join(layer, path))?.isSymbolicLink() === true) return readlinkSync(join(layer, path));
  }
  return undefined;
}

/** What an overlay of `layers` shows at `path`; links are not followed. */
function find(layers: readonly string[], path: string): BigIntStats | undefined {
  const names = path.split("/").filter((name) => name !== "");
  for (const layer of layers) {
    let at = layer;
    let hides = false;
    for (const [index, name] of names.entries()) {
      at = join(at, name);
      const stat = lstat(at);
      if (stat === undefined) {
        if (hides) return undefined;
        break;
      }
      if (stat.isCharacterDevice() && stat.rdev === 0n) return undefined;
      if (index === names.length - 1) return stat;
      if (!stat.isDirectory()) return undefined;
      hides ||= isOpaque(at);
    }
  }
  return undefined;
}

function isOpaque(path: string): boolean {
  return Buffer.from(getXattr(path, opaqueAttribute) ?? []).toString() === "y";
}

function lstat(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (codeOf(error) === "ENOTDIR" || codeOf(error) === "ENAMETOOLONG") return undefined;
    throw error;
  }
}
