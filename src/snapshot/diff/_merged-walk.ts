import type { DiffVisitor } from "./_diff-visitor.ts";
import type { TreeEntry } from "./_layer-tar-writer.ts";
import { isOpaqueFolder } from "../tree/layer-xattrs.ts";
import {
  byBytes,
  entryIn,
  isWhiteout,
  rootEntry,
  sortedNames,
  type WalkedFolder,
  withFolder,
  withTree,
} from "./_tree-walk.ts";

/**
 * Tells a visitor every file that an overlay of `dirs` (uppermost first) shows, without mounting it;
 * also while the uppermost is written to.
 */
export function walkMerged(dirs: readonly string[], visitor: DiffVisitor): void {
  withTrees(dirs, [], (roots) => {
    const [top] = roots;
    if (top === undefined) return;
    visitor.enter(rootEntry(top), "same");
    walkFolders(visitor, roots);
    visitor.leave();
  });
}

function withTrees(
  dirs: readonly string[],
  open: readonly WalkedFolder[],
  work: (roots: readonly WalkedFolder[]) => void,
): void {
  const [dir, ...others] = dirs;
  if (dir === undefined) work(open);
  else withTree(dir, (root) => withTrees(others, [...open, root], work));
}

/** Walks folders of one path in several layers, uppermost first, as the one that they look like. */
function walkFolders(visitor: DiffVisitor, folders: readonly WalkedFolder[]): void {
  const names = new Set(folders.flatMap((folder) => sortedNames(folder)));
  const sorted = folders.length === 1 ? [...names] : [...names].toSorted(byBytes);
  for (const name of sorted) {
    const stack = stackOf(folders, name);
    const [top, ...others] = stack;
    if (top === undefined) continue;
    if (!top.stat.isDirectory()) {
      visitor.file(top, "added");
      continue;
    }
    visitor.enter(top, "added");
    const depth = (folders[0]?.depth ?? 0) + 1;
    withFolders([top, ...others], { depth, open: [], work: (open) => walkFolders(visitor, open) });
    visitor.leave();
  }
}

/** What a name stands for: one file, or the folders that show through each other. */
function stackOf(folders: readonly WalkedFolder[], name: string): readonly TreeEntry[] {
  const stack: TreeEntry[] = [];
  for (const folder of folders) {
    const entry = entryIn(folder, name);
    if (entry === undefined) continue;
    if (isWhiteout(entry.stat)) return stack;
    const isFolder = entry.stat.isDirectory();
    if (stack.length === 0 || isFolder) stack.push(entry);
    if (!isFolder || isOpaqueFolder(entry.at)) return stack;
  }
  return stack;
}

function withFolders(
  entries: readonly TreeEntry[],
  options: {
    readonly depth: number;
    readonly open: readonly WalkedFolder[];
    readonly work: (folders: readonly WalkedFolder[]) => void;
  },
): void {
  const { depth, open, work } = options;
  const [entry, ...others] = entries;
  if (entry === undefined) {
    work(open);
    return;
  }
  withFolder(entry, {
    depth,
    work: (folder) => withFolders(others, { depth, open: [...open, folder], work }),
  });
}
