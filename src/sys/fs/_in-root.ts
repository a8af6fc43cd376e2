import { closeSync, constants, fchmodSync, fchownSync, fstatSync, readSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { quoted } from "./_node.ts";
import {
  check,
  cstring,
  errno,
  errnoName,
  lazyLibc,
  openFlags,
  systemCall,
  systemCode,
  systemFailure,
} from "../libc.ts";

const libc = lazyLibc({
  // long syscall(openat2, dirfd, path, how, size)
  syscall: { args: ["i64", "i32", "ptr", "ptr", "u64"], returns: "i64" },
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  mkdirat: { args: ["i32", "ptr", "u32"], returns: "i32" },
});

// linux/openat2.h
const resolveNoMagicLinks = 2n;
const resolveInRoot = 0x10n;
const openHowSizeBytes = 24;
/** The kernel asks to be called again when a rename ran beside the look-up. */
const attemptCountMax = 32;

/** What `statInRoot` tells of a file. */
export interface RootStat {
  /** Type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  readonly isDirectory: boolean;
  readonly isFile: boolean;
  readonly isSymbolicLink: boolean;
}

/** Opens a folder to be the root of `openInRoot`; the caller closes the descriptor. */
export function openRoot(path: string): number {
  const flags = openFlags.path | openFlags.directory | openFlags.closeOnExec;
  return check(libc().open(cstring(path), flags, 0), `open root ${JSON.stringify(path)}`);
}

/**
 * Opens `path` as if `root` were `/`: links, `..` and absolute targets cannot lead out, and
 * magic links of /proc are refused. O_CLOEXEC is added. The caller closes the descriptor.
 *
 * @param flags `openFlags` or node's `constants.O_*`
 */
export function openInRoot(
  root: number,
  path: string | Uint8Array,
  flags: number,
  mode = 0,
): number {
  const fd = tryOpen(root, path, { flags, mode });
  if (fd >= 0) return fd;
  throw systemFailure(-fd, `open ${quoted(path)} in root`);
}

function tryOpen(
  root: number,
  path: string | Uint8Array,
  options: { readonly flags: number; readonly mode: number },
): number {
  const creates = (options.flags & openFlags.create) !== 0;
  const how = new BigUint64Array([
    BigInt(options.flags | openFlags.closeOnExec),
    creates ? BigInt(options.mode) : 0n,
    resolveInRoot | resolveNoMagicLinks,
  ]);
  const name = cstring(path);
  for (let attempt = 1; ; attempt += 1) {
    const fd = Number(libc().syscall(systemCall.openat2, root, name, how, openHowSizeBytes));
    if (fd >= 0) return fd;
    const number = errno();
    if (errnoName(number) !== "EAGAIN" || attempt === attemptCountMax) return -number;
  }
}

/**
 * Reads a regular file inside a root; undefined when it is missing.
 *
 * The file is hostile: a FIFO or device is not waited for, nothing beyond the limit is read.
 *
 * @throws invalid-argument when it is no regular file or larger than the limit
 */
export function readFileInRoot(
  root: number,
  path: string,
  options: { readonly sizeMaxBytes: number },
): Uint8Array | undefined {
  const flags = openFlags.readOnly | openFlags.nonblock | openFlags.noControllingTty;
  const fd = tryOpen(root, path, { flags, mode: 0 });
  if (fd < 0) {
    const code = errnoName(-fd);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw systemFailure(-fd, `read ${JSON.stringify(path)} in root`);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw refused(path, "not a regular file");
    // One byte above the limit, since a file may grow while it is read; /proc files tell size 0.
    const chunks: Uint8Array[] = [];
    let sizeBytes = 0;
    for (;;) {
      const want = Math.min(65_536, options.sizeMaxBytes + 1 - sizeBytes);
      const chunk = new Uint8Array(want);
      const count = readSync(fd, chunk, 0, want, null);
      if (count === 0) return Buffer.concat(chunks);
      sizeBytes += count;
      if (sizeBytes > options.sizeMaxBytes) {
        throw refused(path, `larger than ${options.sizeMaxBytes} bytes`);
      }
      chunks.push(chunk.subarray(0, count));
    }
  } finally {
    closeSync(fd);
  }
}

function refused(path: string, reason: string): EngineError {
  return new EngineError("invalid-argument", `read ${JSON.stringify(path)} in root: ${reason}`);
}

/** What is at `path` inside a root; the last link is followed unless `noFollow`. */
export function statInRoot(
  root: number,
  path: string,
  options: { readonly noFollow?: boolean } = {},
): RootStat | undefined {
  const flags = openFlags.path | (options.noFollow === true ? openFlags.noFollow : 0);
  const fd = tryOpen(root, path, { flags, mode: 0 });
  if (fd < 0) {
    const code = errnoName(-fd);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw systemFailure(-fd, `stat ${JSON.stringify(path)} in root`);
  }
  try {
    const stat = fstatSync(fd);
    return {
      mode: stat.mode,
      uid: stat.uid,
      gid: stat.gid,
      sizeBytes: stat.size,
      mtimeMs: stat.mtimeMs,
      isDirectory: stat.isDirectory(),
      isFile: stat.isFile(),
      isSymbolicLink: stat.isSymbolicLink(),
    };
  } finally {
    closeSync(fd);
  }
}

/** How `mkdirInRoot` makes the folders that are missing; the umask does not apply. */
export interface MkdirOptions {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Makes a folder and its missing parents inside a root, following links as the container would.
 *
 * Folders that are there stay as they are.
 *
 * @throws an error with code ENOTDIR when a part of the path is something else
 */
export function mkdirInRoot(root: number, path: string, options: MkdirOptions = {}): void {
  const directory = openFlags.path | openFlags.directory;
  let done = "/";
  for (const part of path.split("/").filter((name) => name !== "" && name !== ".")) {
    const parent = done;
    done = done === "/" ? `/${part}` : `${done}/${part}`;
    const present = tryOpen(root, done, { flags: directory, mode: 0 });
    if (present >= 0) {
      closeSync(present);
      continue;
    }
    if (errnoName(-present) !== "ENOENT") {
      throw systemFailure(-present, `make folder ${JSON.stringify(done)} in root`);
    }
    makeOne(root, { parent, part, path: done, ...options });
  }
}

function makeOne(
  root: number,
  folder: MkdirOptions & { readonly parent: string; readonly part: string; readonly path: string },
): void {
  const what = `make folder ${JSON.stringify(folder.path)} in root`;
  const parent = openInRoot(root, folder.parent, openFlags.path | openFlags.directory);
  try {
    check(libc().mkdirat(parent, cstring(folder.part), 0o700), what);
    const flags = constants.O_RDONLY | openFlags.directory | openFlags.noFollow;
    const fd = openInRoot(parent, folder.part, flags);
    try {
      if (folder.uid !== undefined || folder.gid !== undefined) {
        fchownSync(fd, folder.uid ?? 0, folder.gid ?? 0);
      }
      fchmodSync(fd, folder.mode ?? 0o755);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    // Another made it first: as good as ours. A dangling link is not, and fails at the next part.
    if (systemCode(error) !== "EEXIST") throw error;
    closeSync(openInRoot(root, folder.path, openFlags.path | openFlags.directory));
  } finally {
    closeSync(parent);
  }
}
