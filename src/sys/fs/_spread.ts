import { closeSync, constants, mkdirSync, openSync } from "node:fs";
import { check, lazyLibc, systemCode } from "../libc.ts";

const spreadLibc = lazyLibc({ ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" } });

// linux/fs.h: _IOR('f', 1, long) and _IOW('f', 2, long) of 64-bit machines
const getFlags = 0x8008_6601n;
const setFlags = 0x4008_6602n;
const topOfHierarchies = 0x0002_0000; // FS_TOPDIR_FL, chattr(1) "T"

/** What a file system answers that keeps no such flag. */
const unsupported = new Set(["ENOTTY", "EOPNOTSUPP", "EINVAL", "EPERM", "EACCES"]);

/**
 * Tells the file system that the subfolders of `path` have nothing to do with one another: ext4 then
 * puts each in a part of the disk of its own. Others keep no such flag and are left as they are.
 *
 * @returns whether the file system took the hint
 */
export function spreadSubfolders(path: string): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const flags = new Int32Array(2);
    check(spreadLibc().ioctl(fd, getFlags, flags), "read a folder's flags");
    flags[0] = (flags[0] ?? 0) | topOfHierarchies;
    check(spreadLibc().ioctl(fd, setFlags, flags), "set a folder's flags");
    return true;
  } catch (error) {
    if (unsupported.has(systemCode(error) ?? "")) return false;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder that only the owner can enter, with those above it, and spreads its subfolders; one
 * that is there is left as it is. */
export function makeSpreadFolder(path: string): void {
  const made = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (made !== undefined) spreadSubfolders(path);
}
