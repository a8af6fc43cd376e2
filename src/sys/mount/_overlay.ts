import { closeSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import {
  check,
  cstring,
  currentFolderFd,
  errno,
  errnoName,
  lazyLibc,
  nodeFailure,
  openFlags,
  systemCall,
  systemCode,
  systemFailure,
} from "../libc.ts";
import { bindMount, mount } from "./_mount-calls.ts";

const libc = lazyLibc({
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  chdir: { args: ["ptr"], returns: "i32" },
  fchdir: { args: ["i32"], returns: "i32" },
});
// The shapes that one `syscall` takes for the mount calls.
const fsopenLibc = lazyLibc({ syscall: { args: ["i64", "ptr", "u32"], returns: "i64" } });
const fsconfigLibc = lazyLibc({
  syscall: { args: ["i64", "i32", "u32", "ptr", "ptr", "i32"], returns: "i64" },
});
const fsmountLibc = lazyLibc({ syscall: { args: ["i64", "i32", "u32", "u32"], returns: "i64" } });
const moveMountLibc = lazyLibc({
  syscall: { args: ["i64", "i32", "ptr", "i32", "ptr", "u32"], returns: "i64" },
});

/** mount(2) takes one page of options, its end included. */
const mountDataSizeMaxBytes = 4095;
const errorTextSizeMaxBytes = 1024;
// linux/mount.h: fsopen, fsconfig, fsmount, move_mount
const fsopenCloseOnExec = 1;
const fsconfigSetFlag = 0;
const fsconfigSetString = 1;
const fsconfigCreate = 6;
const fsmountCloseOnExec = 1;
const moveMountEmptyPath = 4;

/** An overlay mount. Without an upper folder it is read-only. */
export interface OverlayOptions {
  /** Uppermost first; at least one. */
  readonly lowerDirs: readonly string[];
  readonly upperDir?: string;
  readonly workDir?: string;
  readonly target: string;
  /** More options of overlay: `index=off`, `userxattr`. */
  readonly options?: readonly string[];
}

let hasLayerOption = true;

/** Mounts an overlay. The number of layers is bounded by the kernel (500), not by path lengths. */
export function mountOverlay(overlay: OverlayOptions): void {
  const [only, ...others] = overlay.lowerDirs;
  if (only === undefined) throw new EngineError("invalid-argument", "mount overlay: no layers");
  // The kernel refuses a stack of one; a read-only bind shows the same.
  if (others.length === 0 && overlay.upperDir === undefined) {
    bindMount({ source: only, target: overlay.target, readOnly: true });
    return;
  }
  if (hasLayerOption && mountByLayers(overlay)) return;
  hasLayerOption = false;
  mountByOptions(overlay);
}

/** By fsopen, one layer a call (Linux 6.7); false when the kernel lacks that. */
function mountByLayers(overlay: OverlayOptions): boolean {
  const what = `mount overlay at ${JSON.stringify(overlay.target)}`;
  const name = cstring("overlay");
  const context = Number(fsopenLibc().syscall(systemCall.fsopen, name, fsopenCloseOnExec));
  if (context < 0 && errnoName(errno()) === "ENOSYS") return false;
  check(context, what);
  try {
    const set = (key: string, value: string | undefined): number =>
      Number(
        fsconfigLibc().syscall(
          systemCall.fsconfig,
          context,
          value === undefined ? fsconfigSetFlag : fsconfigSetString,
          cstring(key),
          value === undefined ? null : cstring(value),
          0,
        ),
      );
    for (const [index, folder] of overlay.lowerDirs.entries()) {
      if (set("lowerdir+", folder) === 0) continue;
      const number = errno();
      if (index === 0 && errnoName(number) === "EINVAL") return false;
      throw contextFailure(context, number, what);
    }
    // The name that programs look for in /proc/mounts.
    const parameters = [["source", "overlay"] as const, ...overlayParameters(overlay)];
    for (const [key, value] of parameters) {
      if (set(key, value) !== 0) throw contextFailure(context, errno(), what);
    }
    finishMount(context, overlay.target, what);
    return true;
  } finally {
    closeSync(context);
  }
}

function overlayParameters(overlay: OverlayOptions): [string, string | undefined][] {
  const parameters: [string, string | undefined][] = [];
  if (overlay.upperDir !== undefined) {
    parameters.push(["upperdir", overlay.upperDir]);
    // Where the kernel's defaults are others, an upper folder would hold only part of its files.
    parameters.push(["redirect_dir", "off"], ["metacopy", "off"]);
  }
  if (overlay.workDir !== undefined) parameters.push(["workdir", overlay.workDir]);
  for (const option of overlay.options ?? []) {
    const [key = "", ...value] = option.split("=");
    parameters.push([key, value.length === 0 ? undefined : value.join("=")]);
  }
  return parameters;
}

function finishMount(context: number, target: string, what: string): void {
  const created = fsconfigLibc().syscall(
    systemCall.fsconfig,
    context,
    fsconfigCreate,
    null,
    null,
    0,
  );
  if (Number(created) !== 0) throw contextFailure(context, errno(), what);
  const made = fsmountLibc().syscall(systemCall.fsmount, context, fsmountCloseOnExec, 0);
  const fd = check(made, what);
  try {
    const moved = moveMountLibc().syscall(
      systemCall.moveMount,
      fd,
      cstring(""),
      currentFolderFd,
      cstring(target),
      moveMountEmptyPath,
    );
    check(moved, what);
  } finally {
    closeSync(fd);
  }
}

/** What the kernel says of a failed step, read from the context itself, after the errno. */
function contextFailure(context: number, number: number, what: string): EngineError {
  const failure = systemFailure(number, what);
  const buffer = Buffer.alloc(errorTextSizeMaxBytes);
  try {
    const text = buffer.toString("utf8", 0, readSync(context, buffer)).replace(/^[ewi] /, "");
    return new EngineError(failure.kind, `${failure.message} (${text.trim()})`, {
      cause: failure.cause,
      details: failure.details,
    });
  } catch (error) {
    // ENODATA: it has nothing to add.
    if (systemCode(nodeFailure(error, what)) === undefined) throw error;
    return failure;
  }
}

/** By mount(2), from inside the folder most layers share, so that their names are short. */
export function mountByOptions(overlay: OverlayOptions): void {
  const base = commonFolder(overlay.lowerDirs);
  const shorten = (path: string): string =>
    escapeOption(path.startsWith(`${base}/`) ? path.slice(base.length + 1) : path);
  const data = [
    `lowerdir=${overlay.lowerDirs.map(shorten).join(":")}`,
    ...overlayParameters(overlay).map(([key, value]) =>
      value === undefined ? key : `${key}=${escapeOption(value)}`,
    ),
  ].join(",");
  if (Buffer.byteLength(data) > mountDataSizeMaxBytes) {
    throw new EngineError(
      "invalid-argument",
      `mount overlay: ${overlay.lowerDirs.length} layers are too many for this kernel`,
    );
  }
  const flags = openFlags.path | openFlags.directory | openFlags.closeOnExec;
  const back = check(libc().open(cstring("."), flags, 0), "open the current folder");
  try {
    // Nothing else runs until fchdir: all of this is synchronous.
    check(libc().chdir(cstring(base)), `enter ${JSON.stringify(base)}`);
    mount({ source: "overlay", target: overlay.target, type: "overlay", data });
  } finally {
    check(libc().fchdir(back), "return to the current folder");
    closeSync(back);
  }
}

function commonFolder(paths: readonly string[]): string {
  let base = dirname(paths[0] ?? "/");
  while (base !== "/" && !paths.every((path) => path.startsWith(`${base}/`))) base = dirname(base);
  return base;
}

function escapeOption(value: string): string {
  return value.replace(/[\\,:]/g, "\\$&");
}
