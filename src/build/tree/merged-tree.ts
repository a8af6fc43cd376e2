import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { decodeByteString, encodeByteString } from "../../lib/tar/tar-header.ts";
import type { SnapshotMount } from "../../snapshot/snapshotter.ts";
import { getXattr, openRoot } from "../../sys/fs/fs.ts";
import { openFlags } from "../../sys/libc.ts";
import { closeFd, openBelow } from "../../snapshot/tree/tree-syscalls.ts";
import { must } from "./calls.ts";
import type { FileTree } from "../copy/copy.ts";

/** Links that one path may lead through; as containerd's RootPath. */
const linksMax = 255;
/** Folders that one path may lead through. */
const depthMax = 2000;
const opaqueAttribute = "trusted.overlay.opaque";
const redirectAttribute = "trusted.overlay.redirect";

/** A place of one layer: its number, uppermost 0, and the path from there. */
export interface LayerPath {
  readonly layer: number;
  /** Byte string, relative; "" is the layer itself. */
  readonly path: string;
}

/** A file as an overlay of the layers shows it. Paths and names are byte strings. */
export interface TreeNode {
  readonly stat: BigIntStats;
  /** Where it is; a folder may be in several layers, uppermost first. */
  readonly places: readonly [LayerPath, ...LayerPath[]];
}

/** Where a path leads. */
export interface Resolved {
  /** The path without links, as far as there is something. */
  readonly parts: readonly string[];
  /** What is missing behind it. */
  readonly missing: readonly string[];
  readonly node: TreeNode;
}

/**
 * Layers of folders seen as overlayfs would show them, without a mount.
 *
 * Links are followed here, name by name, with the root as `/`: none is left to the kernel, and files
 * are opened in a way that refuses links altogether, should somebody change the tree meanwhile.
 */
export class MergedTree {
  readonly #layers: readonly Layer[];
  readonly root: TreeNode;
  #lastFolder: { readonly layer: number; readonly path: string; readonly fd: number } | undefined;

  /** @param layers absolute paths, uppermost first */
  constructor(layers: readonly string[]) {
    this.#layers = layers.map((path) => ({ path: encodeByteString(path), fd: -1 }));
    const places = layers.map((_, layer) => ({ layer, path: "" }));
    const [first, ...others] = places;
    if (first === undefined) throw new EngineError("invalid-argument", "read tree: no layers");
    const stat = this.#stat(first);
    if (!stat?.isDirectory()) {
      throw new EngineError("not-found", `read tree: ${JSON.stringify(layers[0])} is no folder`);
    }
    this.root = { stat, places: [first, ...others] };
  }

  /** The tree that a caller named. */
  static of(tree: FileTree): MergedTree {
    return new MergedTree(layersOfTree(tree));
  }

