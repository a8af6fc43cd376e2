import { type BigIntStats, lstatSync, readdirSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { getXattr, listXattr, openRoot, setXattr } from "../../sys/fs/fs.ts";
import { openFlags, systemCode } from "../../sys/libc.ts";
import * as calls from "../../snapshot/tree/tree-syscalls.ts";
import { must } from "../tree/calls.ts";
import { isKeptAttribute } from "../tree/checksum.ts";
import {
  type LayerPath,
  MergedTree,
  type Resolved,
  shown,
  type TreeNode,
} from "../tree/merged-tree.ts";
import type { Owner } from "../tree/owner.ts";

/** Folders held open. */
const openFolderCountMax = 300;
const opaqueAttribute = "trusted.overlay.opaque";

/** A folder of the target as the layers show it. */
export interface TargetFolder {
  /** Byte string without links; "" is the root. */
  readonly path: string;
  readonly node: TreeNode;
  /** Nothing of it is in a layer below. */
  readonly isFresh: boolean;
}

/** How folders are made that nobody described. */
export interface FolderAttributes extends Owner {
  readonly mode: number;
}

/**
 * A snapshot that is written to: what is new goes into the uppermost layer, and what is there already
 * is looked up in all of them. Every write goes through an open folder that no link led to.
 */
export class TargetTree {
  readonly #tree: MergedTree;
  readonly #rootFd: number;
  readonly #isLayered: boolean;
  readonly #folders = new Map<string, TargetFolder>();
  readonly #fds = new Map<string, number>();
  /** Folders that were made and were given no time. */
  readonly #made = new Set<string>();
  #isClosed = false;

  /** @param layers uppermost first; the first is written to */
  constructor(layers: readonly string[]) {
    this.#tree = new MergedTree(layers);
    this.#isLayered = layers.length > 1;
    this.#rootFd = openRoot(layers[0] ?? "/");
    this.#folders.set("", {
      path: "",
      node: this.#tree.root,
      isFresh: layers.length === 1 && this.#isEmpty(),
    });
  }

  /** For look-ups; sees what has been written so far. */
  get tree(): MergedTree {
    return this.#tree;
  }

  /** Gives a time to all folders that were made and have none but the clock's. */
  setMadeTimes(mtimeNs: bigint): void {
    for (const path of this.#made) this.setTime(this.folder(path.split("/")), mtimeNs);
  }

  /** Where a path leads, the last link followed as well; see `MergedTree.resolve`. */
  resolve(path: string, options: { readonly root?: TreeNode } = {}): Resolved {
    return this.#tree.resolve(path, options);
  }

  /** What has a name in a folder. */
  find(folder: TargetFolder, name: string): TreeNode | undefined {
    return this.#tree.child(folder.node, name);
  }

  /** The folder at a path without links. @throws invalid-argument when there is none */
  folder(parts: readonly string[]): TargetFolder {
    const path = parts.join("/");
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    const name = parts.at(-1) ?? "";
    const parent = this.folder(parts.slice(0, -1));
    const node = this.#tree.child(parent.node, name);
    if (!node?.stat.isDirectory()) throw notFolder(path);
    return this.#know(path, node);
  }

  /**
   * The folder that a path leads to, made with its parents when missing; present ones stay as they are.
   *
   * @throws invalid-argument `mkdir /x: not a directory`
   */
  makeFolders(path: string, attributes: FolderAttributes): TargetFolder {
    const found = this.resolve(path);
    if (!found.node.stat.isDirectory()) throw notFolder(found.parts.join("/"));
    let folder = this.folder(found.parts);
    for (const name of found.missing) folder = this.makeMissing(folder, name, attributes);
    return folder;
  }

  /** Makes one folder that is not there. */
  makeMissing(parent: TargetFolder, name: string, attributes: FolderAttributes): TargetFolder {
    const { folder } = this.makeFolder(parent, name);
    this.setAttributes(folder, attributes);
    this.#made.add(folder.path);
    return folder;
  }

  /**
   * A folder of a name, made when missing: only its owner can enter it then.
   *
   * @throws invalid-argument `cannot copy to non-directory: /x`
   */
  makeFolder(
    parent: TargetFolder,
    name: string,
  ): { readonly folder: TargetFolder; readonly isNew: boolean } {
    const path = join(parent.path, name);
    const known = this.#folders.get(path);
    if (known !== undefined) return { folder: known, isNew: false };
    if (!parent.isFresh) {
      const node = this.#tree.child(parent.node, name);
      if (node !== undefined && !node.stat.isDirectory()) {
        throw new EngineError("invalid-argument", `cannot copy to non-directory: ${plain(path)}`);
      }
      if (node !== undefined) return { folder: this.#know(path, node), isNew: false };
    }
    const fd = this.fd(parent);
    const made = calls.makeFolder(fd, name);
    if (made < 0 && calls.resultCode(made) === "EEXIST") {
      if (parent.isFresh) return this.makeFolder({ ...parent, isFresh: false }, name);
      // A whiteout: nothing of the folder below it may show through.
      must(calls.removeFile(fd, name), `replace ${shown(path)}`);
      return { folder: this.makeOver(parent, name), isNew: true };
    }
    must(made, `make folder ${shown(path)}`);
    return { folder: this.#knowFresh(path), isNew: true };
  }

  /** Makes a folder where the uppermost layer has nothing, and hides what those below have there. */
  makeOver(parent: TargetFolder, name: string): TargetFolder {
    const path = join(parent.path, name);
    const fd = this.fd(parent);
    must(calls.makeFolder(fd, name), `make folder ${shown(path)}`);
    if (this.#isLayered) setXattr(nameIn(fd, name), opaqueAttribute, Buffer.from("y"));
    return this.#knowFresh(path);
  }

  /** Sets owner and mode of a folder, in the uppermost layer. */
  setAttributes(folder: TargetFolder, attributes: FolderAttributes): void {
    const fd = this.fd(folder);
    const what = `change owner and mode of ${shown(folder.path)}`;
    must(calls.setOwnerAt(fd, ".", attributes), what);
    must(calls.setModeAt(fd, ".", attributes.mode), what);
  }

  /** Sets the time of a folder; whatever is put into it afterwards changes that. */
  setTime(folder: TargetFolder, mtimeNs: bigint): void {
    this.#made.delete(folder.path);
    const fd = this.fd(folder);
    must(calls.setTimesAt(fd, ".", mtimeNs), `set time of ${shown(folder.path)}`);
  }

  /**
   * Makes something that is no folder, in the place of whatever else has its name.
   *
   * @param make gets the open folder; -EEXIST has it called again once the name is free
   * @throws invalid-argument `cannot replace to directory /x with file`
   */
  makeFile(parent: TargetFolder, name: string, make: (folder: number) => calls.CallResult): number {
    const path = join(parent.path, name);
    const fd = this.fd(parent);
    if (!parent.isFresh && this.#tree.child(parent.node, name)?.stat.isDirectory()) {
      throw cannotReplace(path);
    }
    const made = make(fd);
    if (made >= 0) return made;
    if (calls.resultCode(made) !== "EEXIST") return must(made, `write ${shown(path)}`);
    if (this.#folders.has(path) || this.#stat(path).isDirectory()) throw cannotReplace(path);
    must(calls.removeFile(fd, name), `replace ${shown(path)}`);
    return must(make(fd), `write ${shown(path)}`);
  }

  /** Makes a name free, whatever has it. What layers below have there is still to be hidden. */
  removeAll(parent: TargetFolder, name: string): void {
    const path = join(parent.path, name);
    for (const known of this.#folders.keys()) {
      if (known === path || known.startsWith(`${path}/`)) this.#forget(known);
    }
    const fd = this.fd(parent);
    const removed = calls.removeFile(fd, name);
    if (removed >= 0 || calls.resultCode(removed) === "ENOENT") return;
    if (calls.resultCode(removed) !== "EISDIR") must(removed, `replace ${shown(path)}`);
    this.#removeFolder(fd, name);
  }

  /** The open folder in the uppermost layer, brought there when it is only below. Not to be closed. */
  fd(folder: TargetFolder): number {
    if (folder.path === "") return this.#rootFd;
    const open = this.#fds.get(folder.path);
    if (open !== undefined) {
      // The one used last is closed last: two are in use at once at most.
      this.#fds.delete(folder.path);
      this.#fds.set(folder.path, open);
      return open;
    }
    if (folder.node.places[0].layer !== 0) this.#copyUp(folder);
    const flags = openFlags.path | openFlags.directory | openFlags.noFollow;
    const fd = calls.openBelow(this.#rootFd, folder.path, flags);
    must(fd, `open folder ${shown(folder.path)}`);
    this.#fds.set(folder.path, fd);
    if (this.#fds.size > openFolderCountMax) this.#closeOldest();
    return fd;
  }

  /** Closes what is open; safe to call again. */
  close(): void {
    for (const fd of this.#fds.values()) calls.closeFd(fd);
    if (!this.#isClosed) calls.closeFd(this.#rootFd);
    this.#fds.clear();
    this.#isClosed = true;
    this.#tree.close();
  }

  /** Makes a folder of a lower layer in the uppermost one, as overlayfs does before it writes. */
  #copyUp(folder: TargetFolder): void {
    const slash = folder.path.lastIndexOf("/");
    const parent = this.folder(folder.path.split("/").slice(0, -1));
    const name = folder.path.slice(slash + 1);
    const fd = this.fd(parent);
    const before = this.#stat(parent.path).mtimeNs;
    must(calls.makeFolder(fd, name), `make folder ${shown(folder.path)}`);
    const from = this.#tree.hostPath(folder.node);
    const { uid, gid, mode, mtimeNs } = folder.node.stat;
    const what = `copy folder ${shown(folder.path)}`;
    must(calls.setOwnerAt(fd, name, { uid: Number(uid), gid: Number(gid) }), what);
    must(calls.setModeAt(fd, name, Number(mode) & 0o7777), what);
    copyXattrs(from, nameIn(fd, name));
    must(calls.setTimesAt(fd, name, mtimeNs), what);
    // Nobody sees a change of the folder above: it had this one already.
    must(calls.setTimesAt(fd, ".", before), what);
    const places: [LayerPath, ...LayerPath[]] = [
      { layer: 0, path: folder.path },
      ...folder.node.places,
    ];
    Object.assign(folder.node, { places });
  }

  #know(path: string, node: TreeNode): TargetFolder {
    const folder = { path, node, isFresh: false };
    this.#folders.set(path, folder);
    return folder;
  }

  #knowFresh(path: string): TargetFolder {
    const node: TreeNode = { stat: this.#stat(path), places: [{ layer: 0, path }] };
    const folder = { path, node, isFresh: true };
    this.#folders.set(path, folder);
    return folder;
  }

  #stat(path: string): BigIntStats {
    return lstatSync(nameIn(this.#rootFd, path), { bigint: true });
  }

  #isEmpty(): boolean {
    return readdirSync(nameIn(this.#rootFd, ".")).length === 0;
  }

  #forget(path: string): void {
    this.#folders.delete(path);
    this.#made.delete(path);
    const fd = this.#fds.get(path);
    if (fd !== undefined) calls.closeFd(fd);
    this.#fds.delete(path);
  }

  #closeOldest(): void {
    for (const [path, fd] of this.#fds) {
      calls.closeFd(fd);
      this.#fds.delete(path);
      return;
    }
  }

  #removeFolder(parent: number, name: string): void {
    const flags = openFlags.path | openFlags.directory | openFlags.noFollow;
    const fd = must(calls.openBelow(parent, name, flags), "open folder");
    try {
      for (const child of readdirSync(nameIn(fd, "."), { encoding: "buffer" })) {
        const childName = child.toString("latin1");
        const removed = calls.removeFile(fd, childName);
        if (removed < 0 && calls.resultCode(removed) === "EISDIR")
          this.#removeFolder(fd, childName);
        else must(removed, "remove file");
      }
    } finally {
      calls.closeFd(fd);
    }
    must(calls.removeEmptyFolder(parent, name), "remove folder");
  }
}

/** Copies the extended attributes that a layer may have. */
export function copyXattrs(from: Buffer, to: Buffer): void {
  for (const name of listXattr(from)) {
    const value = isKeptAttribute(name) ? getXattr(from, name) : undefined;
    if (value !== undefined) setOptionalXattr(to, name, value);
  }
}

/** Sets an attribute where the file system keeps such. */
export function setOptionalXattr(path: Buffer, name: string, value: Uint8Array): void {
  try {
    setXattr(path, name, value);
  } catch (error) {
    const code = systemCode(error);
    const isUser = name.startsWith("user.");
    // Docker: goes on where the file system keeps no attributes, or none of this kind.
    if (code !== "EOPNOTSUPP" && !(code === "EPERM" && isUser)) throw error;
  }
}

/** A name in an open folder, for calls that take paths. */
export function nameIn(folder: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${folder}/${name === "" ? "." : name}`, "latin1");
}

/** The path of a name in a folder. */
export function join(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

/** A path of the target, for people, as Docker writes it: without quotes. */
function plain(path: string): string {
  return `/${Buffer.from(path, "latin1").toString()}`;
}

function notFolder(path: string): EngineError {
  return new EngineError("invalid-argument", `mkdir ${plain(path)}: not a directory`);
}

function cannotReplace(path: string): EngineError {
  const sentence = `cannot replace to directory ${plain(path)} with file`;
  return new EngineError("invalid-argument", sentence);
}
