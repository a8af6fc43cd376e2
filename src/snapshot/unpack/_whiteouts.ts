/** What an archive says is gone: as marks that overlayfs reads, or by removing it from a copy. */
import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { checked, refused } from "../tree/entry-failure.ts";
import { opaqueMarker, whiteoutMetaPrefix, whiteoutPrefix } from "../tree/layer-names.ts";
import { namesIn, statAt } from "../tree/tree-names.ts";
import * as tree from "../tree/tree-syscalls.ts";
import type { LayerFolders } from "./_layer-folders.ts";
import { type Place, split } from "./_layer-path.ts";
import type { LayersBelow } from "./_layers-below.ts";
import type { LayerTree } from "./_layer-tree.ts";
import { isWhiteout, makeOpaque, makeWhiteout } from "./_overlay-marks.ts";

/** Hides what lower layers have, never what this layer brings. */
export interface Whiteouts {
  /** Hides a name in a folder. */
  hide(header: TarHeader, folder: string, name: string): void;
  /** Hides all that is in a folder. */
  hideAll(header: TarHeader, folder: string): void;
}

/** Tells whether a name of an archive is a whiteout's, of either kind, or metadata of some. */
export function isWhiteoutName(name: string): boolean {
  return name.startsWith(whiteoutPrefix);
}

/** Does what such an entry says. @throws invalid-argument for one that hides no file */
export function applyWhiteout(
  header: TarHeader,
  { folder, name }: Place,
  whiteouts: Whiteouts,
): void {
  if (name === opaqueMarker) {
    whiteouts.hideAll(header, folder);
    return;
  }
  if (name.startsWith(whiteoutMetaPrefix)) return;
  const hidden = name.slice(whiteoutPrefix.length);
  if (hidden === "" || hidden === "." || hidden === "..") {
    throw refused(header, "a whiteout of no file");
  }
  whiteouts.hide(header, folder, hidden);
}

/** Leaves marks for overlayfs. */
export class OverlayWhiteouts implements Whiteouts {
  readonly #layer: LayerTree;
  readonly #below: LayersBelow;
  readonly #folders: LayerFolders;

  constructor(
    layer: LayerTree,
    parts: { readonly below: LayersBelow; readonly folders: LayerFolders },
  ) {
    this.#layer = layer;
    this.#below = parts.below;
    this.#folders = parts.folders;
  }

  hide(header: TarHeader, folder: string, name: string): void {
    // What is in a folder that is gone is gone with it.
    if (this.#isGone(folder)) return;
    hideAt(header, this.#folders.get(header, folder), name);
  }

  hideAll(header: TarHeader, folder: string): void {
    if (folder !== "") {
      makeOpaque(header, this.#folders.get(header, folder), "");
      return;
    }
    // Name by name: overlayfs always merges roots.
    for (const name of this.#below.rootNames()) hideAt(header, this.#layer.root, name);
  }

  /** Whether this layer hides the folder or one above it. */
  #isGone(folder: string): boolean {
    for (let path = folder; path !== ""; path = split(path).folder) {
      if (isWhiteout(this.#layer.stat(path))) return true;
    }
    return false;
  }
}

/** Hides what the layers below have under a name; of what this layer has there nothing. */
function hideAt(header: TarHeader, at: number, name: string): void {
  const made = makeWhiteout(at, name);
  if (made < 0 && tree.resultCode(made) === "EEXIST") {
    if (statAt(at, name)?.isDirectory()) makeOpaque(header, at, name);
    return;
  }
  checked(header, made);
}

/** Removes from a copy of the layers below. Needs a tree that remembers what was made. */
export class RemovingWhiteouts implements Whiteouts {
  readonly #layer: LayerTree;

  constructor(layer: LayerTree) {
    this.#layer = layer;
  }

  hide(_header: TarHeader, folder: string, name: string): void {
    this.#remove(folder === "" ? name : `${folder}/${name}`);
  }

  hideAll(_header: TarHeader, folder: string): void {
    if (folder === "" || this.#layer.stat(folder)?.isDirectory()) this.#clear(folder);
  }

  /** Removes all at a path that this layer did not bring. */
  #remove(path: string): void {
    if (!this.#layer.hasMade(path)) this.#layer.remove(path);
    else if (this.#layer.stat(path)?.isDirectory()) this.#clear(path);
  }

  #clear(folder: string): void {
    const fd = this.#layer.open(folder);
    if (fd < 0) return;
    for (const name of namesIn(fd)) {
      // Only names are used from here on.
      this.#layer.release();
      this.#remove(folder === "" ? name : `${folder}/${name}`);
    }
  }
}
