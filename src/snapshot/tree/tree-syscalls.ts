import { errno, errnoName, lazyLibc, openFlags, systemCall } from "../../sys/libc.ts";

/** System calls on names below an open folder. Names are byte strings: one character, one byte. */
const libc = lazyLibc({
  openat: { args: ["i32", "ptr", "i32", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  write: { args: ["i32", "ptr", "u64"], returns: "i64" },
  splice: { args: ["i32", "ptr", "i32", "ptr", "u64", "u32"], returns: "i64" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  ftruncate: { args: ["i32", "i64"], returns: "i32" },
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
  lsetxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
  // long syscall(openat2, dirfd, path, how, size)
  syscall: { args: ["i64", "i32", "ptr", "ptr", "u64"], returns: "i64" },
});

const noFollow = 0x100;
const removeFolder = 0x200;
const seekCurrent = 1;
const secondNs = 1_000_000_000n;
/** Seconds beyond are cut: no file system keeps them. */
const secondsMax = 2n ** 62n;
// linux/openat2.h
const resolveNoMagicLinks = 2n;
const resolveNoSymlinks = 4n;
const resolveBeneath = 8n;
const resolveInRoot = 0x10n;
const openHowBytes = 24;
const retryCountMax = 32;

/** Room for more than the kernel takes: a name that is cut is too long for it as well. Links have two. */
const nameRoomBytes = 8192;
const rooms = [Buffer.alloc(nameRoomBytes), Buffer.alloc(nameRoomBytes)] as const;
const times = new BigInt64Array(4);
const how = new BigUint64Array(3);
const emptyValue = new Uint8Array(1);

/** Result of a call: not negative, or minus the error number. */
export type CallResult = number;

function named(name: string, room: 0 | 1 = 0): Buffer {
  const buffer = rooms[room];
  const length = buffer.write(name, 0, nameRoomBytes - 1, "latin1");
  buffer[length] = 0;
  return buffer;
}

/** The result for what libc returned just now. */
export function result(value: number | bigint): CallResult {
  const number = Number(value);
  return number < 0 ? -errno() : number;
}

/** The name of the error of a negative result. */
export function resultCode(value: CallResult): string {
  return errnoName(-value);
}

/** Opens the folder `path` as if `root` were "/": links stay inside. */
export function openFolderInRoot(root: number, path: string): CallResult {
  const flags = openFlags.path | openFlags.directory;
  return openResolved(root, path, { flags, resolve: resolveInRoot });
}

/** Opens `path` below `root`, "" being the root; a link anywhere on the way is refused (ELOOP). */
export function openBelow(root: number, path: string, flags: number): CallResult {
  const resolve = resolveBeneath | resolveNoSymlinks;
  return openResolved(root, path === "" ? "." : path, { flags, resolve });
}

function openResolved(
  root: number,
  path: string,
  options: { readonly flags: number; readonly resolve: bigint },
): CallResult {
  how[0] = BigInt(options.flags | openFlags.closeOnExec);
  how[1] = 0n;
  how[2] = options.resolve | resolveNoMagicLinks;
  for (let attempt = 1; ; attempt += 1) {
    const call = libc().syscall(systemCall.openat2, root, named(path), how, openHowBytes);
    const fd = result(call);
    // The kernel asks again when a rename ran beside the look-up.
    if (fd >= 0 || resultCode(fd) !== "EAGAIN" || attempt === retryCountMax) return fd;
  }
}

/** Makes a new, empty file that only the owner can read, and opens it. */
export function createFile(folder: number, name: string): CallResult {
  const { writeOnly, create, exclusive, noFollow: noLink, closeOnExec } = openFlags;
  const flags = writeOnly | create | exclusive | noLink | closeOnExec;
  return result(libc().openat(folder, named(name), flags, 0o600));
}

/** Opens a file for reading, whatever it is by now, but no link (ELOOP). Never waits for a FIFO. */
export function openFile(folder: number, name: string): CallResult {
  const { readOnly, nonblock, noControllingTty, noFollow: noLink, closeOnExec } = openFlags;
  const flags = readOnly | nonblock | noControllingTty | noLink | closeOnExec;
  return result(libc().openat(folder, named(name), flags, 0));
}

/** Closes a descriptor; its errors tell nothing that the writes did not. */
export function closeFd(fd: number): void {
  libc().close(fd);
}

/** Writes all bytes. */
export function writeAll(fd: number, bytes: Uint8Array): CallResult {
  for (let at = 0; at < bytes.byteLength; ) {
    const left = at === 0 ? bytes : bytes.subarray(at);
    const count = result(libc().write(fd, left, left.byteLength));
    if (count >= 0) at += count;
    else if (resultCode(count) !== "EINTR") return count;
  }
  return 0;
}

/**
 * Moves bytes from where a file is read next into a pipe, without copying them.
 *
 * @returns how many; 0 at the end of the file; -EINVAL where one of the two cannot do that
 */
export function moveIntoPipe(file: number, pipe: number, sizeBytes: number): CallResult {
  for (;;) {
    const count = result(libc().splice(file, null, pipe, null, sizeBytes, 0));
    if (count >= 0 || resultCode(count) !== "EINTR") return count;
  }
}

/** Moves on without writing: a hole, where the file system has them. */
export function skipForward(fd: number, sizeBytes: number): CallResult {
  return result(libc().lseek(fd, sizeBytes, seekCurrent));
}

/** Sets the size of a file, longer or shorter. */
export function setSize(fd: number, sizeBytes: number): CallResult {
  return result(libc().ftruncate(fd, sizeBytes));
}

/** Makes a folder; EEXIST when the name is taken. */
export function makeFolder(folder: number, name: string): CallResult {
  return result(libc().mkdirat(folder, named(name), 0o700));
}

/** Makes a symbolic link with the target as it is, byte for byte. */
export function makeSymlink(folder: number, name: string, target: string): CallResult {
  return result(libc().symlinkat(named(target, 1), folder, named(name)));
}

/** A file to link: its folder and its name there; a symbolic link itself. */
export interface LinkSource {
  readonly folder: number;
  readonly name: string;
}

/** Makes a second name of a file; links are not followed. */
export function makeHardLink(folder: number, name: string, source: LinkSource): CallResult {
  return result(libc().linkat(source.folder, named(source.name, 1), folder, named(name), 0));
}

/** A device, FIFO or whiteout to make. */
export interface NodeKind {
  /** Type and permission bits. */
  readonly mode: number;
  readonly device: bigint;
}

/** Makes a device node, FIFO or socket; `mode` has the type. */
export function makeNodeAt(folder: number, name: string, node: NodeKind): CallResult {
  return result(libc().mknodat(folder, named(name), node.mode, node.device));
}

/** Removes a name that is no folder. */
export function removeFile(folder: number, name: string): CallResult {
  return result(libc().unlinkat(folder, named(name), 0));
}

/** Removes a folder that holds nothing. */
export function removeEmptyFolder(folder: number, name: string): CallResult {
  return result(libc().unlinkat(folder, named(name), removeFolder));
}

/** Owner, mode and time of a file. */
export interface FileAttributes {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly mtimeNs: bigint;
}

/** Gives an open file its owner and mode; the owner first, since that clears set-user bits. */
export function setOwnerAndMode(fd: number, attributes: FileAttributes): CallResult {
  const owned = result(libc().fchown(fd, attributes.uid, attributes.gid));
  return owned < 0 ? owned : result(libc().fchmod(fd, attributes.mode));
}

/** Sets access and modification time of an open file, in nanoseconds since 1970. */
export function setTimesOf(fd: number, mtimeNs: bigint): CallResult {
  return result(libc().futimens(fd, timesOf(mtimeNs)));
}

/** Sets owner and group of a name; links are not followed. */
export function setOwnerAt(
  folder: number,
  name: string,
  { uid, gid }: Pick<FileAttributes, "uid" | "gid">,
): CallResult {
  return result(libc().fchownat(folder, named(name), uid, gid, noFollow));
}

/** Never for a symbolic link: it would be followed. */
export function setModeAt(folder: number, name: string, mode: number): CallResult {
  return result(libc().fchmodat(folder, named(name), mode, 0));
}

/** Sets access and modification time of a name; links are not followed. */
export function setTimesAt(folder: number, name: string, mtimeNs: bigint): CallResult {
  return result(libc().utimensat(folder, named(name), timesOf(mtimeNs), noFollow));
}

/** Sets an extended attribute of a name in a folder, of a link itself. */
export function setXattrAt(
  folder: number,
  name: string,
  attribute: { readonly name: string; readonly value: Uint8Array },
): CallResult {
  const path = Buffer.from(`/proc/self/fd/${folder}/${name === "" ? "." : name}\0`, "latin1");
  const value = attribute.value.byteLength === 0 ? emptyValue : attribute.value;
  const size = attribute.value.byteLength;
  return result(libc().lsetxattr(path, named(attribute.name), value, size, 0));
}

function timesOf(mtimeNs: bigint): BigInt64Array {
  // Nanoseconds count forward from the second below, also before 1970.
  const nanoseconds = ((mtimeNs % secondNs) + secondNs) % secondNs;
  const seconds = (mtimeNs - nanoseconds) / secondNs;
  const cut = seconds > secondsMax ? secondsMax : seconds < -secondsMax ? -secondsMax : seconds;
  times[0] = cut;
  times[1] = nanoseconds;
  times[2] = cut;
  times[3] = nanoseconds;
  return times;
}
