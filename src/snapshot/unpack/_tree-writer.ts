import { constants, copyFileSync } from "node:fs";
import type { TarHeader } from "../../lib/tar/tar-header.ts";
import type { EntrySink, TarHandler } from "../../lib/tar/tar-reader.ts";
import { deviceNumber, getXattr, listXattr } from "../../sys/fs/fs.ts";
import { failure, refused, shown } from "../tree/entry-failure.ts";
import { FileSink } from "./_file-sink.ts";
import { opaqueMarker, whiteoutMetaPrefix, whiteoutPrefix } from "../tree/layer-names.ts";
import { cleanPath, linkedPath, split } from "./_layer-path.ts";
import { accessList, defaultAccessList, isLayerXattr } from "../tree/layer-xattrs.ts";
import {
  findInLayers,
  type LowerFile,
  namesInLayers,
  opaqueAttribute,
} from "../tree/lower-layers.ts";
import { OpenFolders } from "./_open-folders.ts";
import { linkTargetAt, namesIn, procPath, removeFolderAt, statAt } from "../tree/tree-names.ts";
import * as tree from "../tree/tree-syscalls.ts";

/** As many as the kernel follows. */
const linkCountMax = 40;
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
  readonly #options: TreeWriterOptions;
  readonly #folders: OpenFolders;
  /** Times of folders are set at the end: whatever is put into them changes them. */
  readonly #folderTimes = new Map<string, bigint>();
  /** Lists that files made in a folder get: set at the end, since the archive says what its files have. */
  readonly #defaultLists = new Map<
    string,
    { readonly header: TarHeader; readonly value: Uint8Array }
  >();
  /** Paths that this layer made; kept only where a whiteout must spare them. */
  readonly #made: Set<string> | undefined;
  readonly #sink: FileSink;
  #sizeBytes = 0;
  #standsAlone = true;
  #hasRootEntry = false;
  /** Links that lead nowhere yet, followed for the entry at hand. */
  #linkCount = 0;

  constructor(options: TreeWriterOptions) {
    this.#options = options;
    this.#folders = new OpenFolders(options.targetDir);
    this.#made = options.whiteouts === "remove" ? new Set() : undefined;
    this.#sink = new FileSink((fd, header) => this.#finishFile(fd, header));
  }

  /** Bytes of all files together. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Whether nothing of it was, or would have been, taken from the layers below. */
  get standsAlone(): boolean {
    return this.#standsAlone;
  }

  /** Whether it says how the root folder itself looks. */
  get hasRootEntry(): boolean {
    return this.#hasRootEntry;
  }

  entry(header: TarHeader): EntrySink | "skip" {
    this.#folders.release();
    this.#linkCount = 0;
    const path = cleanPath(header, header.name);
    const { folder, name } = split(path);
    if (name.startsWith(whiteoutPrefix)) {
      this.#whiteout(header, folder, name);
      return "skip";
    }
    this.#sizeBytes += header.sizeBytes;
    if (path === "") return this.#rootEntry(header);
    const at = this.#folder(header, folder);
    this.#remember(path);
    switch (header.type) {
      case "file":
        this.#sink.open(
          this.#replacing(header, path, () => tree.createFile(at, name)),
          header,
        );
        return this.#sink;
      case "directory":
        this.#makeFolder(header, path);
        return "skip";
      case "symlink": {
        const { linkName } = header;
        this.#replacing(header, path, () => tree.makeSymlink(at, name, linkName));
        this.#attributes(header, at, name);
        return "skip";
      }
      case "hardlink":
        this.#hardLink(header, path);
        return "skip";
      case "char":
      case "block":
      case "fifo": {
        const mode = fileTypeBits[header.type] | (header.mode & 0o777);
        const device = header.type === "fifo" ? 0n : deviceOf(header);
        this.#replacing(header, path, () => tree.makeNodeAt(at, name, { mode, device }));
        this.#attributes(header, at, name);
        return "skip";
      }
      case "other":
        // Docker: refuses types it does not know, seen in 28.5.
        throw refused(header, `unhandled entry type ${JSON.stringify(header.typeFlag)}`);
    }
  }

  /** Sets what can only be set last, and closes. */
  finish(): void {
    for (const [path, { header, value }] of this.#defaultLists) {
      this.#folders.release();
      const fd = this.#folders.open(path);
      if (fd < 0) continue;
      const done = tree.setXattrAt(fd, "", { name: defaultAccessList, value });
      if (done < 0 && tree.resultCode(done) !== "EOPNOTSUPP") this.#check(header, done);
    }
    for (const [path, mtimeNs] of this.#folderTimes) {
      this.#folders.release();
      const { folder, name } = split(path);
      const fd = this.#folders.open(folder);
      if (fd < 0) continue;
      tree.setTimesAt(fd, path === "" ? "." : name, mtimeNs);
    }
    this.close();
  }

  /** Gives up what is open; safe to call again. */
  close(): void {
    this.#sink.abandon();
    this.#folders.close();
  }

  #rootEntry(header: TarHeader): "skip" {
    if (header.type !== "directory") throw refused(header, "the root must be a directory");
    this.#attributes(header, this.#folders.root, ".");
    this.#hasRootEntry = true;
    this.#folderTimes.set("", header.mtimeNs);
    return "skip";
  }

  #makeFolder(header: TarHeader, path: string): void {
    const { folder, name } = split(path);
    const at = this.#folder(header, folder);
    let made = tree.makeFolder(at, name);
    if (made < 0 && tree.resultCode(made) === "EEXIST") {
      const present = statAt(at, name);
      if (present?.isDirectory()) made = 0;
      else {
        if (isWhiteout(present)) {
          this.#makeOverWhiteout(header, path);
          made = 0;
        } else {
          this.#remove(path);
          made = tree.makeFolder(at, name);
        }
      }
    }
    this.#check(header, made);
    this.#attributes(header, at, name);
    this.#folderTimes.set(path, header.mtimeNs);
  }

  #hardLink(header: TarHeader, path: string): void {
    const target = cleanPath(header, header.linkName);
    if (target === path) throw refused(header, "a link to itself");
    if (target === "") throw refused(header, "a link to the root");
    const source = split(target);
    const { folder, name } = split(path);
    const link = (): tree.CallResult => {
      const from = this.#folders.open(source.folder);
      if (from < 0) return from;
      const to = this.#folder(header, folder);
      return tree.makeHardLink(to, name, { folder: from, name: source.name });
    };
    const present = this.#statPath(target);
    if (present === undefined) this.#copyUp(header, target);
    else if (present.isDirectory()) throw refused(header, "a hard link to a directory");
    this.#replacing(header, path, link);
  }

  /** Brings a file of a lower layer into this one, so that it can be linked to. */
  #copyUp(header: TarHeader, path: string): void {
    this.#standsAlone = false;
    const lower = findInLayers(this.#options.parentDirs, path);
    if (lower === undefined) {
      throw refused(header, `the link's target ${shown(header.linkName)} does not exist`);
    }
    if (!lower.stat.isFile()) {
      throw refused(header, `the link's target ${shown(header.linkName)} is not a file`);
    }
    const { folder, name } = split(path);
    const at = this.#folder(header, folder);
    const target = procPath(at, name);
    copyFileSync(lower.path, target, constants.COPYFILE_EXCL);
    this.#remember(path);
    this.#copyAttributes(header, lower, { at, name, path });
    this.#check(header, tree.setTimesAt(at, name, lower.stat.mtimeNs));
  }

  #copyAttributes(
    header: TarHeader,
    lower: LowerFile,
    target: { readonly at: number; readonly name: string; readonly path: string },
  ): void {
    const { at, name } = target;
    const { uid, gid, mode, mtimeNs } = lower.stat;
    const attributes = { uid: Number(uid), gid: Number(gid), mode: Number(mode) & 0o7777, mtimeNs };
    this.#check(header, tree.setOwnerAt(at, name, attributes));
    this.#check(header, tree.setModeAt(at, name, attributes.mode));
    for (const attribute of listXattr(lower.path)) {
      const value = getXattr(lower.path, attribute);
      if (value === undefined || !isLayerXattr(attribute)) continue;
      this.#setXattr(header, { at, name, path: target.path, attribute, value });
    }
  }

  #whiteout(header: TarHeader, folder: string, name: string): void {
    if (name === opaqueMarker) {
      this.#opaque(header, folder);
      return;
    }
    if (name.startsWith(whiteoutMetaPrefix)) return;
    const hidden = name.slice(whiteoutPrefix.length);
    if (hidden === "" || hidden === "." || hidden === "..") {
      throw refused(header, "a whiteout of no file");
    }
    const path = folder === "" ? hidden : `${folder}/${hidden}`;
    if (this.#made !== undefined) {
      // A whiteout hides what lower layers have, never what this one brings.
      if (!this.#made.has(path)) this.#remove(path);
      else if (this.#statPath(path)?.isDirectory()) this.#clear(path, this.#made);
      return;
    }
    // What is in a folder that is gone is gone with it.
    if (this.#isHidden(folder)) return;
    const at = this.#folder(header, folder);
    this.#hide(header, at, hidden);
  }

  #opaque(header: TarHeader, folder: string): void {
    if (this.#made === undefined && folder === "") {
      this.#hideAll(header);
      return;
    }
    if (this.#made === undefined) {
      this.#makeOpaque(header, this.#folder(header, folder), "");
      return;
    }
    if (folder === "" || this.#statPath(folder)?.isDirectory()) this.#clear(folder, this.#made);
  }

  /** Hides what the layers below have at the root, name by name: overlayfs always merges roots. */
  #hideAll(header: TarHeader): void {
    const { root } = this.#folders;
    this.#standsAlone = false;
    for (const name of namesInLayers(this.#options.parentDirs, "")) this.#hide(header, root, name);
  }

  /** Hides what the layers below have under a name; of what this layer has there nothing. */
  #hide(header: TarHeader, at: number, name: string): void {
    const made = tree.makeNodeAt(at, name, { mode: fileTypeBits.char, device: 0n });
    if (made < 0 && tree.resultCode(made) === "EEXIST") {
      if (statAt(at, name)?.isDirectory()) this.#makeOpaque(header, at, name);
      return;
    }
    this.#check(header, made);
  }

  /** Removes from a folder what this layer did not bring. */
  #clear(folder: string, made: ReadonlySet<string>): void {
    const fd = this.#folders.open(folder);
    if (fd < 0) return;
    for (const name of namesIn(fd)) {
      // Only names are used from here on.
      this.#folders.release();
      const path = folder === "" ? name : `${folder}/${name}`;
      if (!made.has(path)) this.#remove(path);
      else if (this.#statPath(path)?.isDirectory()) this.#clear(path, made);
    }
  }

  #makeOpaque(header: TarHeader, at: number, name: string): void {
    const attribute = { name: opaqueAttribute, value: Buffer.from("y") };
    this.#check(header, tree.setXattrAt(at, name, attribute));
  }

  #finishFile(fd: number, header: TarHeader): void {
    this.#check(header, tree.setOwnerAndMode(fd, header));
    if (header.xattrs.size > 0) {
      const { folder, name } = split(cleanPath(header, header.name));
      this.#xattrs(header, this.#folder(header, folder), name);
    }
    this.#check(header, tree.setTimesOf(fd, header.mtimeNs));
  }

  /** Owner, mode, attributes and time of what was just made by name. */
  #attributes(header: TarHeader, at: number, name: string): void {
    this.#check(header, tree.setOwnerAt(at, name, header));
    if (header.type !== "symlink") this.#check(header, tree.setModeAt(at, name, header.mode));
    if (header.xattrs.size > 0) this.#xattrs(header, at, name);
    if (header.type !== "directory") {
      this.#check(header, tree.setTimesAt(at, name, header.mtimeNs));
    }
  }

  #xattrs(header: TarHeader, at: number, name: string): void {
    const path = cleanPath(header, header.name);
    for (const [attribute, value] of header.xattrs) {
      if (isLayerXattr(attribute)) this.#setXattr(header, { at, name, path, attribute, value });
    }
    // A list changes the mode: the entry has the last word.
    if (header.xattrs.has(accessList) && header.type !== "symlink") {
      this.#check(header, tree.setModeAt(at, name, header.mode));
    }
  }

  #setXattr(
    header: TarHeader,
    set: {
      readonly at: number;
      readonly name: string;
      /** Of the file, from the root. */
      readonly path: string;
      readonly attribute: string;
      readonly value: Uint8Array;
    },
  ): void {
    const { attribute, value } = set;
    if (attribute === defaultAccessList) {
      this.#defaultLists.set(set.path, { header, value });
      return;
    }
    const done = tree.setXattrAt(set.at, set.name, { name: attribute, value });
    if (done >= 0) return;
    // Docker: goes on where the file system keeps no attributes, or none of this kind.
    const code = tree.resultCode(done);
    if (code === "EOPNOTSUPP" || (code === "EPERM" && attribute.startsWith("user."))) return;
    this.#check(header, done);
  }

  /** Makes a thing in the place of whatever has its name. */
  #replacing(header: TarHeader, path: string, make: () => tree.CallResult): number {
    const made = make();
    if (made >= 0 || tree.resultCode(made) !== "EEXIST") return this.#check(header, made);
    this.#remove(path);
    return this.#check(header, make());
  }

  /** Removes a tree of this layer; links themselves, not what they lead to. */
  #remove(path: string): void {
    const { folder, name } = split(path);
    const at = this.#folders.open(folder);
    if (at < 0) return;
    const present = statAt(at, name);
    if (present === undefined) return;
    // Names of open folders and of folders with times may lead elsewhere from now on.
    const isFolder = present.isDirectory();
    if (isFolder) {
      for (const later of [this.#folderTimes, this.#defaultLists]) {
        for (const key of later.keys()) {
          if (key === path || key.startsWith(`${path}/`)) later.delete(key);
        }
      }
      removeFolderAt(at, name);
    } else tree.removeFile(at, name);
    if (isFolder || present.isSymbolicLink()) this.#folders.forget();
  }

  #remember(path: string): void {
    const made = this.#made;
    if (made === undefined) return;
    for (let part = path; part !== "" && !made.has(part); part = split(part).folder) made.add(part);
  }

  #statPath(path: string): ReturnType<typeof statAt> {
    const { folder, name } = split(path);
    const at = this.#folders.open(folder);
    return at < 0 ? undefined : statAt(at, name);
  }

  /** The folder `path`, made when missing. */
  #folder(header: TarHeader, path: string): number {
    const fd = this.#folders.open(path);
    if (fd >= 0) return fd;
    const code = tree.resultCode(fd);
    if (code !== "ENOENT" && code !== "ENOTDIR") return this.#check(header, fd);
    const { folder, name } = split(path);
    const at = this.#folder(header, folder);
    const made = tree.makeFolder(at, name);
    if (made < 0 && tree.resultCode(made) === "EEXIST") {
      const present = statAt(at, name);
      if (isWhiteout(present)) this.#makeOverWhiteout(header, path);
      else if (present?.isSymbolicLink() && this.#linkCount < linkCountMax) {
        // Docker: makes the folder that the link leads to, seen in 28.5.
        this.#linkCount += 1;
        this.#folder(header, linkedPath(folder, linkTargetAt(at, name)));
      } else return this.#check(header, fd);
    } else {
      this.#check(header, made);
      this.#remember(path);
      this.#implicitAttributes(header, path, { at, name });
    }
    return this.#check(header, this.#folders.open(path));
  }

  /** A folder in the place of a whiteout: nothing of the one below may show through. */
  #makeOverWhiteout(header: TarHeader, path: string): void {
    const { folder, name } = split(path);
    const at = this.#folder(header, folder);
    this.#remove(path);
    this.#check(header, tree.makeFolder(at, name));
    this.#check(header, tree.setModeAt(at, name, 0o755));
    this.#makeOpaque(header, at, name);
  }

  /** Whether this layer hides the folder or one above it. */
  #isHidden(folder: string): boolean {
    for (let path = folder; path !== ""; path = split(path).folder) {
      if (isWhiteout(this.#statPath(path))) return true;
    }
    return false;
  }

  /** A folder that the layer does not describe looks as it does in the layers below. */
  #implicitAttributes(
    header: TarHeader,
    path: string,
    target: { readonly at: number; readonly name: string },
  ): void {
    this.#standsAlone = false;
    const lower = findInLayers(this.#options.parentDirs, path);
    if (lower?.stat.isDirectory()) {
      this.#copyAttributes(header, lower, { ...target, path });
      this.#folderTimes.set(path, lower.stat.mtimeNs);
      return;
    }
    this.#check(header, tree.setModeAt(target.at, target.name, 0o755));
  }

  #check(header: TarHeader, value: tree.CallResult): number {
    if (value >= 0) return value;
    throw failure(header, value);
  }
}

function isWhiteout(stat: ReturnType<typeof statAt>): boolean {
  return stat?.isCharacterDevice() === true && stat.rdev === 0;
}

function deviceOf(header: TarHeader): bigint {
  const { devMajor, devMinor } = header;
  const isSound = [devMajor, devMinor].every((part) => part >= 0 && part <= 0xffffffff);
  if (!isSound) throw refused(header, `device ${devMajor}:${devMinor} is out of range`);
  return deviceNumber(devMajor, devMinor);
}
