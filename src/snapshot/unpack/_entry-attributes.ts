import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { getXattr, listXattr } from "../../sys/fs/fs.ts";
import { checked } from "../tree/entry-failure.ts";
import { accessList, defaultAccessList, isLayerXattr } from "../tree/layer-xattrs.ts";
import type { LowerFile } from "../tree/lower-layers.ts";
import * as tree from "../tree/tree-syscalls.ts";
import { cleanPath, split } from "./_layer-path.ts";
import type { LayerTree } from "./_layer-tree.ts";

/** A file in an open folder, and its path from the root. */
export interface MadeFile {
  readonly at: number;
  readonly name: string;
  readonly path: string;
}

/** Gives what was just made its owner, mode, extended attributes and time, in the one order that keeps all. */
export class EntryAttributes {
  readonly #layer: LayerTree;

  constructor(layer: LayerTree) {
    this.#layer = layer;
  }

  /** Of a file that is open and has its content. */
  setOpenFile(fd: number, header: TarHeader): void {
    checked(header, tree.setOwnerAndMode(fd, header));
    if (header.xattrs.size > 0) {
      const { folder, name } = split(cleanPath(header, header.name));
      this.#setXattrs(header, checked(header, this.#layer.open(folder)), name);
    }
    checked(header, tree.setTimesOf(fd, header.mtimeNs));
  }

  /** Of what was made by name; the time of a folder is for the end. */
  set(header: TarHeader, at: number, name: string): void {
    checked(header, tree.setOwnerAt(at, name, header));
    if (header.type !== "symlink") checked(header, tree.setModeAt(at, name, header.mode));
    if (header.xattrs.size > 0) this.#setXattrs(header, at, name);
    if (header.type !== "directory") checked(header, tree.setTimesAt(at, name, header.mtimeNs));
  }

  /** As a file of a lower layer has them, but for the time. */
  copy(header: TarHeader, lower: LowerFile, made: MadeFile): void {
    const { at, name } = made;
    const { uid, gid, mode } = lower.stat;
    checked(header, tree.setOwnerAt(at, name, { uid: Number(uid), gid: Number(gid) }));
    checked(header, tree.setModeAt(at, name, Number(mode) & 0o7777));
    for (const attribute of listXattr(lower.path)) {
      const value = getXattr(lower.path, attribute);
      if (value === undefined || !isLayerXattr(attribute)) continue;
      this.#setXattr(header, made, { name: attribute, value });
    }
  }

  #setXattrs(header: TarHeader, at: number, name: string): void {
    const made = { at, name, path: cleanPath(header, header.name) };
    for (const [attribute, value] of header.xattrs) {
      if (isLayerXattr(attribute)) this.#setXattr(header, made, { name: attribute, value });
    }
    // A list changes the mode: the entry has the last word.
    if (header.xattrs.has(accessList) && header.type !== "symlink") {
      checked(header, tree.setModeAt(at, name, header.mode));
    }
  }

  #setXattr(
    header: TarHeader,
    made: MadeFile,
    attribute: { readonly name: string; readonly value: Uint8Array },
  ): void {
    if (attribute.name === defaultAccessList) {
      this.#layer.setDefaultListLast(made.path, { header, value: attribute.value });
      return;
    }
    const done = tree.setXattrAt(made.at, made.name, attribute);
    if (done >= 0) return;
    // Docker: goes on where the file system keeps no attributes, or none of this kind.
    const code = tree.resultCode(done);
    if (code === "EOPNOTSUPP" || (code === "EPERM" && attribute.name.startsWith("user."))) return;
    checked(header, done);
  }
}
