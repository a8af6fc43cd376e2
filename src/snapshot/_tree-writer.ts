import { closeSync, constants, copyFileSync, lstatSync, openSync, readdirSync } from "node:fs";
import { codeOf, EngineError } from "../lib/errors.ts";
import { decodeByteString, type TarHeader } from "../lib/tar-header.ts";
import type { EntrySink, TarHandler } from "../lib/tar-reader.ts";
import { escapeControls } from "../lib/terminal-text.ts";
import { deviceNumber, getXattr, listXattr } from "../sys/fs.ts";
import { openFlags, systemFailure } from "../sys/libc.ts";
import { findInLayers, type LowerFile, opaqueAttribute } from "./_lower-layers.ts";
import * as tree from "./_tree-syscalls.ts";

/** Folders held open for the entries to come. */
const openFolderCountMax = 400;
/** Folders closed when there are that many. */
const closeFolderCount = 100;

const whiteoutPrefix = ".wh.";
const opaqueMarker = ".wh..wh..opq";
/** Other names that AUFS kept for itself; never content. */
const whiteoutMetaPrefix = ".wh..wh.";

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
  readonly #root: number;
  readonly #folders = new Map<string, number>();
  /** Times of folders are set at the end: whatever is put into them changes them. */
  readonly #folderTimes = new Map<string, bigint>();
  /** Paths that this layer made; kept only where a whiteout must spare them. */
  readonly #made: Set<string> | undefined;
  readonly #sink: FileSink;
  #sizeBytes = 0;

  constructor(options: TreeWriterOptions) {
    this.#options = options;
    const flags = openFlags.path | openFlags.directory | openFlags.closeOnExec;
    this.#root = openSync(options.targetDir, flags);
    this.#made = options.whiteouts === "remove" ? new Set() : undefined;
    this.#sink = new FileSink((fd, header) => this.#finishFile(fd, header));
  }

  /** Bytes of all files together. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  entry(header: TarHeader): EntrySink | "skip" {
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
    for (const [path, mtimeNs] of this.#folderTimes) {
      const { folder, name } = split(path);
      const fd = path === "" ? this.#root : this.#openFolder(folder);
      if (fd < 0) continue;
      tree.setTimesAt(fd, path === "" ? "." : name, mtimeNs);
    }
    this.close();
  }

  /** Gives up what is open; safe to call again. */
  close(): void {
    this.#sink.abandon();
    const wasOpen = this.#folders.get("") !== -1;
    this.#forgetFolders();
    if (!wasOpen) return;
    this.#folders.set("", -1);
    closeSync(this.#root);
  }

  #rootEntry(header: TarHeader): "skip" {
    if (header.type !== "directory") throw refused(header, "the root must be a directory");
    this.#attributes(header, this.#root, ".");
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
        // A folder in the place of a whiteout: nothing of the one below may show through.
        const wasWhiteout = present?.isCharacterDevice() === true && present.rdev === 0;
        this.#remove(path);
        made = tree.makeFolder(at, name);
        if (wasWhiteout && made >= 0) this.#makeOpaque(header, at, name);
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
      const from = source.folder === "" ? this.#root : this.#openFolder(source.folder);
      if (from < 0) return from;
      const to = this.#folder(header, folder);
      // Opening the second folder may have closed the first.
      const again = source.folder === "" ? this.#root : this.#openFolder(source.folder);
      return again < 0 ? again : tree.makeHardLink(to, name, { folder: again, name: source.name });
    };
    const present = this.#statPath(target);
    if (present === undefined) this.#copyUp(header, target);
    else if (present.isDirectory()) throw refused(header, "a hard link to a directory");
    this.#replacing(header, path, link);
  }

  /** Brings a file of a lower layer into this one, so that it can be linked to. */
  #copyUp(header: TarHeader, path: string): void {
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
    this.#copyAttributes(header, lower, { at, name });
    this.#check(header, tree.setTimesAt(at, name, lower.stat.mtimeNs));
  }

  #copyAttributes(
    header: TarHeader,
    lower: LowerFile,
    target: { readonly at: number; readonly name: string },
  ): void {
    const { at, name } = target;
    const { uid, gid, mode, mtimeNs } = lower.stat;
    const attributes = { uid: Number(uid), gid: Number(gid), mode: Number(mode) & 0o7777, mtimeNs };
    this.#check(header, tree.setOwnerAt(at, name, attributes));
    this.#check(header, tree.setModeAt(at, name, attributes.mode));
    for (const attribute of listXattr(lower.path)) {
      const value = getXattr(lower.path, attribute);
      if (value === undefined || !isKept(attribute)) continue;
      this.#setXattr(header, { at, name, attribute, value });
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
      if (!this.#made.has(path) && this.#statPath(path) !== undefined) this.#remove(path);
      return;
    }
    const at = this.#folder(header, folder);
    const made = tree.makeNodeAt(at, hidden, { mode: fileTypeBits.char, device: 0n });
    if (made < 0 && tree.resultCode(made) === "EEXIST") {
      if (statAt(at, hidden)?.isDirectory()) this.#makeOpaque(header, at, hidden);
      return;
    }
    this.#check(header, made);
  }

  #opaque(header: TarHeader, folder: string): void {
    if (this.#made === undefined) {
      this.#makeOpaque(header, this.#folder(header, folder), "");
      return;
    }
    if (folder === "" || this.#statPath(folder)?.isDirectory()) this.#clear(folder, this.#made);
  }

  /** Removes from a folder what this layer did not bring. */
  #clear(folder: string, made: ReadonlySet<string>): void {
    const fd = this.#openFolder(folder);
    if (fd < 0) return;
    for (const name of namesIn(fd)) {
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
    for (const [attribute, value] of header.xattrs) {
      if (isKept(attribute)) this.#setXattr(header, { at, name, attribute, value });
    }
  }

  #setXattr(
    header: TarHeader,
    set: {
      readonly at: number;
      readonly name: string;
      readonly attribute: string;
      readonly value: Uint8Array;
    },
  ): void {
    const { attribute, value } = set;
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
    const at = folder === "" ? this.#root : this.#openFolder(folder);
    if (at < 0) return;
    const present = statAt(at, name);
    if (present === undefined) return;
    // Names of open folders and of folders with times may lead elsewhere from now on.
    const isFolder = present.isDirectory();
    if (isFolder) {
      for (const key of this.#folderTimes.keys()) {
        if (key === path || key.startsWith(`${path}/`)) this.#folderTimes.delete(key);
      }
      removeFolderAt(at, name);
    } else tree.removeFile(at, name);
    if (isFolder || present.isSymbolicLink()) this.#forgetFolders();
  }

  #remember(path: string): void {
    const made = this.#made;
    if (made === undefined) return;
    for (let part = path; part !== "" && !made.has(part); part = split(part).folder) made.add(part);
  }

  #statPath(path: string): ReturnType<typeof statAt> {
    const { folder, name } = split(path);
    const at = folder === "" ? this.#root : this.#openFolder(folder);
    return at < 0 ? undefined : statAt(at, name);
  }

  /** The folder `path`, made when missing. */
  #folder(header: TarHeader, path: string): number {
    const fd = this.#openFolder(path);
    if (fd >= 0) return fd;
    if (tree.resultCode(fd) !== "ENOENT") return this.#check(header, fd);
    const { folder, name } = split(path);
    const at = this.#folder(header, folder);
    const made = tree.makeFolder(at, name);
    // A dangling link has the name: it leads nowhere that can be made.
    if (made < 0 && tree.resultCode(made) === "EEXIST") return this.#check(header, fd);
    this.#check(header, made);
    this.#remember(path);
    this.#implicitAttributes(header, path, { at, name });
    return this.#check(header, this.#openFolder(path));
  }

  /** A folder that the layer does not describe looks as it does in the layers below. */
  #implicitAttributes(
    header: TarHeader,
    path: string,
    target: { readonly at: number; readonly name: string },
  ): void {
    const lower = findInLayers(this.#options.parentDirs, path);
    if (lower?.stat.isDirectory()) {
      this.#copyAttributes(header, lower, target);
      this.#folderTimes.set(path, lower.stat.mtimeNs);
      return;
    }
    this.#check(header, tree.setModeAt(target.at, target.name, 0o755));
  }

  #openFolder(path: string): tree.CallResult {
    if (path === "") return this.#root;
    const open = this.#folders.get(path);
    if (open !== undefined) return open;
    const fd = tree.openFolderInRoot(this.#root, path);
    if (fd < 0) return fd;
    if (this.#folders.size >= openFolderCountMax) this.#closeOldFolders();
    this.#folders.set(path, fd);
    return fd;
  }

  #closeOldFolders(): void {
    let left = closeFolderCount;
    for (const [path, fd] of this.#folders) {
      if (left === 0) return;
      left -= 1;
      tree.closeFd(fd);
      this.#folders.delete(path);
    }
  }

  #forgetFolders(): void {
    for (const fd of this.#folders.values()) if (fd >= 0) tree.closeFd(fd);
    this.#folders.clear();
  }

  #check(header: TarHeader, value: tree.CallResult): number {
    if (value >= 0) return value;
    throw failure(header, value);
  }
}

