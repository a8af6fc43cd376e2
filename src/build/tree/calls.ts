/** System calls on names below an open folder. Names are byte strings: one character, one byte. */
import { EngineError } from "../../lib/errors.ts";
import {
  check,
  errno,
  errnoName,
  lazyLibc,
  openFlags,
  systemCall,
  systemFailure,
} from "../../sys/libc.ts";

const libc = lazyLibc({
  openat: { args: ["i32", "ptr", "i32", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  mkdirat: { args: ["i32", "ptr", "u32"], returns: "i32" },
  symlinkat: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  linkat: { args: ["i32", "ptr", "i32", "ptr", "i32"], returns: "i32" },
  mknodat: { args: ["i32", "ptr", "u32", "u64"], returns: "i32" },
  unlinkat: { args: ["i32", "ptr", "i32"], returns: "i32" },
  fchown: { args: ["i32", "u32", "u32"], returns: "i32" },
  fchmod: { args: ["i32", "u32"], returns: "i32" },
  futimens: { args: ["i32", "ptr"], returns: "i32" },
  fchownat: { args: ["i32", "ptr", "u32", "u32", "i32"], returns: "i32" },
  fchmodat: { args: ["i32", "ptr", "u32", "i32"], returns: "i32" },
  utimensat: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  ioctl: { args: ["i32", "u64", "i64"], returns: "i32" },
  copy_file_range: { args: ["i32", "ptr", "i32", "ptr", "u64", "u32"], returns: "i64" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  ftruncate: { args: ["i32", "i64"], returns: "i32" },
  // long syscall(openat2, dirfd, path, how, size)
  syscall: { args: ["i64", "i32", "ptr", "ptr", "u64"], returns: "i64" },
});

const noFollow = 0x100;
const removeFolderFlag = 0x200;
const secondNs = 1_000_000_000n;
// linux/openat2.h
const resolveNoMagicLinks = 2n;
const resolveNoSymlinks = 4n;
const resolveBeneath = 8n;
const openHowBytes = 24;
const retryCountMax = 32;
/** `FICLONE`, linux/fs.h */
const ioctlClone = 0x40049409;
const seekData = 3;
const seekHole = 4;

/** Longest path that one call takes; Linux' PATH_MAX. */
const pathMaxBytes = 4096;
const rooms = [Buffer.alloc(pathMaxBytes), Buffer.alloc(pathMaxBytes)] as const;
const times = new BigInt64Array(4);
const how = new BigUint64Array(3);

/** Result of a call: not negative, or minus the error number. */
export type CallResult = number;

function named(name: string, room: 0 | 1 = 0): Buffer {
  const buffer = rooms[room];
  // Cut, a name would be another one: too long for the kernel as well.
  const length = buffer.write(
    name.length < pathMaxBytes ? name : "",
    0,
    pathMaxBytes - 1,
    "latin1",
  );
  buffer[length] = 0;
  return buffer;
}

function result(value: number | bigint): CallResult {
  const number = Number(value);
  return number < 0 ? -errno() : number;
}

/** The name of the error of a negative result. */
export function resultCode(value: CallResult): string {
  return errnoName(-value);
}

/** Errors that names, links and kinds of files bring about: those of whoever made the files. */
const nameErrors: ReadonlySet<string> = new Set([
  "EISDIR",
  "ELOOP",
  "EMLINK",
  "ENAMETOOLONG",
  "ENOTDIR",
  "ENOTEMPTY",
  "EXDEV",
]);

/** Passes a result on. @throws the failure of the call when it is negative */
export function must(value: CallResult, what: string): number {
  if (value >= 0) return value;
  const failure = systemFailure(-value, what);
  if (!nameErrors.has(resultCode(value))) throw failure;
  const { message, details } = failure;
  throw new EngineError("invalid-argument", message, { cause: failure, details });
}

/** Opens a root for the other calls. */
export function openRootFolder(path: string): number {
  const flags = openFlags.path | openFlags.directory | openFlags.closeOnExec;
  return must(result(libc().openat(-100, named(path), flags, 0)), "open folder");
}

/** Opens `path` below `root`, "" being the root; a link anywhere on the way is refused (ELOOP). */
export function openBelow(root: number, path: string, flags: number): CallResult {
  how[0] = BigInt(flags | openFlags.closeOnExec);
  how[1] = 0n;
  how[2] = resolveBeneath | resolveNoSymlinks | resolveNoMagicLinks;
  for (let attempt = 1; ; attempt += 1) {
    const name = named(path === "" ? "." : path);
    const fd = result(libc().syscall(systemCall.openat2, root, name, how, openHowBytes));
    // The kernel asks again when a rename ran beside the look-up.
    if (fd >= 0 || resultCode(fd) !== "EAGAIN" || attempt === retryCountMax) return fd;
  }
}

/** Makes a new, empty file that only the owner can read, and opens it for writing. */
export function createFile(folder: number, name: string): CallResult {
  const { readWrite, create, exclusive, noFollow: noLink, closeOnExec } = openFlags;
  const flags = readWrite | create | exclusive | noLink | closeOnExec;
  return result(libc().openat(folder, named(name), flags, 0o600));
}

/** Closes a descriptor; its errors tell nothing that the writes did not. */
export function closeFd(fd: number): void {
  libc().close(fd);
}

/** Makes a folder that only the owner can enter; EEXIST when the name is taken. */
export function makeFolderAt(folder: number, name: string): CallResult {
  return result(libc().mkdirat(folder, named(name), 0o700));
}

/** Makes a symbolic link with the target as it is, byte for byte. */
export function makeSymlinkAt(folder: number, name: string, target: string): CallResult {
  return result(libc().symlinkat(named(target, 1), folder, named(name)));
}

/** Makes a second name of a file; links are not followed. */
export function makeHardLinkAt(
  folder: number,
  name: string,
  source: { readonly folder: number; readonly name: string },
): CallResult {
  return result(libc().linkat(source.folder, named(source.name, 1), folder, named(name), 0));
}

/** Makes a device node, FIFO or socket; `mode` has the type. */
export function makeNodeAt(
  folder: number,
  name: string,
  node: { readonly mode: number; readonly device: bigint },
): CallResult {
  return result(libc().mknodat(folder, named(name), node.mode, node.device));
}

/** Removes a name that is no folder. */
export function removeFileAt(folder: number, name: string): CallResult {
  return result(libc().unlinkat(folder, named(name), 0));
}

/** Removes a folder that holds nothing. */
export function removeEmptyFolderAt(folder: number, name: string): CallResult {
  return result(libc().unlinkat(folder, named(name), removeFolderFlag));
}

/** Owner, mode and time of a file. */
export interface FileAttributes {
  readonly uid: number;
  readonly gid: number;
  /** Permission and set-user bits. */
  readonly mode: number;
  readonly mtimeNs: bigint;
}

/** Gives an open file owner and mode; the owner first, since that clears set-user bits. */
export function setOwnerAndMode(fd: number, attributes: FileAttributes): CallResult {
  const owned = result(libc().fchown(fd, attributes.uid, attributes.gid));
  return owned < 0 ? owned : result(libc().fchmod(fd, attributes.mode));
}

/** Sets access and modification time of an open file. */
export function setTimesOf(fd: number, mtimeNs: bigint): CallResult {
  return result(libc().futimens(fd, timesOf(mtimeNs)));
}

/** Sets owner and group of a name; links are not followed. */
export function setOwnerAt(
  folder: number,
  name: string,
  owner: { readonly uid: number; readonly gid: number },
): CallResult {
  return result(libc().fchownat(folder, named(name), owner.uid, owner.gid, noFollow));
}

/** Never for a symbolic link: it would be followed. */
export function setModeAt(folder: number, name: string, mode: number): CallResult {
  return result(libc().fchmodat(folder, named(name), mode, 0));
}

/** Sets access and modification time of a name; links are not followed. */
export function setTimesAt(folder: number, name: string, mtimeNs: bigint): CallResult {
  return result(libc().utimensat(folder, named(name), timesOf(mtimeNs), noFollow));
}

/** Has two files share their blocks; false where the file system cannot. */
export function cloneFile(from: number, to: number): boolean {
  return libc().ioctl(to, ioctlClone, from) === 0;
}

/** Copies bytes inside the kernel; both offsets are `offset`. */
export function copyRange(
  files: { readonly from: number; readonly to: number },
  range: { readonly offset: number; readonly sizeBytes: number },
): CallResult {
  times[0] = BigInt(range.offset);
  times[1] = BigInt(range.offset);
  const [from, to] = [times.subarray(0, 1), times.subarray(1, 2)];
  return result(libc().copy_file_range(files.from, from, files.to, to, range.sizeBytes, 0));
}

/** Where the next data begins, or the next hole; -ENXIO behind the last. */
export function seek(fd: number, offset: number, to: "data" | "hole"): CallResult {
  return result(libc().lseek(fd, offset, to === "data" ? seekData : seekHole));
}

/** Sets the size of a file. */
export function setSize(fd: number, sizeBytes: number): void {
  check(libc().ftruncate(fd, sizeBytes), "set file size");
}

function timesOf(mtimeNs: bigint): BigInt64Array {
  // Nanoseconds count forward from the second below, also before 1970.
  const nanoseconds = ((mtimeNs % secondNs) + secondNs) % secondNs;
  const seconds = (mtimeNs - nanoseconds) / secondNs;
  times[0] = seconds;
  times[1] = nanoseconds;
  times[2] = seconds;
  times[3] = nanoseconds;
  return times;
}
