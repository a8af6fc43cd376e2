import { closeSync, fstatSync, lstatSync, writeSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { decodeByteString, type TarHeader } from "../../lib/tar/tar-header.ts";
import type { EntrySink, TarHandler } from "../../lib/tar/tar-reader.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { deviceNumber } from "../../sys/fs/fs.ts";
import * as calls from "../../snapshot/tree/tree-syscalls.ts";
import { must } from "../tree/calls.ts";
import { isKeptAttribute } from "../tree/checksum.ts";
import { type MatchCopy, openSource, refuseWhiteout } from "./_copy-match.ts";
import { shown, type TreeNode } from "../tree/merged-tree.ts";
import type { Owner } from "../tree/owner.ts";
import {
  copyXattrs,
  join,
  nameIn,
  setOptionalXattr,
  type TargetFolder,
  type TargetTree,
} from "./_target-tree.ts";

const fileTypeBits = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;
/** Of folders that an archive does not describe. */
const implied = { uid: 0, gid: 0, mode: 0o755 } as const;

/**
 * Writes the entries of an archive into a folder of a target. Hostile archives are its daily bread:
 * the folder is the root for every name and link, and nothing outside of it is ever reached.
 *
 * Docker: whiteouts are files like others, and attributes of a hard link change the file; 28.5.
 */
export class ArchiveWriter implements TarHandler, EntrySink {
  readonly #copy: MatchCopy;
  readonly #root: TargetFolder;
  readonly #owner: Owner | undefined;
  /** Folder of an entry as it is named → where that is. */
  #folders = new Map<string, TargetFolder>();
  /** Times of folders are set at the end: whatever is put into them changes them. */
  readonly #times = new Map<TargetFolder, bigint>();
  /** Inodes of files that this archive made. */
  readonly #made = new Set<bigint>();
  #open: { readonly fd: number; readonly header: TarHeader; readonly at: Place } | undefined;
  #holeBytes = 0;
  #offset = 0;

  constructor(
    copy: MatchCopy,
    options: { readonly folder: TargetFolder; readonly owner: Owner | undefined },
  ) {
    this.#copy = copy;
    this.#root = options.folder;
    this.#owner = options.owner;
  }

  entry(header: TarHeader): EntrySink | "skip" {
    const parts = cleanName(header, header.name);
    // Docker: what an archive says of its root is not taken, seen in moby's archive.
    if (parts.length === 0) return "skip";
    const at = this.#place(parts);
    switch (header.type) {
      case "directory":
        this.#makeFolder(header, at);
        return "skip";
      case "file": {
        const fd = this.#replacing(at, (folder) => calls.createFile(folder, at.name));
        this.#made.add(fstatSync(fd, { bigint: true }).ino);
        this.#open = { fd, header, at };
        this.#offset = 0;
        this.#holeBytes = 0;
        return this;
      }
      case "hardlink":
        this.#hardLink(header, at);
        return "skip";
      case "symlink":
        this.#replacing(at, (fd) => calls.makeSymlink(fd, at.name, header.linkName));
        this.#attributes(header, at);
        return "skip";
      case "char":
      case "block":
      case "fifo":
        this.#makeNode(header, header.type, at);
        return "skip";
      case "other":
        throw refused(header, `unhandled entry type ${JSON.stringify(header.typeFlag)}`);
    }
  }

  write(bytes: Uint8Array): void {
    if (this.#open === undefined) return;
    this.#holeBytes = 0;
    for (let at = 0; at < bytes.length; ) {
      const count = writeSync(this.#open.fd, bytes, at, bytes.length - at, this.#offset);
      at += count;
      this.#offset += count;
    }
  }

  hole(sizeBytes: number): void {
    this.#offset += sizeBytes;
    this.#holeBytes = sizeBytes;
  }

  end(): void {
    const open = this.#open;
    if (open === undefined) return;
    const { fd, header, at } = open;
    if (this.#holeBytes > 0) must(calls.setSize(fd, this.#offset), "set file size");
    const what = `unpack ${name(header.name)}`;
    must(calls.setOwnerAndMode(fd, this.#attributesOf(header)), what);
    this.#xattrs(header, at);
    must(calls.setTimesOf(fd, header.mtimeNs), what);
    this.close();
    this.#copy.written.fileCount += 1;
    this.#copy.written.sizeBytes += header.sizeBytes;
  }

  /** Sets the times of folders. */
  finish(): void {
    for (const [folder, mtimeNs] of this.#times) this.#target.setTime(folder, mtimeNs);
  }

  /** Gives up a file that is half written; safe to call again. */
  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd);
    this.#open = undefined;
  }

  get #target(): TargetTree {
    return this.#copy.target;
  }

  /** Where a name is: its folder, made when missing, with links on the way followed in the root. */
  #place(parts: readonly string[]): Place {
    const names = parts.slice(0, -1);
    const path = names.join("/");
    let folder = this.#folders.get(path);
    if (folder === undefined) {
      const found = this.#target.resolve(path, { root: this.#root.node });
      if (!found.node.stat.isDirectory()) {
        throw new EngineError("invalid-argument", `mkdir ${shown(path)}: not a directory`);
      }
      folder = this.#target.folder([...partsIn(this.#root), ...found.parts]);
      for (const missing of found.missing) {
        folder = this.#target.makeMissing(folder, missing, implied);
      }
      this.#folders.set(path, folder);
    }
    return { folder, name: parts.at(-1) ?? "" };
  }

  #makeFolder(header: TarHeader, at: Place): void {
    const present = this.#target.find(at.folder, at.name);
    const isInTheWay = present !== undefined && !present.stat.isDirectory();
    if (isInTheWay) this.#remove(at);
    const folder = isInTheWay
      ? this.#target.makeOver(at.folder, at.name)
      : this.#target.makeFolder(at.folder, at.name).folder;
    this.#target.setAttributes(folder, this.#attributesOf(header));
    this.#xattrs(header, { folder, name: "." });
    this.#times.set(folder, header.mtimeNs);
  }

  #hardLink(header: TarHeader, at: Place): void {
    const parts = cleanName(header, header.linkName);
    if (parts.length === 0) throw refused(header, "a link to the root");
    const from = this.#place(parts);
    if (from.folder === at.folder && from.name === at.name)
      throw refused(header, "a link to itself");
    const node = this.#target.find(from.folder, from.name);
    if (node === undefined) {
      throw refused(header, `the link's target ${name(header.linkName)} does not exist`);
    }
    if (node.stat.isDirectory()) throw refused(header, "a hard link to a directory");
    // What this archive did not make may be shared with other trees, and must not change there.
    const isOwn = node.places[0].layer === 0 && this.#made.has(node.stat.ino);
    if (!isOwn && node.stat.isFile()) this.#copyUp(from, node);
    else if (node.places[0].layer !== 0) throw refused(header, "a link to no file of the archive");
    this.#replacing(at, (fd) =>
      calls.makeHardLink(fd, at.name, { folder: this.#target.fd(from.folder), name: from.name }),
    );
    if (!node.stat.isSymbolicLink()) this.#attributes(header, at);
  }

  /** Makes a file of its own of one that another layer has too, so that it can be linked to. */
  #copyUp(at: Place, node: TreeNode): void {
    const { tree } = this.#target;
    const from = openSource(tree, node);
    try {
      const fd = this.#target.makeFile(at.folder, at.name, (folder) =>
        calls.createFile(folder, at.name),
      );
      try {
        this.#made.add(fstatSync(fd, { bigint: true }).ino);
        this.#copy.data.copy(from, fd);
        const { uid, gid, mode, mtimeNs } = node.stat;
        const owner = { uid: Number(uid), gid: Number(gid) };
        const attributes = { ...owner, mode: Number(mode) & 0o7777, mtimeNs };
        must(calls.setOwnerAndMode(fd, attributes), "copy file up");
        copyXattrs(tree.hostPath(node), nameIn(this.#target.fd(at.folder), at.name));
        must(calls.setTimesOf(fd, mtimeNs), "copy file up");
      } finally {
        closeSync(fd);
      }
    } finally {
      closeSync(from);
    }
  }

  #makeNode(header: TarHeader, type: keyof typeof fileTypeBits, at: Place): void {
    const { devMajor, devMinor } = header;
    const isSound = [devMajor, devMinor].every((part) => part >= 0 && part <= 0xffffffff);
    if (!isSound) throw refused(header, `device ${devMajor}:${devMinor} is out of range`);
    const device = type === "fifo" ? 0n : deviceNumber(devMajor, devMinor);
    if (type === "char" && device === 0n) throw refuseWhiteout(join(at.folder.path, at.name));
    const mode = fileTypeBits[type] | 0o600;
    this.#replacing(at, (fd) => calls.makeNodeAt(fd, at.name, { mode, device }));
    this.#attributes(header, at);
  }

  /** Makes a thing in the place of whatever has its name, folders included. */
  #replacing(at: Place, make: (folder: number) => calls.CallResult): number {
    if (this.#target.find(at.folder, at.name) !== undefined) this.#remove(at);
    let made = make(this.#target.fd(at.folder));
    if (made < 0 && calls.resultCode(made) === "EEXIST") {
      // A whiteout, which nobody sees.
      this.#remove(at);
      made = make(this.#target.fd(at.folder));
    }
    return must(made, `unpack ${shown(at.name)}`);
  }

  #remove(at: Place): void {
    const path = join(at.folder.path, at.name);
    this.#target.removeAll(at.folder, at.name);
    // Names may lead elsewhere from now on.
    this.#folders = new Map();
    for (const folder of this.#times.keys()) {
      if (folder.path === path || folder.path.startsWith(`${path}/`)) this.#times.delete(folder);
    }
  }

  /** Owner, mode, attributes and time of what was just made by name. */
  #attributes(header: TarHeader, at: Place): void {
    const fd = this.#target.fd(at.folder);
    const what = `unpack ${name(header.name)}`;
    const attributes = this.#attributesOf(header);
    must(calls.setOwnerAt(fd, at.name, attributes), what);
    const isLink = lstatSync(nameIn(fd, at.name)).isSymbolicLink();
    if (!isLink) must(calls.setModeAt(fd, at.name, attributes.mode), what);
    this.#xattrs(header, at);
    must(calls.setTimesAt(fd, at.name, header.mtimeNs), what);
  }

  #xattrs(header: TarHeader, at: Place): void {
    if (header.xattrs.size === 0) return;
    const path = nameIn(this.#target.fd(at.folder), at.name);
    for (const [attribute, value] of header.xattrs) {
      if (isKeptAttribute(attribute)) setOptionalXattr(path, attribute, value);
    }
  }

  #attributesOf(header: TarHeader): calls.FileAttributes {
    const { uid, gid } = this.#owner ?? header;
    return { uid, gid, mode: header.mode & 0o7777, mtimeNs: header.mtimeNs };
  }
}

interface Place {
  readonly folder: TargetFolder;
  readonly name: string;
}

function partsIn(folder: TargetFolder): string[] {
  return folder.path === "" ? [] : folder.path.split("/");
}

/** Go's filepath.Clean; a name that leads out is refused. */
function cleanName(header: TarHeader, text: string): string[] {
  const parts: string[] = [];
  for (const part of text.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined)
      throw refused(header, `${name(text)} leads out of the folder`);
  }
  return parts;
}

function refused(header: TarHeader, what: string): EngineError {
  return new EngineError("invalid-argument", `entry ${name(header.name)}: ${what}`);
}

function name(text: string): string {
  return JSON.stringify(escapeControls(decodeByteString(text.slice(0, 256))));
}
