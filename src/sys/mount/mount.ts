/**
 * Mounts: overlay stacks of any height, binds, propagation, and what is mounted now.
 */
import { realpathSync } from "node:fs";
import { mount, mountAttrReadOnly, mountFlags, setAttributes } from "./_mount-calls.ts";
import { readMountInfo } from "./_mount-info.ts";
import { nodeFailure, systemCode } from "../libc.ts";

// biome-ignore lint/performance/noBarrelFile: the public face of one noun in several files
export { bindMount, mount, mountFlags, unmount } from "./_mount-calls.ts";
export { type MountInfo, parseMountInfo, readMountInfo } from "./_mount-info.ts";
export { mountOverlay, type OverlayOptions } from "./_overlay.ts";

const atRecursive = 0x8000;

/** How mounts made at one place appear at its copies; with `r`, for everything below as well. */
export type Propagation =
  | "private"
  | "rprivate"
  | "slave"
  | "rslave"
  | "shared"
  | "rshared"
  | "unbindable"
  | "runbindable";

/** Changes the propagation of the mount at `target`. */
export function setPropagation(target: string, kind: Propagation): void {
  const name = kind.replace(/^r/, "");
  const recursive = name === kind ? 0 : mountFlags.recursive;
  const flag = new Map<string, number>(Object.entries(mountFlags)).get(name) ?? 0;
  mount({ source: "none", target, type: "none", flags: flag | recursive });
}

/** Makes the mount at `path` and all below it read-only (Linux 5.12; ENOSYS before). */
export function makeRecursiveReadOnly(path: string): void {
  setAttributes(path, { flags: atRecursive, set: mountAttrReadOnly });
}

/** Whether something is mounted exactly at `path`; false when it does not exist. */
export function isMountPoint(path: string): boolean {
  try {
    const resolved = realpathSync(path);
    return readMountInfo().some((info) => info.target === resolved);
  } catch (error) {
    if (systemCode(nodeFailure(error, "resolve path")) === "ENOENT") return false;
    throw error;
  }
}
