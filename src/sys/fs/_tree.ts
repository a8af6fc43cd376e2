import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { nextTurn } from "../../lib/concurrency/turn.ts";
import { EngineError } from "../../lib/errors.ts";
import { openInRoot } from "./_in-root.ts";
import { changeOwner, makeNode, quoted, setTimes } from "./_node.ts";
import { getXattr, listXattr, setXattr } from "./_xattr.ts";
import {
  check,
  cstring,
  currentFolderFd,
  errno,
  errnoName,
  lazyLibc,
  nodeFailure,
  openFlags,
  systemCode,
} from "../libc.ts";

const libc = lazyLibc({
  copy_file_range: { args: ["i32", "ptr", "i32", "ptr", "u64", "u32"], returns: "i64" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  linkat: { args: ["i32", "ptr", "i32", "ptr", "i32"], returns: "i32" },
});

const seekData = 3;
const seekHole = 4;
const atSymlinkFollow = 0x400;
/** How much one call copies, so that the event loop waits for no more than that. */
const copyChunkSizeBytes = 8 * 1024 * 1024;
/** How long the copy keeps the event loop at a time. */
const sliceMs = 8;
/** Each level of folders holds two descriptors open. */
const depthMax = 2000;

/**
 * Copies the content of folder `source` into folder `target`, which is made when missing.
 *
 * Kept: owner, mode, extended attributes, times to the nanosecond, hard links within the tree,
 * devices, FIFOs, holes; also of the top folder itself. No symbolic link is followed at either
 * side, whoever changes the trees meanwhile: every step is taken from an open folder.
 *
 * @throws already-exists when the target has a file of a name that is to be written
 */
export async function copyTree(source: string, target: string): Promise<void> {
  const folderFlags = constants.O_RDONLY | openFlags.directory | openFlags.noFollow;
  try {
    mkdirSync(target, { recursive: true, mode: 0o700 });
    const from = openSync(source, folderFlags);
    const to = openSync(target, folderFlags);
    try {
      const copy: TreeCopy = { rootFd: to, links: new Map(), sliceEndMs: 0 };
      await copyFolder(copy, { from, to, depth: 0, relative: Buffer.alloc(0) });
    } finally {
      closeSync(from);
      closeSync(to);
    }
  } catch (error) {
    throw nodeFailure(error, `copy tree ${JSON.stringify(source)} to ${JSON.stringify(target)}`);
  }
}

interface TreeCopy {
  readonly rootFd: number;
  /** Device and inode of a file with several names → its first name in the target. */
  readonly links: Map<string, Buffer>;
  sliceEndMs: number;
}

interface FolderCopy {
  readonly from: number;
  readonly to: number;
  readonly depth: number;
  /** Path of the folder in the target. */
  readonly relative: Buffer;
}

type FileStat = ReturnType<typeof bigintStat>;

async function copyFolder(copy: TreeCopy, folder: FolderCopy): Promise<void> {
  if (folder.depth > depthMax) {
    throw new EngineError("invalid-argument", `copy tree: deeper than ${depthMax} folders`);
  }
  for (const name of readdirSync(fdPath(folder.from), { encoding: "buffer" })) {
    if (performance.now() > copy.sliceEndMs) {
      await nextTurn();
      copy.sliceEndMs = performance.now() + sliceMs;
    }
    const from = entryPath(folder.from, name);
    const to = entryPath(folder.to, name);
    const stat = bigintStat(from);
    const relative = Buffer.concat([folder.relative, Buffer.from("/"), name]);
    if (stat.isDirectory()) await copySubfolder(copy, { folder, from, to, relative });
    else if (!linkToCopy(copy, { stat, to, relative })) await copyEntry(copy, { stat, from, to });
  }
  copyAttributes(fdPath(folder.from), fdPath(folder.to), fstatSync(folder.from, { bigint: true }));
}

async function copySubfolder(
  copy: TreeCopy,
  entry: {
    readonly folder: FolderCopy;
    readonly from: Buffer;
    readonly to: Buffer;
    readonly relative: Buffer;
  },
): Promise<void> {
  const flags = constants.O_RDONLY | openFlags.directory | openFlags.noFollow;
  const from = openSync(entry.from, flags);
  try {
    makeFolder(entry.to);
    const to = openSync(entry.to, flags);
    try {
      const depth = entry.folder.depth + 1;
      await copyFolder(copy, { from, to, depth, relative: entry.relative });
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

function makeFolder(path: Buffer): void {
  try {
    mkdirSync(path, 0o700);
  } catch (error) {
    if (systemCode(nodeFailure(error, "make folder")) !== "EEXIST") throw error;
  }
}

/** Makes a second name of a file that is copied already; false when there is none. */
function linkToCopy(
  copy: TreeCopy,
  entry: { readonly stat: FileStat; readonly to: Buffer; readonly relative: Buffer },
): boolean {
  if (entry.stat.nlink < 2n) return false;
  const key = `${entry.stat.dev}:${entry.stat.ino}`;
  const first = copy.links.get(key);
  if (first === undefined) {
    copy.links.set(key, entry.relative);
    return false;
  }
  const flags = openFlags.path | openFlags.noFollow;
  const fd = openInRoot(copy.rootFd, first, flags);
  try {
    const result = libc().linkat(
      currentFolderFd,
      cstring(`/proc/self/fd/${fd}`),
      currentFolderFd,
      cstring(entry.to),
      atSymlinkFollow,
    );
    check(result, `link ${quoted(entry.relative)}`);
  } finally {
    closeSync(fd);
  }
  return true;
}

async function copyEntry(
  copy: TreeCopy,
  entry: { readonly stat: FileStat; readonly from: Buffer; readonly to: Buffer },
): Promise<void> {
  const { stat, from, to } = entry;
  if (stat.isFile()) await copyFile(copy, entry);
  else if (stat.isSymbolicLink()) {
    symlinkSync(readlinkSync(from, { encoding: "buffer" }), to);
  } else makeNode(to, Number(stat.mode), stat.rdev);
  copyAttributes(from, to, stat);
}

async function copyFile(
  copy: TreeCopy,
  entry: { readonly from: Buffer; readonly to: Buffer },
): Promise<void> {
  const from = openSync(
    entry.from,
    constants.O_RDONLY | openFlags.noFollow | constants.O_NONBLOCK | openFlags.closeOnExec,
  );
  try {
    const stat = fstatSync(from);
    if (!stat.isFile()) {
      throw new EngineError("conflict", `copy ${quoted(entry.to)}: changed while it was copied`);
    }
    const to = openSync(entry.to, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      if (stat.blocks * 512 < stat.size) await copyData(copy, { from, to, size: stat.size });
      else await copyRange(copy, { from, to, start: 0, end: stat.size });
      ftruncateSync(to, stat.size);
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

/** Copies what is between the holes. */
async function copyData(
  copy: TreeCopy,
  file: { readonly from: number; readonly to: number; readonly size: number },
): Promise<void> {
  let end = 0;
  while (end < file.size) {
    const start = Number(libc().lseek(file.from, end, seekData));
    if (start < 0 && errnoName(errno()) === "ENXIO") return;
    check(start, "look for data");
    end = Math.min(check(libc().lseek(file.from, start, seekHole), "look for a hole"), file.size);
    await copyRange(copy, { from: file.from, to: file.to, start, end });
  }
}

async function copyRange(
  copy: TreeCopy,
  range: {
    readonly from: number;
    readonly to: number;
    readonly start: number;
    readonly end: number;
  },
): Promise<void> {
  let offset = range.start;
  while (offset < range.end) {
    const want = Math.min(copyChunkSizeBytes, range.end - offset);
    const count = copyChunk(range, offset, want);
    // The file became shorter under our hands: the rest is a hole.
    if (count === 0) return;
    offset += count;
    if (performance.now() > copy.sliceEndMs) {
      await nextTurn();
      copy.sliceEndMs = performance.now() + sliceMs;
    }
  }
}

function copyChunk(
  files: { readonly from: number; readonly to: number },
  offset: number,
  want: number,
): number {
  const at = new BigInt64Array([BigInt(offset)]);
  const to = new BigInt64Array([BigInt(offset)]);
  const count = Number(libc().copy_file_range(files.from, at, files.to, to, want, 0));
  if (count >= 0) return count;
  const code = errnoName(errno());
  if (code !== "EXDEV" && code !== "EINVAL" && code !== "EOPNOTSUPP" && code !== "ENOSYS") {
    return check(count, "copy file content");
  }
  const buffer = new Uint8Array(Math.min(want, 1024 * 1024));
  const read = readSync(files.from, buffer, 0, buffer.length, offset);
  let written = 0;
  while (written < read) {
    written += writeSync(files.to, buffer, written, read - written, offset + written);
  }
  return read;
}

/** Owner first: changing it clears set-user bits and file capabilities. Times last. */
function copyAttributes(from: Buffer, to: Buffer, stat: FileStat): void {
  changeOwner(to, Number(stat.uid), Number(stat.gid));
  for (const name of listXattr(from)) {
    const value = getXattr(from, name);
    if (value === undefined) continue;
    try {
      setXattr(to, name, value);
    } catch (error) {
      if (systemCode(error) !== "EOPNOTSUPP") throw error;
    }
  }
  if (!stat.isSymbolicLink()) changeMode(to, Number(stat.mode) & 0o7777);
  setTimes(to, { atime: stat.atimeNs, mtime: stat.mtimeNs }, !stat.isDirectory());
}

/** chmod(2) would follow a link that was put in the place of the file. */
function changeMode(path: Buffer, mode: number): void {
  const fd = openSync(path, openFlags.path | openFlags.noFollow | openFlags.closeOnExec);
  try {
    if (!fstatSync(fd).isSymbolicLink()) chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    closeSync(fd);
  }
}

function bigintStat(path: Buffer): import("node:fs").BigIntStats {
  return lstatSync(path, { bigint: true });
}

/** The folder itself through /proc; the trailing dot is what keeps `l…` calls from the link. */
function fdPath(fd: number): Buffer {
  return Buffer.from(`/proc/self/fd/${fd}/.`);
}

function entryPath(fd: number, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]);
}
