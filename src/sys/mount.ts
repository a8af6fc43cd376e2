/**
 * Mounts: overlay stacks of any height, binds, propagation, and what is mounted now.
 */
import { closeSync, readFileSync, readSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import { EngineError } from "../lib/errors.ts";
import {
  addressOf,
  check,
  cstring,
  currentFolderFd,
  errno,
  errnoName,
  keepAlive,
  lazyLibc,
  nodeFailure,
  openFlags,
  systemCall,
  systemCode,
  systemFailure,
  translated,
} from "./libc.ts";

const libc = lazyLibc({
  mount: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
  umount2: { args: ["ptr", "i32"], returns: "i32" },
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
const pathLibc = lazyLibc({
  // move_mount and mount_setattr
  syscall: { args: ["i64", "i32", "ptr", "i64", "u64", "u64"], returns: "i64" },
});

/** Flags of mount(2), linux/mount.h; for `mount` and the fields of `bindMount`. */
export const mountFlags = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  remount: 32,
  bind: 4096,
  recursive: 16384,
  unbindable: 0x20000,
  private: 0x40000,
  slave: 0x80000,
  shared: 0x100000,
} as const;

const umountDetach = 2;
const umountNoFollow = 8;
const atRecursive = 0x8000;
const mountAttrReadOnly = 1;
const mountAttrSizeBytes = 32n;
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

/** Mounts a file system. `flags` are or-ed `mountFlags`, `data` what the file system takes. */
export function mount(options: {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags?: number;
  readonly data?: string;
}): void {
  const result = libc().mount(
    cstring(options.source),
    cstring(options.target),
    cstring(options.type),
    options.flags ?? 0,
    options.data === undefined ? null : cstring(options.data),
  );
  check(result, `mount ${options.type} at ${JSON.stringify(options.target)}`);
}

/**
 * Unmounts what is on top at `target`; `detach` does so even while it is in use.
 *
 * @returns false when nothing is mounted there
 */
export function unmount(target: string, options: { readonly detach?: boolean } = {}): boolean {
  const flags = umountNoFollow | (options.detach === true ? umountDetach : 0);
  if (libc().umount2(cstring(target), flags) === 0) return true;
  const number = errno();
  const code = errnoName(number);
  if (code === "EINVAL" || code === "ENOENT") return false;
  throw systemFailure(number, `unmount ${JSON.stringify(target)}`);
}

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
    for (const [key, value] of overlayParameters(overlay)) {
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
  if (overlay.upperDir !== undefined) parameters.push(["upperdir", overlay.upperDir]);
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
    const path = cstring(target);
    const empty = cstring("");
    const moved = pathLibc().syscall(
      systemCall.moveMount,
      fd,
      empty,
      currentFolderFd,
      addressOf(path),
      moveMountEmptyPath,
    );
    const number = errno();
    keepAlive(path, empty);
    if (Number(moved) !== 0) throw systemFailure(number, what);
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
function mountByOptions(overlay: OverlayOptions): void {
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

/** Shows a file or folder at a second place. */
export function bindMount(options: {
  readonly source: string;
  readonly target: string;
  /** With the mounts below it. */
  readonly recursive?: boolean;
  readonly readOnly?: boolean;
}): void {
  const { source, target, readOnly } = options;
  const recursive = options.recursive === true ? mountFlags.recursive : 0;
  mount({ source, target, type: "none", flags: mountFlags.bind | recursive });
  if (readOnly !== true) return;
  try {
    setAttributes(target, { flags: 0, set: mountAttrReadOnly });
  } catch (error) {
    if (systemCode(error) !== "ENOSYS") {
      unmount(target, { detach: true });
      throw error;
    }
    const flags = mountFlags.bind | mountFlags.remount | mountFlags.readOnly;
    mount({ source: "none", target, type: "none", flags });
  }
}

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

function setAttributes(
  path: string,
  change: { readonly flags: number; readonly set: number },
): void {
  const attributes = new BigUint64Array([BigInt(change.set), 0n, 0n, 0n]);
  const result = pathLibc().syscall(
    systemCall.mountSetattr,
    currentFolderFd,
    cstring(path),
    change.flags,
    addressOf(new Uint8Array(attributes.buffer)),
    mountAttrSizeBytes,
  );
  const number = errno();
  keepAlive(attributes);
  if (Number(result) !== 0) {
    throw systemFailure(number, `change mount attributes of ${JSON.stringify(path)}`);
  }
}

/** One line of mountinfo. @see man 5 proc_pid_mountinfo */
export interface MountInfo {
  readonly id: number;
  readonly parentId: number;
  /** `major:minor` of the files on it. */
  readonly device: string;
  /** Which folder of the file system is shown. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  /** `shared:1`, `master:2`, `propagate_from:3`, `unbindable`. */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** What is mounted, as a process sees it; the later of two at one target covers the other. */
export function readMountInfo(pid: number | "self" = "self"): MountInfo[] {
  const path = `/proc/${pid}/mountinfo`;
  const text = translated(`read ${path}`, () => readFileSync(path, "utf8"));
  return parseMountInfo(text);
}

/** Reads the text of a mountinfo file; lines of another form are left out. */
export function parseMountInfo(text: string): MountInfo[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const dash = fields.indexOf("-", 6);
    const [id, parentId, device, root, target, options] = fields;
    const [type, source, superOptions] = fields.slice(dash + 1);
    if (dash < 0 || device === undefined || root === undefined || target === undefined) return [];
    if (options === undefined || type === undefined || source === undefined) return [];
    return [
      {
        id: Number(id),
        parentId: Number(parentId),
        device,
        root: unescapeOctal(root),
        target: unescapeOctal(target),
        options: options.split(","),
        propagation: fields.slice(6, dash),
        type,
        source: unescapeOctal(source),
        superOptions: (superOptions ?? "").split(","),
      },
    ];
  });
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
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
