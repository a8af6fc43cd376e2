import { lstatSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { type FileFacts, listOpenXattr, listXattr } from "../../sys/fs/fs.ts";
import type { DiffVisitor } from "./_diff-visitor.ts";
import { shown } from "../tree/entry-failure.ts";
import { isEngineFile, isEngineFolder } from "./_engine-paths.ts";
import { closeFd } from "../tree/tree-syscalls.ts";
import { findPartialMark, isOpaqueFolder } from "../tree/layer-xattrs.ts";
import { findInLayers, namesInLayers } from "../tree/lower-layers.ts";
import {
  byBytes,
  differInOwnerOrMode,
  entryIn,
  isWhiteout,
  type MetEntry,
  openFileIn,
  rootEntry,
  sortedNames,
  type WalkedFolder,
  withFolder,
  withTree,
} from "./_tree-walk.ts";

/** An overlay layer to walk. */
export interface OverlayWalk {
  readonly dir: string;
  /** Uppermost first. */
  readonly parentDirs: readonly string[];
  readonly visitor: DiffVisitor;
  /** Tells added from modified, and names what an opaque folder hides: a look below for each file. */
  readonly isClassified: boolean;
  /** Leaves out what only the start of a container made. */
  readonly omitsEngineFiles: boolean;
}

/** Tells a visitor what an overlay's upper layer changes. */
export function walkOverlay(walk: OverlayWalk): void {
  withTree(walk.dir, (root) => {
    const entry = rootEntry(root);
    walk.visitor.enter(entry, rootDiffers(entry.stat, walk.parentDirs[0]) ? "modified" : "same");
    walkFolder(walk, { folder: root, isNew: walk.parentDirs.length === 0 });
    walk.visitor.leave();
  });
}

function rootDiffers(root: FileFacts, parentDir: string | undefined): boolean {
  if (parentDir !== undefined) {
    return differInOwnerOrMode(root, lstatSync(parentDir, { bigint: true }));
  }
  return root.uid !== 0n || root.gid !== 0n || (root.mode & 0o7777n) !== 0o755n;
}

interface FolderStep {
  readonly folder: WalkedFolder;
  /** Nothing of the layers below shows in it. */
  readonly isNew: boolean;
}

function walkFolder(walk: OverlayWalk, { folder, isNew }: FolderStep): void {
  for (const name of sortedNames(folder)) {
    const entry = entryIn(folder, name);
    if (entry === undefined) continue;
    if (isWhiteout(entry.stat)) walk.visitor.removed(entry.path);
    else if (entry.stat.isDirectory()) walkSubfolder(walk, { entry, folder, isNew });
    else walkFile(walk, { entry, folder, isNew });
  }
}

function walkFile(
  walk: OverlayWalk,
  { entry, folder, isNew }: FolderStep & { readonly entry: MetEntry },
): void {
  if (walk.omitsEngineFiles && isEngineFile(entry)) return;
  const change = isAdded(walk, { entry, isNew }) ? "added" : "modified";
  const fd = readsContent(walk, entry) ? openFileIn(folder, entry) : undefined;
  if (fd === undefined) {
    walk.visitor.file(withXattrNames(entry), change);
    return;
  }
  try {
    walk.visitor.file(withXattrNames(entry, fd), change);
  } finally {
    closeFd(fd);
  }
}

/** Who lists changes looks at no content. */
function readsContent(walk: OverlayWalk, { stat }: MetEntry): boolean {
  return !walk.isClassified && stat.isFile();
}

function isAdded(
  walk: OverlayWalk,
  { entry, isNew }: { readonly entry: MetEntry; readonly isNew: boolean },
): boolean {
  if (!walk.isClassified) return false;
  return isNew || findInLayers(walk.parentDirs, entry.path) === undefined;
}

function walkSubfolder(
  walk: OverlayWalk,
  { entry: bare, folder, isNew }: FolderStep & { readonly entry: MetEntry },
): void {
  const entry = withXattrNames(bare);
  const { visitor } = walk;
  const isOpaque = isOpaqueFolder(entry.at);
  const isEngines = walk.omitsEngineFiles && isEngineFolder(entry.path);
  const needsLower = !isNew && (walk.isClassified || isOpaque || isEngines);
  const lower = needsLower ? findInLayers(walk.parentDirs, entry.path)?.stat : undefined;
  visitor.enter(entry, folderChange(walk, { entry, lower, isEngines }));
  const hides = isOpaque && lower?.isDirectory() === true;
  if (hides) visitor.opaque(entry.path);
  // Without a look below it is not known: then only an opaque folder is certain.
  const isNewFolder = isNew || isOpaque || (needsLower && lower?.isDirectory() !== true);
  if (hides && walk.isClassified) tellHidden(walk, { entry, folder });
  else {
    const depth = folder.depth + 1;
    const work = (open: WalkedFolder): void =>
      walkFolder(walk, { folder: open, isNew: isNewFolder });
    withFolder(entry, { depth, work });
  }
  visitor.leave();
}

function folderChange(
  walk: OverlayWalk,
  options: {
    readonly entry: MetEntry;
    readonly lower: FileFacts | undefined;
    readonly isEngines: boolean;
  },
): "added" | "modified" | "same" {
  const { entry, lower, isEngines } = options;
  if (lower?.isDirectory() === true) {
    const isChanged = differInOwnerOrMode(entry.stat, lower);
    if (isEngines) return isChanged ? "modified" : "same";
    if (!walk.isClassified || isChanged) return "modified";
    return entry.stat.mtimeNs === lower.mtimeNs ? "same" : "modified";
  }
  if (isEngines && lower === undefined) return "same";
  return walk.isClassified && lower === undefined ? "added" : "modified";
}

/** A folder that was removed and made anew: what is not in it any more is removed. */
function tellHidden(
  walk: OverlayWalk,
  { entry, folder }: { readonly entry: MetEntry; readonly folder: WalkedFolder },
): void {
  const work = (open: WalkedFolder): void => {
    const now = new Set(sortedNames(open));
    const before = namesInLayers(walk.parentDirs, entry.path);
    for (const name of [...new Set([...now, ...before])].toSorted(byBytes)) {
      const child = now.has(name) ? entryIn(open, name) : undefined;
      if (child === undefined) walk.visitor.removed(`${entry.path}/${name}`);
      else if (child.stat.isDirectory()) {
        walkSubfolder(walk, { entry: child, folder: open, isNew: !before.has(name) });
      } else walkFile(walk, { entry: child, folder: open, isNew: !before.has(name) });
    }
  };
  withFolder(entry, { depth: folder.depth + 1, work });
}

/**
 * The entry with the names of its attributes, and its open file. What has its content in another
 * layer is refused: written as it is here it would be damaged.
 */
function withXattrNames(entry: MetEntry, fd?: number): MetEntry {
  const xattrNames = fd === undefined ? listXattr(entry.at) : listOpenXattr(fd);
  const mark = findPartialMark(xattrNames);
  if (mark === undefined) return entry.with({ xattrNames, fd });
  throw new EngineError(
    "not-implemented",
    `read layer: ${shown(entry.path)} has ${mark}: overlays must be mounted with redirect_dir=off and metacopy=off`,
  );
}