/** Takes the content of one file after the other. */
class FileSink implements EntrySink {
  readonly #finish: (fd: number, header: TarHeader) => void;
  #fd = -1;
  #header: TarHeader | undefined;
  #endsInHole = false;

  constructor(finish: (fd: number, header: TarHeader) => void) {
    this.#finish = finish;
  }

  open(fd: number, header: TarHeader): void {
    this.#fd = fd;
    this.#header = header;
    this.#endsInHole = false;
  }

  write(bytes: Uint8Array): void {
    this.#endsInHole = false;
    this.#check(tree.writeAll(this.#fd, bytes));
  }

  hole(sizeBytes: number): void {
    this.#endsInHole = sizeBytes > 0;
    this.#check(tree.skipForward(this.#fd, sizeBytes));
  }

  end(): void {
    const header = this.#header;
    if (header === undefined) return;
    if (this.#endsInHole) this.#check(tree.setSize(this.#fd, header.sizeBytes));
    this.#finish(this.#fd, header);
    this.abandon();
  }

  abandon(): void {
    if (this.#fd >= 0) tree.closeFd(this.#fd);
    this.#fd = -1;
    this.#header = undefined;
  }

  #check(value: tree.CallResult): void {
    if (value < 0 && this.#header !== undefined) throw failure(this.#header, value);
  }
}

/** Extended attributes a layer may bring; none that overlayfs obeys (`redirect`, `opaque`, …). */
function isKept(attribute: string): boolean {
  if (attribute === "security.capability") return true;
  return attribute.startsWith("user.") && !attribute.startsWith("user.overlay.");
}

/** A path of a layer: relative, without empty and "." parts. Docker: a leading "/" is dropped. */
function cleanPath(header: TarHeader, name: string): string {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refused(header, `${shown(name)} leads out of the layer`);
  return parts.join("/");
}

function split(path: string): { readonly folder: string; readonly name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: slash < 0 ? "" : path.slice(0, slash), name: path.slice(slash + 1) };
}

function deviceOf(header: TarHeader): bigint {
  const { devMajor, devMinor } = header;
  const isSound = [devMajor, devMinor].every((part) => part >= 0 && part <= 0xffffffff);
  if (!isSound) throw refused(header, `device ${devMajor}:${devMinor} is out of range`);
  return deviceNumber(devMajor, devMinor);
}

function procPath(folder: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${folder}/${name}`, "latin1");
}

function statAt(folder: number, name: string): ReturnType<typeof lstatSync> {
  try {
    return lstatSync(procPath(folder, name), { throwIfNoEntry: false });
  } catch (error) {
    if (codeOf(error) === "ENAMETOOLONG") return undefined;
    throw error;
  }
}

function namesIn(folder: number): string[] {
  const names = readdirSync(`/proc/self/fd/${folder}`, { encoding: "buffer" });
  return names.map((name) => name.toString("latin1"));
}

function removeFolderAt(at: number, name: string): void {
  const fd = openSync(
    procPath(at, name),
    openFlags.path | openFlags.directory | openFlags.noFollow | openFlags.closeOnExec,
  );
  try {
    for (const child of namesIn(fd)) {
      if (statAt(fd, child)?.isDirectory()) removeFolderAt(fd, child);
      else tree.removeFile(fd, child);
    }
  } finally {
    closeSync(fd);
  }
  tree.removeEmptyFolder(at, name);
}

/** Errors that the names and types in an archive bring about. */
const archiveErrors: ReadonlySet<string> = new Set([
  "EEXIST",
  "EINVAL",
  "EISDIR",
  "ELOOP",
  "EMLINK",
  "ENAMETOOLONG",
  "ENOENT",
  "ENOTDIR",
  "ENOTEMPTY",
  "EXDEV",
]);

function failure(header: TarHeader, value: tree.CallResult): EngineError {
  const cause = systemFailure(-value, `unpack ${shown(header.name)}`);
  if (!archiveErrors.has(tree.resultCode(value))) return cause;
  return new EngineError("invalid-argument", cause.message, { cause, details: cause.details });
}

function refused(header: TarHeader, what: string): EngineError {
  return new EngineError("invalid-argument", `unpack ${shown(header.name)}: ${what}`);
}

function shown(name: string): string {
  return JSON.stringify(escapeControls(decodeByteString(name.slice(0, 256))));
}
