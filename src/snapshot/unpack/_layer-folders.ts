import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { checked } from "../tree/entry-failure.ts";
import { linkTargetAt, statAt } from "../tree/tree-names.ts";
import * as tree from "../tree/tree-syscalls.ts";
import type { EntryAttributes, MadeFile } from "./_entry-attributes.ts";
import { linkedPath, split } from "./_layer-path.ts";
import type { LayersBelow } from "./_layers-below.ts";
import type { LayerTree } from "./_layer-tree.ts";
import { isWhiteout, makeOpaque } from "./_overlay-marks.ts";

/** As many as the kernel follows. */
const linkCountMax = 40;
/** Of a folder that no layer describes. */
const impliedMode = 0o755;

/** Makes the folders of a layer: those it describes, and those it only names. */
export class LayerFolders {
  readonly #layer: LayerTree;
  readonly #below: LayersBelow;
  readonly #attributes: EntryAttributes;
  /** Links that lead nowhere yet, followed for the entry at hand. */
  #linkCount = 0;

  constructor(
    layer: LayerTree,
    parts: { readonly below: LayersBelow; readonly attributes: EntryAttributes },
  ) {
    this.#layer = layer;
    this.#below = parts.below;
    this.#attributes = parts.attributes;
  }

  /** Begins an entry: descriptors of the one before are done with. */
  begin(): void {
    this.#layer.release();
    this.#linkCount = 0;
  }

  /** The folder `path`, open; made when missing. */
  get(header: TarHeader, path: string): number {
    const fd = this.#layer.open(path);
    if (fd >= 0) return fd;
    const code = tree.resultCode(fd);
    if (code !== "ENOENT" && code !== "ENOTDIR") return checked(header, fd);
    const { folder, name } = split(path);
    const at = this.get(header, folder);
    const made = tree.makeFolder(at, name);
    if (made < 0 && tree.resultCode(made) === "EEXIST") {
      const present = statAt(at, name);
      if (isWhiteout(present)) this.#makeOverWhiteout(header, path);
      else if (present?.isSymbolicLink() && this.#linkCount < linkCountMax) {
        // Docker: makes the folder that the link leads to, seen in 28.5.
        this.#linkCount += 1;
        this.get(header, linkedPath(folder, linkTargetAt(at, name)));
      } else return checked(header, fd);
    } else {
      checked(header, made);
      this.#layer.remember(path);
      this.#implyAttributes(header, { at, name, path });
    }
    return checked(header, this.#layer.open(path));
  }

  /** Makes the folder that an entry describes; one that is there takes its attributes. */
  make(header: TarHeader, path: string): void {
    const { folder, name } = split(path);
    const at = this.get(header, folder);
    let made = tree.makeFolder(at, name);
    if (made < 0 && tree.resultCode(made) === "EEXIST") {
      const present = statAt(at, name);
      if (present?.isDirectory()) made = 0;
      else if (isWhiteout(present)) {
        this.#makeOverWhiteout(header, path);
        made = 0;
      } else {
        this.#layer.remove(path);
        made = tree.makeFolder(at, name);
      }
    }
    checked(header, made);
    this.#attributes.set(header, at, name);
    this.#layer.setTimeLast(path, header.mtimeNs);
  }

  /** A folder in the place of a whiteout: nothing of the one below may show through. */
  #makeOverWhiteout(header: TarHeader, path: string): void {
    const { folder, name } = split(path);
    const at = this.get(header, folder);
    this.#layer.remove(path);
    checked(header, tree.makeFolder(at, name));
    checked(header, tree.setModeAt(at, name, impliedMode));
    makeOpaque(header, at, name);
  }

  /** A folder that the layer does not describe looks as it does in the layers below. */
  #implyAttributes(header: TarHeader, made: MadeFile): void {
    const lower = this.#below.find(made.path);
    if (lower?.stat.isDirectory()) {
      this.#attributes.copy(header, lower, made);
      this.#layer.setTimeLast(made.path, lower.stat.mtimeNs);
      return;
    }
    checked(header, tree.setModeAt(made.at, made.name, impliedMode));
  }
}
