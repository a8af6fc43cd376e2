/** The places that mounts go to, in a root file system that the OCI runtime will not write to. */
import { closeSync, constants, statSync } from "node:fs";
import { posix } from "node:path";
import { codeOf, isKind } from "../lib/errors.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import { mkdirInRoot, openInRoot, openRoot } from "../sys/fs.ts";

/**
 * Makes what is missing of the targets of a spec's mounts: a runtime makes them itself, but not once
 * it has made the root read-only. Nothing outside `rootfs` is touched, whatever links the image has.
 */
export function makeMountTargets(rootfs: string, spec: RuntimeSpec): void {
  if (spec.root?.readonly !== true) return;
  const root = openRoot(rootfs);
  try {
    for (const mount of spec.mounts ?? []) makeTarget(root, mount);
  } finally {
    closeSync(root);
  }
}

function makeTarget(root: number, mount: RuntimeMount): void {
  const { destination, source, type } = mount;
  const isFile =
    (type === "bind" || type === undefined) &&
    source !== undefined &&
    statSync(source, { throwIfNoEntry: false })?.isDirectory() === false;
  try {
    if (!isFile) {
      mkdirInRoot(root, destination, { mode: 0o755 });
      return;
    }
    mkdirInRoot(root, posix.dirname(destination), { mode: 0o755 });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
    closeSync(openInRoot(root, destination, flags, 0o644));
  } catch (error) {
    // Something is there: whether it will do is for the runtime to say.
    const code = isKind(error) ? error.details["code"] : codeOf(error);
    if (!isKind(error, "already-exists") && code !== "EEXIST" && code !== "ENOTDIR") throw error;
  }
}
