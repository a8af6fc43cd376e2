import { closeSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { systemCode } from "../../sys/libc.ts";
import * as calls from "../../snapshot/tree/tree-syscalls.ts";
import { must } from "../tree/calls.ts";
import type { FileData } from "./_file-data.ts";
import { type MergedTree, shown, type TreeNode, vanished } from "../tree/merged-tree.ts";
import type { ModeChange } from "./_mode.ts";
import type { Owner } from "../tree/owner.ts";
import type { SourceMatch } from "../tree/selection.ts";
import type { SharedSource } from "./_shared-files.ts";
import { copyXattrs, nameIn, type TargetFolder, type TargetTree } from "./_target-tree.ts";
import { type Visited, type Visitor, walkMatch } from "../tree/walk.ts";
import type { PatternList } from "../../lib/pattern/name-pattern.ts";

/** What of the source's attributes is changed. */
export interface Change {
  /** Undefined keeps the source's. */
  readonly owner: Owner | undefined;
  readonly mode: ModeChange | undefined;
}

/** Where a match goes. */
export interface CopyPlace {
  readonly folder: TargetFolder;
  /** Of a file, its name in the folder; a folder's content goes into the folder itself. */
  readonly name: string;
}

/** How much was written. */
export interface Written {
  fileCount: number;
  sizeBytes: number;
}

/** What all copies of one step share. */
export interface MatchCopy {
  readonly source: MergedTree;
  readonly target: TargetTree;
  readonly change: Change;
  readonly data: FileData;
  readonly written: Written;
  /** Undefined when files of this source must not be shared. */
  readonly shared: SharedSource | undefined;
  readonly excludes: PatternList;
  /** Is told of each file before it is copied. */
  readonly beside?: Visitor | undefined;
}

/** Copies what a match names: a file to a name, or a folder's content into a folder. */
export function copyMatch(copy: MatchCopy, match: SourceMatch, place: CopyPlace): void {
  const visitor = new CopyVisitor(copy, { place, hasIncludes: match.includes !== undefined });
  const { beside } = copy;
  walkMatch(copy.source, match, {
    excludes: copy.excludes,
    visitor: beside === undefined ? visitor : bothVisitors(beside, visitor),
  });
}

function bothVisitors(first: Visitor, second: Visitor): Visitor {
  return {
    enter: (folder) => {
      first.enter(folder);
      second.enter(folder);
    },
    leave: (folder) => {
      first.leave(folder);
      second.leave(folder);
    },
    file: (file) => {
      first.file(file);
      second.file(file);
    },
  };
}

/** Makes in the target what a walk finds. */
class CopyVisitor implements Visitor {
  readonly #copy: MatchCopy;
  readonly #name: string;
  readonly #hasIncludes: boolean;
  /** The folders that the walk is in. */
  readonly #folders: TargetFolder[];
  /** Device and inode of a file with several names → the first of them that was written. */
  readonly #links = new Map<string, { readonly folder: TargetFolder; readonly name: string }>();

  constructor(
    copy: MatchCopy,
    options: { readonly place: CopyPlace; readonly hasIncludes: boolean },
  ) {
    this.#copy = copy;
    this.#folders = [options.place.folder];
    this.#name = options.place.name;
    this.#hasIncludes = options.hasIncludes;
  }

  enter({ path, name, node }: Visited): void {
    // The top folder is there already, and keeps owner and mode.
    if (path === "") return;
    const { target } = this.#copy;
    const { folder, isNew } = target.makeFolder(this.#parent, name);
    this.#folders.push(folder);
    // Docker: with --parents a folder that is there keeps owner and mode, seen in fsutil's copy.
    if (!isNew && this.#hasIncludes) return;
    target.setAttributes(folder, this.#attributesOf(node, true));
    copyXattrs(this.#copy.source.hostPath(node), nameIn(target.fd(folder), "."));
  }

  leave({ path, node, isImplied }: Visited): void {
    const folder = this.#parent;
    // Docker: a folder that an exception of --exclude brings has the time of its making, seen in 28.5.
    if (!isImplied || this.#hasIncludes) {
      this.#copy.target.setTime(folder, node.stat.mtimeNs);
    }
    if (path !== "") this.#folders.pop();
  }

  file({ path, name, node }: Visited): void {
    const { stat } = node;
    const at = path === "" ? this.#name : name;
    if (this.#linkToFirst(at, node)) return;
    if (stat.isFile()) this.#regularFile(at, node);
    else this.#otherFile(at, node);
    this.#copy.written.fileCount += 1;
  }

  get #parent(): TargetFolder {
    const folder = this.#folders.at(-1);
    if (folder === undefined) throw vanished("");
    return folder;
  }

  /** Makes a second name of a file that this walk has written; false for all others. */
  #linkToFirst(name: string, { stat }: TreeNode): boolean {
    if (stat.nlink < 2n) return false;
    const key = `${stat.dev}:${stat.ino}`;
    const first = this.#links.get(key);
    const folder = this.#parent;
    if (first === undefined) {
      this.#links.set(key, { folder, name });
      return false;
    }
    const { target } = this.#copy;
    target.makeFile(folder, name, (fd) =>
      calls.makeHardLink(fd, name, { folder: target.fd(first.folder), name: first.name }),
    );
    return true;
  }

  /** Gives a file that is to look as it does a second name instead of a copy. */
  #shareFile(name: string, node: TreeNode): boolean {
    const { source, target, shared, written } = this.#copy;
    if (shared?.canShare(node, this.#attributesOf(node, false)) !== true) return false;
    const from = source.linkSource(node);
    let made: calls.CallResult = 0;
    target.makeFile(this.#parent, name, (fd) => {
      made = calls.makeHardLink(fd, name, from);
      return canCopyInstead(made) ? 0 : made;
    });
    if (made < 0) return false;
    shared.add(node);
    written.sizeBytes += Number(node.stat.size);
    return true;
  }

  #regularFile(name: string, node: TreeNode): void {
    if (this.#shareFile(name, node)) return;
    const { source, target, data, written } = this.#copy;
    const from = openSource(source, node);
    try {
      const folder = this.#parent;
      const to = target.makeFile(folder, name, (fd) => calls.createFile(fd, name));
      try {
        written.sizeBytes += data.copy(from, to);
        const attributes = this.#attributesOf(node, false);
        const what = `copy ${shown(node.places[0].path)}`;
        must(calls.setOwnerAndMode(to, attributes), what);
        copyXattrs(source.hostPath(node), nameIn(target.fd(folder), name));
        must(calls.setTimesOf(to, attributes.mtimeNs), what);
      } finally {
        closeSync(to);
      }
    } finally {
      closeSync(from);
    }
  }

  #otherFile(name: string, node: TreeNode): void {
    const { source, target } = this.#copy;
    const { stat } = node;
    const attributes = this.#attributesOf(node, false);
    const isLink = stat.isSymbolicLink();
    const link = isLink ? source.readLink(node) : "";
    const kind = { mode: Number(stat.mode) & 0o170000, device: stat.rdev };
    if (stat.isCharacterDevice() && stat.rdev === 0n) throw refuseWhiteout(node.places[0].path);
    const folder = this.#parent;
    target.makeFile(folder, name, (fd) =>
      isLink ? calls.makeSymlink(fd, name, link) : calls.makeNodeAt(fd, name, kind),
    );
    const fd = target.fd(folder);
    const what = `copy ${shown(node.places[0].path)}`;
    must(calls.setOwnerAt(fd, name, attributes), what);
    if (!isLink) must(calls.setModeAt(fd, name, attributes.mode), what);
    must(calls.setTimesAt(fd, name, attributes.mtimeNs), what);
  }

  #attributesOf({ stat }: TreeNode, isFolder: boolean): calls.FileAttributes {
    const { owner, mode } = this.#copy.change;
    const own = Number(stat.mode) & 0o7777;
    return {
      uid: owner?.uid ?? Number(stat.uid),
      gid: owner?.gid ?? Number(stat.gid),
      mode: mode === undefined ? own : mode.apply(own, isFolder),
      mtimeNs: stat.mtimeNs,
    };
  }
}

/** Another mount or file system, too many links, a file that vanished: the copy will tell. */
function canCopyInstead(made: calls.CallResult): boolean {
  return made < 0 && ["EXDEV", "EMLINK", "EPERM", "ENOENT"].includes(calls.resultCode(made));
}

/** Opens a source file. @throws not-found when it vanished or changed its kind */
export function openSource(source: MergedTree, node: TreeNode): number {
  try {
    return source.open(node);
  } catch (error) {
    if (!["ENOENT", "ELOOP", "ENOTDIR", "ENXIO"].includes(systemCode(error) ?? "")) throw error;
    throw vanished(node.places[0].path, error);
  }
}

/** The failure of a device that overlayfs would take for a whiteout; it makes none itself. */
export function refuseWhiteout(path: string): EngineError {
  return new EngineError("permission-denied", `make device ${shown(path)}: 0:0 is not permitted`);
}
