import {
  addressOf,
  check,
  cstring,
  currentFolderFd,
  errno,
  errnoName,
  keepAlive,
  lazyLibc,
  systemCall,
  systemCode,
  systemFailure,
} from "../libc.ts";

const libc = lazyLibc({
  mount: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "i32" },
  umount2: { args: ["ptr", "i32"], returns: "i32" },
});
const attributeLibc = lazyLibc({
  // long syscall(mount_setattr, folder, path, flags, attributes, size)
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
/** `MOUNT_ATTR_RDONLY` */
export const mountAttrReadOnly = 1;
const mountAttrSizeBytes = 32n;

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

/** mount_setattr(2). @throws an error with code ENOSYS before Linux 5.12 */
export function setAttributes(
  path: string,
  change: { readonly flags: number; readonly set: number },
): void {
  const attributes = new BigUint64Array([BigInt(change.set), 0n, 0n, 0n]);
  const result = attributeLibc().syscall(
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
