import { closeSync, constants, lstatSync, openSync } from "node:fs";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { type FileFacts, factsAt } from "../../sys/fs/fs.ts";
import { openFlags, systemFailure } from "../../sys/libc.ts";
import { shown } from "../tree/entry-failure.ts";
import { namesIn, procPath } from "../tree/tree-names.ts";
import * as tree from "../tree/tree-syscalls.ts";
import type { TreeEntry } from "./_layer-tar-writer.ts";

/**
 * As deep as a path of the kernel's 4096 bytes can go: nobody could unpack what is below. Each level
 * holds a descriptor open.
 *
 * Docker: leaves out of an archive what is deeper, and tells nobody, seen in 28.5.
 */
const depthMax = 2048;
const folderFlags =
  constants.O_RDONLY | openFlags.directory | openFlags.noFollow | openFlags.closeOnExec;

/** A folder that is open, and its path in the tree. */
export interface WalkedFolder {
  readonly fd: number;
  /** Byte string; "" is the root. */
  readonly path: string;
  readonly depth: number;
}

/** Opens the root of a tree for `work`. */
export function withTree(dir: string, work: (root: WalkedFolder) => void): void {
  const fd = openSync(dir, folderFlags);
  try {
    work({ fd, path: "", depth: 0 });
  } finally {
    closeSync(fd);
  }
}

/** Opens a folder that was met for `work`; nothing when it is gone or no folder any more. */
export function withFolder(
  { at, path }: Pick<TreeEntry, "at" | "path">,
  options: { readonly depth: number; readonly work: (folder: WalkedFolder) => void },
): void {
  const { depth, work } = options;
  if (depth > depthMax) {
    throw new EngineError(
      "invalid-argument",
      `read tree: ${shown(path)} is deeper than ${depthMax} folders`,
    );
  }
  const fd = openFolder(at);
  if (fd === undefined) return;
  try {
    work({ fd, path, depth });
  } finally {
    closeSync(fd);
  }
}

function openFolder(at: Buffer): number | undefined {
  try {
    return openSync(at, folderFlags);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") return undefined;
    throw error;
  }
}

/** The names in a folder, in the order of their bytes. */
export function sortedNames(folder: WalkedFolder): readonly string[] {
  return namesIn(folder.fd).toSorted(byBytes);
}

/** The order of names that are byte strings, no two of them the same. */
export function byBytes(left: string, right: string): number {
  return left < right ? -1 : 1;
}

/** What has a name in a folder, a link itself; undefined when it is gone. */
export function entryIn(folder: WalkedFolder, name: string): MetEntry | undefined {
  const stat = factsAt(folder.fd, name);
  return stat === undefined ? undefined : new MetEntry(folder, name, { stat });
}

/** What a walk has met in an open folder. Most of them are never asked where they are. */
export class MetEntry implements TreeEntry {
  readonly path: string;
  readonly name: string;
  readonly stat: FileFacts;
  readonly xattrNames: readonly string[] | undefined;
  readonly fd: number | undefined;
  readonly #folder: WalkedFolder;

  constructor(
    folder: WalkedFolder,
    name: string,
    known: Pick<TreeEntry, "stat" | "xattrNames" | "fd">,
  ) {
    this.path = childPath(folder.path, name);
    this.name = name;
    this.stat = known.stat;
    this.xattrNames = known.xattrNames;
    this.fd = known.fd;
    this.#folder = folder;
  }

  get at(): Buffer {
    return procPath(this.#folder.fd, this.name);
  }

  /** The same, of which more is known. */
  with(more: Pick<TreeEntry, "xattrNames" | "fd">): MetEntry {
    const { stat, fd, xattrNames } = this;
    return new MetEntry(this.#folder, this.name, { stat, fd, xattrNames, ...more });
  }
}

/** Opens a regular file that was met for reading; undefined when it is gone, or a link by now. */
export function openFileIn(folder: WalkedFolder, { path, name }: MetEntry): number | undefined {
  const fd = tree.openFile(folder.fd, name);
  if (fd >= 0) return fd;
  const code = tree.resultCode(fd);
  if (code === "ENOENT" || code === "ELOOP") return undefined;
  throw systemFailure(-fd, `read layer: open ${shown(path)}`);
}

/** The root of a tree as an entry. */
export function rootEntry(folder: WalkedFolder): TreeEntry {
  const at = Buffer.from(`/proc/self/fd/${folder.fd}/.`);
  return { path: "", at, stat: lstatSync(at, { bigint: true }) };
}

/** The path of a name in a folder. */
export function childPath(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}

/** Tells whether an overlay layer says by this file that a name is gone. */
export function isWhiteout(stat: FileFacts): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0n;
}

/** Tells whether two files differ in owner, mode or kind. */
export function differInOwnerOrMode(left: FileFacts, right: FileFacts): boolean {
  return left.mode !== right.mode || left.uid !== right.uid || left.gid !== right.gid;
}
