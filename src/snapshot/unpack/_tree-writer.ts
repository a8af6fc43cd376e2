import { constants, copyFileSync } from "node:fs";
import type { TarHeader } from "../../lib/tar/tar-header.ts";
import type { EntrySink, TarHandler } from "../../lib/tar/tar-reader.ts";
import { deviceNumber } from "../../sys/fs/fs.ts";
import { checked, refused, shown } from "../tree/entry-failure.ts";
import { procPath } from "../tree/tree-names.ts";
import * as tree from "../tree/tree-syscalls.ts";
import { EntryAttributes } from "./_entry-attributes.ts";
import { FileSink } from "./_file-sink.ts";
import { LayerFolders } from "./_layer-folders.ts";
import { cleanPath, type Place, split } from "./_layer-path.ts";
import { LayersBelow } from "./_layers-below.ts";
import { LayerTree } from "./_layer-tree.ts";
import {
  applyWhiteout,
  isWhiteoutName,
  OverlayWhiteouts,
  RemovingWhiteouts,
  type Whiteouts,
} from "./_whiteouts.ts";

const fileTypeBits = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

/** Where and how a layer is written. */
export interface TreeWriterOptions {
  /** An existing directory; nothing outside of it is ever touched. */
  readonly targetDir: string;
  /** Layers below, uppermost first: for hard links to their files, and folders only they name. */
  readonly parentDirs: readonly string[];
  /** `overlay`: whiteouts become what overlayfs reads. `remove`: the target holds a copy of the
   * parent, and what a whiteout names is removed. */
  readonly whiteouts: "overlay" | "remove";
}

/** Writes the entries of a layer as files. Hostile archives are its daily bread. */
export class TreeWriter implements TarHandler {
  readonly #layer: LayerTree;
  readonly #below: LayersBelow;
  readonly #attributes: EntryAttributes;
  readonly #folders: LayerFolders;
  readonly #whiteouts: Whiteouts;
  readonly #sink: FileSink;
  #sizeBytes = 0;
  #hasRootEntry = false;

  constructor({ targetDir, parentDirs, whiteouts }: TreeWriterOptions) {
    const removes = whiteouts === "remove";
    const layer = new LayerTree(targetDir, { remembersMade: removes });
    const below = new LayersBelow(parentDirs);
    const attributes = new EntryAttributes(layer);
    const folders = new LayerFolders(layer, { below, attributes });
    this.#layer = layer;
    this.#below = below;
    this.#attributes = attributes;
    this.#folders = folders;
    this.#whiteouts = removes
      ? new RemovingWhiteouts(layer)
      : new OverlayWhiteouts(layer, { below, folders });
    this.#sink = new FileSink((fd, header) => attributes.setOpenFile(fd, header));
  }

  /** Bytes of all files together. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Whether nothing of it was, or would have been, taken from the layers below. */
  get standsAlone(): boolean {
    return !this.#below.wasAsked;
  }

  /** Whether it says how the root folder itself looks. */
  get hasRootEntry(): boolean {
    return this.#hasRootEntry;
  }

  entry(header: TarHeader): EntrySink | "skip" {
    this.#folders.begin();
    const path = cleanPath(header, header.name);
    const place = split(path);
    if (isWhiteoutName(place.name)) {
      applyWhiteout(header, place, this.#whiteouts);
      return "skip";
    }
    this.#sizeBytes += header.sizeBytes;
    if (path !== "") return this.#make(header, path, place);
    this.#rootEntry(header);
    return "skip";
  }

  /** Sets what can only be set last, and closes. */
  finish(): void {
    this.#layer.finish();
    this.close();
  }

  /** Gives up what is open; safe to call again. */
  close(): void {
    this.#sink.abandon();
    this.#layer.close();
  }

  #rootEntry(header: TarHeader): void {
    if (header.type !== "directory") throw refused(header, "the root must be a directory");
    this.#attributes.set(header, this.#layer.root, ".");
    this.#hasRootEntry = true;
    this.#layer.setTimeLast("", header.mtimeNs);
  }

  #make(header: TarHeader, path: string, { folder, name }: Place): EntrySink | "skip" {
    const at = this.#folders.get(header, folder);
    this.#layer.remember(path);
    const { type } = header;
    switch (type) {
      case "file":
        this.#sink.open(
          this.#replacing(header, path, () => tree.createFile(at, name)),
          header,
        );
        return this.#sink;
      case "directory":
        this.#folders.make(header, path);
        return "skip";
      case "hardlink":
        this.#hardLink(header, path);
        return "skip";
      case "symlink":
        this.#replacing(header, path, () => tree.makeSymlink(at, name, header.linkName));
        this.#attributes.set(header, at, name);
        return "skip";
      case "char":
      case "block":
      case "fifo": {
        const node = nodeOf(header, type);
        this.#replacing(header, path, () => tree.makeNodeAt(at, name, node));
        this.#attributes.set(header, at, name);
        return "skip";
      }
      case "other":
        // Docker: refuses types it does not know, seen in 28.5.
        throw refused(header, `unhandled entry type ${JSON.stringify(header.typeFlag)}`);
    }
  }

  #hardLink(header: TarHeader, path: string): void {
    const target = cleanPath(header, header.linkName);
    if (target === path) throw refused(header, "a link to itself");
    if (target === "") throw refused(header, "a link to the root");
    const source = split(target);
    const { folder, name } = split(path);
    const link = (): tree.CallResult => {
      const from = this.#layer.open(source.folder);
      if (from < 0) return from;
      const to = this.#folders.get(header, folder);
      return tree.makeHardLink(to, name, { folder: from, name: source.name });
    };
    const present = this.#layer.stat(target);
    if (present === undefined) this.#copyUp(header, target);
    else if (present.isDirectory()) throw refused(header, "a hard link to a directory");
    this.#replacing(header, path, link);
  }

  /** Brings a file of a lower layer into this one, so that it can be linked to. */
  #copyUp(header: TarHeader, path: string): void {
    const lower = this.#below.find(path);
    if (lower === undefined) {
      throw refused(header, `the link's target ${shown(header.linkName)} does not exist`);
    }
    if (!lower.stat.isFile()) {
      throw refused(header, `the link's target ${shown(header.linkName)} is not a file`);
    }
    const { folder, name } = split(path);
    const at = this.#folders.get(header, folder);
    copyFileSync(lower.path, procPath(at, name), constants.COPYFILE_EXCL);
    this.#layer.remember(path);
    this.#attributes.copy(header, lower, { at, name, path });
    checked(header, tree.setTimesAt(at, name, lower.stat.mtimeNs));
  }

  /** Makes a thing in the place of whatever has its name. */
  #replacing(header: TarHeader, path: string, make: () => tree.CallResult): number {
    const made = make();
    if (made >= 0 || tree.resultCode(made) !== "EEXIST") return checked(header, made);
    this.#layer.remove(path);
    return checked(header, make());
  }
}

function nodeOf(header: TarHeader, type: keyof typeof fileTypeBits): tree.NodeKind {
  const mode = fileTypeBits[type] | (header.mode & 0o777);
  return { mode, device: type === "fifo" ? 0n : deviceOf(header) };
}

function deviceOf(header: TarHeader): bigint {
  const { devMajor, devMinor } = header;
  const isSound = [devMajor, devMinor].every((part) => part >= 0 && part <= 0xffffffff);
  if (!isSound) throw refused(header, `device ${devMajor}:${devMinor} is out of range`);
  return deviceNumber(devMajor, devMinor);
}
