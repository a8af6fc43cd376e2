import { readlinkSync } from "node:fs";
import type { FileFacts } from "../../sys/fs/fs.ts";
import type { DiffVisitor } from "./_diff-visitor.ts";
import { isEngineFile, isEngineFolder } from "./_engine-paths.ts";
import type { TreeEntry } from "./_layer-tar-writer.ts";
import { readLayerXattrs } from "../tree/layer-xattrs.ts";
import {
  byBytes,
  childPath,
  differInOwnerOrMode,
  entryIn,
  rootEntry,
  sortedNames,
  type WalkedFolder,
  withFolder,
  withTree,
} from "./_tree-walk.ts";

/** Two whole trees to compare. */
export interface CopyWalk {
  readonly dir: string;
  /** Absent: everything is new. */
  readonly parentDir: string | undefined;
  readonly visitor: DiffVisitor;
  /** Leaves out what only the start of a container made. */
  readonly omitsEngineFiles: boolean;
}

/**
 * Tells a visitor how a tree differs from the one it is a copy of.
 *
 * Files are the same when kind, owner, mode, size and time to the nanosecond are, as Docker holds.
 */
export function walkCopies(walk: CopyWalk): void {
  withTree(walk.dir, (now) => {
    if (walk.parentDir === undefined) walkRoot(walk, now, undefined);
    else withTree(walk.parentDir, (before) => walkRoot(walk, now, before));
  });
}

function walkRoot(walk: CopyWalk, now: WalkedFolder, before: WalkedFolder | undefined): void {
  const entry = rootEntry(now);
  const { stat } = entry;
  const isUsual = stat.uid === 0n && stat.gid === 0n && (stat.mode & 0o7777n) === 0o755n;
  const isSame = before === undefined ? isUsual : !differs(entry, rootEntry(before));
  walk.visitor.enter(entry, isSame ? "same" : "modified");
  walkFolders(walk, now, before);
  walk.visitor.leave();
}

function walkFolders(walk: CopyWalk, now: WalkedFolder, before: WalkedFolder | undefined): void {
  const names = new Set(sortedNames(now));
  const old = before === undefined ? [] : sortedNames(before);
  const all = old.length === 0 ? [...names] : [...new Set([...names, ...old])].toSorted(byBytes);
  for (const name of all) {
    const entry = names.has(name) ? entryIn(now, name) : undefined;
    const previous = before === undefined ? undefined : entryIn(before, name);
    if (entry === undefined) {
      if (previous !== undefined) walk.visitor.removed(childPath(now.path, name));
    } else if (entry.stat.isDirectory()) walkSubfolder(walk, { entry, previous, now });
    else walkFile(walk, entry, previous);
  }
}

function walkFile(walk: CopyWalk, entry: TreeEntry, previous: TreeEntry | undefined): void {
  if (walk.omitsEngineFiles && isEngineFile(entry)) return;
  if (previous === undefined) walk.visitor.file(entry, "added");
  else if (differs(entry, previous)) walk.visitor.file(entry, "modified");
}

function walkSubfolder(
  walk: CopyWalk,
  step: {
    readonly entry: TreeEntry;
    readonly previous: TreeEntry | undefined;
    readonly now: WalkedFolder;
  },
): void {
  const { entry, previous, now } = step;
  const isEngines = walk.omitsEngineFiles && isEngineFolder(entry.path);
  if (previous === undefined) walk.visitor.enter(entry, isEngines ? "same" : "added");
  else walk.visitor.enter(entry, differs(entry, previous) ? "modified" : "same");
  const depth = now.depth + 1;
  withFolder(entry, {
    depth,
    work: (folder) => {
      if (previous?.stat.isDirectory() !== true) walkFolders(walk, folder, undefined);
      else withFolder(previous, { depth, work: (before) => walkFolders(walk, folder, before) });
    },
  });
  walk.visitor.leave();
}

/** Docker: size and time of a folder say nothing. */
function differs(entry: TreeEntry, previous: TreeEntry): boolean {
  const [now, before] = [entry.stat, previous.stat];
  if (differInOwnerOrMode(now, before)) return true;
  if (!now.isDirectory() && (now.mtimeNs !== before.mtimeNs || now.size !== before.size)) {
    return true;
  }
  if (isDevice(now) && now.rdev !== before.rdev) return true;
  if (now.isSymbolicLink() && !target(entry).equals(target(previous))) return true;
  return !haveSameXattrs(entry, previous);
}

function isDevice(stat: FileFacts): boolean {
  return stat.isCharacterDevice() || stat.isBlockDevice();
}

function target({ at }: TreeEntry): Buffer {
  return readlinkSync(at, { encoding: "buffer" });
}

function haveSameXattrs(entry: TreeEntry, previous: TreeEntry): boolean {
  const now = readLayerXattrs(entry.at);
  const before = readLayerXattrs(previous.at);
  if (now.size !== before.size) return false;
  return [...now].every(([name, value]) => {
    const other = before.get(name);
    return other !== undefined && Buffer.compare(value, other) === 0;
  });
}
