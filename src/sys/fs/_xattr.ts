import { quoted } from "./_node.ts";
import { check, cstring, errno, errnoName, lazyLibc, systemFailure } from "../libc.ts";

const libc = lazyLibc({
  lgetxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: "i64" },
  lsetxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
  llistxattr: { args: ["ptr", "ptr", "u64"], returns: "i64" },
  flistxattr: { args: ["i32", "ptr", "u64"], returns: "i64" },
  lremovexattr: { args: ["ptr", "ptr"], returns: "i32" },
});

/** Linux limits.h: XATTR_SIZE_MAX and XATTR_LIST_MAX. */
const sizeMaxBytes = 65_536;
let scratch: Uint8Array | undefined;
/** Room for one path: a new one for each call costs as much as the call. */
const pathRoom = new Uint8Array(4096);

/** The value of an extended attribute, never of a link's target; undefined when it is not set. */
export function getXattr(path: string | Uint8Array, name: string): Uint8Array | undefined {
  scratch ??= new Uint8Array(sizeMaxBytes);
  const size = libc().lgetxattr(cstring(path), cstring(name), scratch, sizeMaxBytes);
  if (size < 0n && isAbsence(errnoName(errno()))) return undefined;
  return scratch.slice(0, check(size, `read attribute ${name} of ${quoted(path)}`));
}

/** Sets an extended attribute, of a link itself where the kernel lets. */
export function setXattr(path: string | Uint8Array, name: string, value: Uint8Array): void {
  // The kernel is given no null pointer for an empty value.
  const bytes = value.length === 0 ? new Uint8Array(1) : value;
  const result = libc().lsetxattr(cstring(path), cstring(name), bytes, value.length, 0);
  check(result, `set attribute ${name} of ${quoted(path)}`);
}

/** The names of the extended attributes; none where the file system has no such thing. */
export function listXattr(path: string | Uint8Array): string[] {
  scratch ??= new Uint8Array(sizeMaxBytes);
  const size = libc().llistxattr(pathOf(path), scratch, sizeMaxBytes);
  return namesIn(size, () => quoted(path));
}

/** As `listXattr`, of an open file. */
export function listOpenXattr(fd: number): string[] {
  scratch ??= new Uint8Array(sizeMaxBytes);
  const size = libc().flistxattr(fd, scratch, sizeMaxBytes);
  return namesIn(size, () => "an open file");
}

/** The names that the kernel has put into the scratch. */
function namesIn(size: bigint | number, what: () => string): string[] {
  if (size === 0n || scratch === undefined) return [];
  if (size < 0n) {
    const number = errno();
    if (errnoName(number) === "EOPNOTSUPP") return [];
    throw systemFailure(number, `list attributes of ${what()}`);
  }
  return Buffer.from(scratch.buffer, 0, Number(size) - 1)
    .toString()
    .split("\0");
}

/** Removes an extended attribute; false when it was not set. */
export function removeXattr(path: string | Uint8Array, name: string): boolean {
  const result = libc().lremovexattr(cstring(path), cstring(name));
  if (result < 0 && isAbsence(errnoName(errno()))) return false;
  check(result, `remove attribute ${name} of ${quoted(path)}`);
  return true;
}

function pathOf(path: string | Uint8Array): Uint8Array {
  if (typeof path === "string" || path.length >= pathRoom.length || path.includes(0)) {
    return cstring(path);
  }
  pathRoom.set(path);
  pathRoom[path.length] = 0;
  return pathRoom;
}

function isAbsence(code: string): boolean {
  return code === "ENODATA" || code === "EOPNOTSUPP";
}