  /** What a name means in a folder; a link itself. */
  child(folder: TreeNode, name: string): TreeNode | undefined {
    const places: LayerPath[] = [];
    let top: BigIntStats | undefined;
    for (const parent of folder.places) {
      const path = parent.path === "" ? name : `${parent.path}/${name}`;
      const place = { layer: parent.layer, path };
      const stat = this.#stat(place);
      if (stat === undefined) continue;
      if (this.#isWhiteout(stat)) break;
      // A file below a folder is hidden by it, and hides what is below itself.
      if (top !== undefined && !stat.isDirectory()) break;
      places.push(place);
      top ??= stat;
      if (!stat.isDirectory() || this.#isOpaque(place)) break;
    }
    const [first, ...others] = places;
    return top === undefined || first === undefined
      ? undefined
      : { stat: top, places: [first, ...others] };
  }

  /** The names in a folder, in order of their bytes; some may mean nothing (`child` says). */
  names(folder: TreeNode): string[] {
    const names = new Set<string>();
    for (const place of folder.places) {
      for (const name of this.#read(place, (path) => readdirSync(path, { encoding: "buffer" }))) {
        names.add(name.toString("latin1"));
      }
    }
    return [...names].toSorted(compare);
  }

  /** The target of a link, as it stands there. */
  readLink(node: TreeNode): string {
    const target = this.#read(node.places[0], (path) => readlinkSync(path, { encoding: "buffer" }));
    return target.toString("latin1");
  }

  /**
   * Follows a path from the root, as if that were `/`.
   *
   * @param path byte string
   * @param options.root the folder to take for the root, and the parts for counted from
   * @throws invalid-argument `too many links`
   */
  resolve(path: string, options: { readonly root?: TreeNode } = {}): Resolved {
    const root = options.root ?? this.root;
    const walk: Walk = { queue: partsOf(path).reverse(), root, nodes: [root], parts: [], links: 0 };
    while (walk.queue.length > 0) {
      const part = walk.queue.pop() ?? "";
      const folder = walk.nodes.at(-1) ?? root;
      if (part === "..") {
        if (walk.parts.pop() !== undefined) walk.nodes.pop();
        continue;
      }
      const node = folder.stat.isDirectory() ? this.child(folder, part) : undefined;
      if (node === undefined) return missingFrom(walk, part);
      if (node.stat.isSymbolicLink()) {
        this.#follow(walk, node);
        continue;
      }
      walk.nodes.push(node);
      walk.parts.push(part);
      if (walk.parts.length > depthMax) {
        throw new EngineError("invalid-argument", `path: deeper than ${depthMax} folders`);
      }
    }
    return { parts: walk.parts, missing: [], node: walk.nodes.at(-1) ?? root };
  }

  /** Opens the regular file of a node for reading; the caller closes it. ENOENT: it vanished. */
  open(node: TreeNode): number {
    const flags = openFlags.readOnly | openFlags.nonblock | openFlags.noControllingTty;
    const place = node.places[0];
    const fd = openBelow(this.#fd(place.layer), place.path, flags);
    return must(fd, `open ${shown(place.path)}`);
  }

  /** The open folder and the name of a node's own file, for linkat(2). Not to be closed. */
  linkSource(node: TreeNode): { readonly folder: number; readonly name: string } {
    const { layer, path } = node.places[0];
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1);
    if (slash < 0) return { folder: this.#fd(layer), name };
    const folder = path.slice(0, slash);
    if (this.#lastFolder?.layer !== layer || this.#lastFolder.path !== folder) {
      this.#closeLast();
      const flags = openFlags.path | openFlags.directory | openFlags.noFollow;
      const fd = must(openBelow(this.#fd(layer), folder, flags), `open folder ${shown(folder)}`);
      this.#lastFolder = { layer, path: folder, fd };
    }
    return { folder: this.#lastFolder.fd, name };
  }

  /** The path of the node's own file, for calls that take paths and follow no link at its end. */
  hostPath(node: TreeNode): Buffer {
    return this.#path(node.places[0]);
  }

  /** Closes what is open. */
  close(): void {
    this.#closeLast();
    for (const layer of this.#layers) {
      if (layer.fd >= 0) closeFd(layer.fd);
      layer.fd = -1;
    }
  }

  #closeLast(): void {
    if (this.#lastFolder !== undefined) closeFd(this.#lastFolder.fd);
    this.#lastFolder = undefined;
  }

  #follow(walk: Walk, node: TreeNode): void {
    walk.links += 1;
    if (walk.links > linksMax) throw new EngineError("invalid-argument", "too many links");
    const target = this.readLink(node);
    if (target.startsWith("/")) {
      walk.nodes = [walk.root];
      walk.parts = [];
    }
    walk.queue.push(...partsOf(target).reverse());
  }

  #stat(place: LayerPath): BigIntStats | undefined {
    try {
      return lstatSync(this.#path(place), { bigint: true, throwIfNoEntry: false });
    } catch (error) {
      // A name too long for this file system is not there; nor is one below a file.
      const code = codeOf(error);
      if (code === "ENAMETOOLONG" || code === "ENOTDIR") return undefined;
      throw error;
    }
  }

  #read<T>(place: LayerPath, read: (path: Buffer) => T): T {
    try {
      return read(this.#path(place));
    } catch (error) {
      if (codeOf(error) !== "ENOENT" && codeOf(error) !== "EINVAL") throw error;
      throw vanished(place.path, error);
    }
  }

  /** A whiteout hides a name; in a folder that is no layer it is a device like others. */
  #isWhiteout(stat: BigIntStats): boolean {
    return this.#layers.length > 1 && stat.isCharacterDevice() && stat.rdev === 0n;
  }

  #isOpaque(place: LayerPath): boolean {
    if (place.layer === this.#layers.length - 1) return false;
    const path = this.#path(place);
    if (Buffer.from(getXattr(path, opaqueAttribute) ?? []).toString() === "y") return true;
    if (getXattr(path, redirectAttribute) === undefined) return false;
    const what = `read ${shown(place.path)}: a layer has a renamed folder (overlay's redirect_dir)`;
    throw new EngineError("not-implemented", what);
  }

  #path({ layer, path }: LayerPath): Buffer {
    const root = this.#layers[layer]?.path ?? "";
    return Buffer.from(path === "" ? root : `${root}/${path}`, "latin1");
  }

  #fd(number: number): number {
    const layer = this.#layers[number];
    if (layer === undefined) throw new EngineError("internal", `read tree: no layer ${number}`);
    if (layer.fd < 0) layer.fd = openRoot(decodeByteString(layer.path));
    return layer.fd;
  }
}

interface Layer {
  readonly path: string;
  fd: number;
}

interface Walk {
  /** What is left, the next part last. */
  readonly queue: string[];
  readonly root: TreeNode;
  nodes: TreeNode[];
  parts: string[];
  links: number;
}

/** What does not exist keeps its names; `..` behind it goes back by name. */
function missingFrom(walk: Walk, part: string): Resolved {
  const missing = [part];
  const parts = [...walk.parts];
  const nodes = [...walk.nodes];
  for (const next of walk.queue.toReversed()) {
    if (next !== "..") missing.push(next);
    else if (missing.pop() === undefined && parts.pop() !== undefined) nodes.pop();
  }
  return { parts, missing, node: nodes.at(-1) ?? walk.root };
}

/** The folders of a tree, uppermost first. */
export function layersOfTree(tree: FileTree): readonly string[] {
  return tree.kind === "folder" ? [tree.path] : layersOf(tree.mount);
}

/** Whether no file of a tree is ever changed in place. */
export function isFrozen(tree: FileTree): boolean {
  return tree.kind === "snapshot" || tree.isFrozen === true;
}

/** The folders of a snapshot, uppermost first. */
export function layersOf(mount: SnapshotMount): readonly string[] {
  const layers =
    mount.type === "bind" ? [mount.source] : [mount.upperDir, ...(mount.lowerDirs ?? [])];
  return layers.filter((layer) => layer !== undefined);
}

/** The parts of a path but for empty ones and ".". */
export function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** Orders byte strings by their bytes. */
export function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** A path of a tree, for people. */
export function shown(path: string): string {
  return JSON.stringify(`/${decodeByteString(path.slice(0, 512))}`);
}

/** A file was there, and is not any more. */
export function vanished(path: string, cause?: unknown): EngineError {
  return new EngineError("not-found", `${shown(path)}: changed while it was read`, { cause });
}
