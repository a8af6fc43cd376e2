/** Trees for tests: made from short lines, and shown as lines of the same form. */
import {
  chmodSync,
  linkSync,
  lutimesSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeNode } from "../../sys/fs/fs.ts";
import { MergedTree, type TreeNode } from "../tree/merged-tree.ts";

/** Seconds of the time that a line without one gets: long before any test. */
export const fixtureTimeS = 1_000_000_000;

/** A folder for a test, removed when it is closed. */
export interface TestFolder extends Disposable {
  readonly path: string;
}

/** Makes an empty folder that only the test has. */
export function openTestFolder(): TestFolder {
  const path = mkdtempSync(join(tmpdir(), "tug-copy-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * Makes files below a folder, a line each: `path mode uid:gid time content`, where a path ends in `/`
 * for a folder, has ` -> target` behind it for a link, ` = path` for a hard link, ` |` for a FIFO; the
 * rest may be left out from the right. Folders' times are set last.
 */
export function makeTree(root: string, lines: readonly string[]): string {
  mkdirSync(root, { recursive: true, mode: 0o755 });
  const folders: (() => void)[] = [];
  for (const line of lines) {
    const [, path = "", link, fields = ""] = /^(\S+)( (?:->|=) \S+| \|)?(.*)$/.exec(line) ?? [];
    const [mode = "", owner = "0:0", time = String(fixtureTimeS), ...words] = fields
      .trim()
      .split(" ");
    const at = join(root, path);
    mkdirSync(dirname(at), { recursive: true, mode: 0o755 });
    const isFolder = path.endsWith("/");
    if (isFolder) mkdirSync(at, { recursive: true });
    else if (link === undefined) writeFileSync(at, words.join(" "));
    else if (link === " |") makeNode(at, 0o010644, 0);
    else if (link.startsWith(" ->")) symlinkSync(link.slice(4), at);
    else linkSync(join(root, link.slice(3)), at);
    if (link?.startsWith(" =")) continue;
    const [uid, gid] = owner.split(":").map(Number);
    lchownSync(at, uid ?? 0, gid ?? 0);
    if (link === undefined || link === " |") {
      chmodSync(at, Number.parseInt(mode === "" ? (isFolder ? "755" : "644") : mode, 8));
    }
    const setTime = (): void => lutimesSync(at, Number(time), Number(time));
    if (isFolder) folders.unshift(setTime);
    else setTime();
  }
  for (const setTime of folders) setTime();
  return root;
}

/** All files of layers as overlayfs shows them, in the form of `makeTree`; a new time is `now`. */
export function showTree(layers: readonly string[]): string[] {
  const tree = new MergedTree(layers);
  try {
    return showFolder(tree, tree.root, "");
  } finally {
    tree.close();
  }
}

function showFolder(tree: MergedTree, folder: TreeNode, at: string): string[] {
  return tree.names(folder).flatMap((name) => {
    const node = tree.child(folder, name);
    if (node === undefined) return [];
    const path = `${at}${name}`;
    if (!node.stat.isDirectory()) return [showFile(tree, node, path)];
    return [`${path}/ ${attributes(node)}`, ...showFolder(tree, node, `${path}/`)];
  });
}

function showFile(tree: MergedTree, node: TreeNode, path: string): string {
  if (node.stat.isSymbolicLink()) return `${path} -> ${tree.readLink(node)} ${attributes(node)}`;
  if (node.stat.isFIFO()) return `${path} | ${attributes(node)}`;
  const links = node.stat.nlink > 1n ? ` x${node.stat.nlink}` : "";
  const content =
    node.stat.size > 64n ? `${node.stat.size} bytes` : readFileSync(tree.hostPath(node));
  return `${path} ${attributes(node)} ${content}${links}`.trimEnd();
}

function attributes({ stat }: TreeNode): string {
  const seconds = stat.mtimeNs / 1_000_000_000n;
  const isNow = Math.abs(Number(seconds) - Date.now() / 1000) < 600;
  const mode = stat.isSymbolicLink() ? "link" : (stat.mode & 0o7777n).toString(8);
  return `${mode} ${stat.uid}:${stat.gid} ${isNow ? "now" : seconds}`;
}

/** Whether a path exists, itself. */
export function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
