/**
 * The disk: atomic writes, durability, locks, and what node:fs lacks.
 *
 * Paths inside a folder that others may write to (a container's root) go through `openInRoot` and
 * its like, which the kernel keeps inside. Whole trees are copied and removed without ever
 * following a symbolic link.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { check, errno, errnoName, lazyLibc, openFlags, translated } from "../libc.ts";
import { run } from "../process/process.ts";

// biome-ignore lint/performance/noBarrelFile: the public face of one noun in several files
export {
  mkdirInRoot,
  openInRoot,
  openRoot,
  readFileInRoot,
  type RootStat,
  statInRoot,
} from "./_in-root.ts";
export { changeOwner, deviceNumber, type FileTimes, makeNode, setTimes } from "./_node.ts";
export { type FileFacts, factsAt, factsOf } from "./_file-facts.ts";
export { makeSpreadFolder, spreadSubfolders } from "./_spread.ts";
export { copyTree } from "./_tree.ts";
export { removeTree, removeTreeInParts } from "./_remove-tree.ts";
export { getXattr, listOpenXattr, listXattr, removeXattr, setXattr } from "./_xattr.ts";

const libc = lazyLibc({
  syncfs: { args: ["i32"], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" },
});

const lockExclusive = 2;
const lockNonblocking = 4;

/** How `writeFileAtomic` writes. */
export interface AtomicWriteOptions {
  /** Permission bits of the file; 0o644 when absent. The umask does not change it. */
  readonly mode?: number;
  /** False leaves out both fsyncs: atomic for readers, not safe from a power cut. */
  readonly durable?: boolean;
}

let temporaryCount = 0;

/**
 * Puts `data` at `path`: readers see the old content or all of the new.
 *
 * Temporary file in the same folder, fsync, rename, fsync of the folder.
 */
export function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  options: AtomicWriteOptions = {},
): void {
  temporaryCount += 1;
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}-${temporaryCount}.tmp`);
  translated(`write ${JSON.stringify(path)}`, () => {
    const fd = openSync(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
      0o600,
    );
    try {
      writeAll(fd, typeof data === "string" ? Buffer.from(data) : data);
      fchmodSync(fd, options.mode ?? 0o644);
      if (options.durable !== false) fsyncSync(fd);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    } finally {
      closeSync(fd);
    }
    try {
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  });
  if (options.durable !== false) syncDirectory(folder);
}

function writeAll(fd: number, data: Uint8Array): void {
  let offset = 0;
  while (offset < data.length) offset += writeSync(fd, data, offset, data.length - offset);
}

/** Makes the names in a folder durable. */
export function syncDirectory(path: string): void {
  translated(`sync folder ${JSON.stringify(path)}`, () => {
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
}

/** Makes the whole file system that holds `path` durable; blocks the thread while it writes. */
export function syncFileSystem(path: string): void {
  const fd = translated(`sync file system of ${JSON.stringify(path)}`, () =>
    openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
  );
  try {
    check(libc().syncfs(fd), `sync file system of ${JSON.stringify(path)}`);
  } finally {
    closeSync(fd);
  }
}

/** As `syncFileSystem`, in another process: the event loop runs on. */
export async function syncFileSystemAsync(path: string): Promise<void> {
  const result = await run({ argv: ["sync", "--file-system", "--", path] });
  if (result.exitCode === 0) return;
  throw new EngineError(
    "internal",
    `sync file system of ${JSON.stringify(path)}: ${result.stderr.trim()}`,
  );
}

/** A held lock; `close` gives it up (so does the end of the process). */
export interface FileLock {
  close(): void;
}

/** Somebody else has the lock; the PID is undefined when the file does not tell it. */
export interface LockHeld {
  readonly heldByPid: number | undefined;
}

/** Takes the exclusive lock of a file, made when missing, without waiting; writes its own PID in. */
export function lockFile(path: string): FileLock | LockHeld {
  const flags = openFlags.readWrite | openFlags.create | openFlags.closeOnExec;
  const fd = translated(`lock ${JSON.stringify(path)}`, () => openSync(path, flags, 0o644));
  if (libc().flock(fd, lockExclusive | lockNonblocking) !== 0) {
    const code = errnoName(errno());
    const pid = Number.parseInt(readFileSync(fd, "utf8"), 10);
    closeSync(fd);
    if (code === "EAGAIN") return { heldByPid: Number.isNaN(pid) ? undefined : pid };
    throw new EngineError("internal", `lock ${JSON.stringify(path)}: ${code}`, {
      details: { code },
    });
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`, 0);
  let isOpen = true;
  return {
    close() {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}

/** Figures of a mounted file system. */
export interface FileSystemStats {
  /** The kernel's magic number (`statfs` f_type). */
  readonly type: number;
  /** As `backingFileSystemName`. */
  readonly typeName: string;
  readonly sizeBytes: number;
  /** Free for anyone. */
  readonly freeBytes: number;
  /** Free for a process without privileges. */
  readonly availableBytes: number;
  readonly inodeCount: number;
  readonly inodeFreeCount: number;
}

/** How full the file system that holds `path` is. */
export function fileSystemStats(path: string): FileSystemStats {
  const stats = translated(`ask file system of ${JSON.stringify(path)}`, () => statfsSync(path));
  return {
    type: stats.type,
    typeName: magicNames.get(stats.type >>> 0) ?? "<unknown>",
    sizeBytes: stats.blocks * stats.bsize,
    freeBytes: stats.bfree * stats.bsize,
    availableBytes: stats.bavail * stats.bsize,
    inodeCount: stats.files,
    inodeFreeCount: stats.ffree,
  };
}

/** The name Docker gives the file system that holds `path` (`extfs`, `xfs`, …, `<unknown>`). */
export function backingFileSystemName(path: string): string {
  return fileSystemStats(path).typeName;
}

// Docker: names and numbers of graphdriver.FsNames, seen in 28.5.
const magicNames: ReadonlyMap<number, string> = new Map([
  [0x61756673, "aufs"],
  [0x9123683e, "btrfs"],
  [0x28cd3d45, "cramfs"],
  [0xf15f, "ecryptfs"],
  [0xef53, "extfs"],
  [0xf2f52010, "f2fs"],
  [0x65735546, "fuse"],
  [0x47504653, "gpfs"],
  [0x3153464a, "jfs"],
  [0x6969, "nfs"],
  [0x794c7630, "overlayfs"],
  [0x858458f6, "ramfs"],
  [0x52654973, "reiserfs"],
  [0x517b, "smb"],
  [0x73717368, "squashfs"],
  [0x01021994, "tmpfs"],
  [0xbacbacbc, "vmhgfs"],
  [0x786f4256, "vboxsf"],
  [0x58465342, "xfs"],
  [0x2fc12fc1, "zfs"],
]);
