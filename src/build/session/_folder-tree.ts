/**
 * The files of a client's folder on this machine's disk.
 *
 * The folder is kept from build to build: a file whose stat is as it was is not asked for again. The
 * sender is not trusted. Its paths were checked and come in order, so that every parent is a folder
 * that was taken in before; yet each step starts from the open root and is kept inside by the kernel.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { EngineError, isKind } from "../../lib/errors.ts";
import {
  changeOwner,
  deviceNumber,
  type FileFacts,
  factsAt,
  makeNode,
  openInRoot,
  openRoot,
  setTimes,
  setXattr,
} from "../../sys/fs/fs.ts";
import { openFlags } from "../../sys/libc.ts";
import type { FolderSink } from "../../api/buildkit/folder-receiver.ts";
import {
  type FileKind,
  type FileStat,
  kindOfGoMode,
  permissionsOfGoMode,
} from "../../api/buildkit/fsutil.ts";

/** Attributes that are taken over; others may mean something to overlayfs or a security module. */
const keptAttribute = /^(?:user\.|security\.capability$)/;

/** More changed paths than that are not told apart. */
const changedCountMax = 1000;

interface OpenFile {
  readonly fd: number;
  writtenBytes: number;
}

/** Takes a folder in. Close it, whether the transfer went well or not. */
export class FolderTree implements FolderSink, Disposable {
  readonly #root: number;
  readonly #isNew: boolean;
  /** Names by folder, of what is to stay. */
  readonly #names = new Map<string, Set<string>>([["", new Set()]]);
  /** Folders that were not there before: nothing in them can be. */
  readonly #newFolders = new Set<string>();
  readonly #folders: FileStat[] = [];
  /** Second names of files, which can be made only when the files are here. */
  readonly #links: FileStat[] = [];
  readonly #open = new Map<string, OpenFile>();
  /** Paths that are another than they were; undefined when there are too many to tell. */
  #changed: string[] | undefined = [];
  /** The folder of the last file, which mostly is that of the next. */
  #parent: { readonly path: string; readonly fd: number } | undefined;

  /** @param options.isNew true when the folder is known to be empty */
  constructor(path: string, options: { readonly isNew: boolean }) {
    this.#isNew = options.isNew;
    this.#root = openRoot(path);
  }

  add(stat: FileStat): boolean {
    const { folder, name } = split(stat.path);
    const siblings = this.#names.get(folder);
    if (siblings === undefined) {
      throw new EngineError(
        "invalid-argument",
        `receive folder: ${shown(stat.path)} comes without the folder it is in`,
      );
    }
    const kind = kindOfGoMode(stat.mode);
    if (kind === "other") return false;
    siblings.add(name);
    if (kind === "directory") this.#names.set(stat.path, new Set());
    const parent = this.#parentOf(folder);
    const isNewFolder = (this.#isNew && folder === "") || this.#newFolders.has(folder);
    const old = isNewFolder ? undefined : factsAt(parent, name);
    if (kind === "file" && stat.linkname === "" && isSameFile(stat, old)) return false;
    const at = entryOf(parent, name);
    if (kind === "directory") {
      this.#addFolder(stat, { at, old });
      return false;
    }
    if (kind === "file" && stat.linkname !== "") {
      this.#links.push(stat);
      return false;
    }
    if (old !== undefined && this.#isSame(stat, { at, old, kind })) return false;
    this.#noteChange(stat.path);
    if (old !== undefined) remove(at, old);
    if (kind === "file") {
      if (stat.size > 0) return true;
      this.endOfFile(stat);
      return false;
    }
    this.#addSpecial(stat, { at, kind });
    return false;
  }

  /** Whether files at a path or below it came anew, were changed or removed; "" is the folder. */
  hasChanged(path: string): boolean {
    if (this.#changed === undefined) return true;
    if (path === "") return this.#changed.length > 0;
    return this.#changed.some((each) => each === path || each.startsWith(`${path}/`));
  }

  endOfStats(): void {
    this.#closeParent();
    if (this.#isNew) return;
    for (const [folder, names] of this.#names) {
      if (this.#newFolders.has(folder)) continue;
      const fd = this.#openFolder(folder);
      try {
        const path = Buffer.from(`/proc/self/fd/${fd}/.`);
        for (const bytes of readdirSync(path, { encoding: "buffer" })) {
          const name = bytes.toString("latin1");
          if (names.has(name)) continue;
          const old = factsAt(fd, name);
          if (old === undefined) continue;
          remove(entryOf(fd, name), old);
          this.#noteChange(folder === "" ? name : `${folder}/${name}`);
        }
      } finally {
        closeSync(fd);
      }
    }
  }

  write(stat: FileStat, chunk: Uint8Array): void {
    const file = this.#openFile(stat);
    // A file that grows while it is sent ends where it ended when it was looked at.
    const room = stat.size - file.writtenBytes;
    const part = chunk.length > room ? chunk.subarray(0, room) : chunk;
    for (let at = 0; at < part.length; ) at += writeSync(file.fd, part, at, part.length - at);
    file.writtenBytes += part.length;
  }

  endOfFile(stat: FileStat): void {
    const { fd } = this.#openFile(stat);
    this.#open.delete(stat.path);
    try {
      fchownSync(fd, stat.uid, stat.gid);
      fchmodSync(fd, permissionsOfGoMode(stat.mode));
      const { folder, name } = split(stat.path);
      const at = this.#entry(folder, name);
      setAttributes(at, stat);
      // Last: a file without its time is sent again, also after a crash.
      setTimes(at, { atime: stat.modTime, mtime: stat.modTime });
    } finally {
      closeSync(fd);
    }
  }

  /** Makes second names, and gives folders their times, which their content has changed. */
  finish(): void {
    this.#closeParent();
    for (const stat of this.#links) this.#linkFile(stat);
    for (const stat of this.#folders.toReversed()) {
      const { folder, name } = split(stat.path);
      const now = factsAt(this.#parentOf(folder), name);
      if (now !== undefined && now.mtimeNs === stat.modTime) continue;
      setTimes(this.#entry(folder, name), { atime: stat.modTime, mtime: stat.modTime });
    }
    this.#closeParent();
  }

  [Symbol.dispose](): void {
    this.#closeParent();
    for (const { fd } of this.#open.values()) closeSync(fd);
    this.#open.clear();
    closeSync(this.#root);
  }

  #addFolder(
    stat: FileStat,
    place: { readonly at: Buffer; readonly old: FileFacts | undefined },
  ): void {
    const { at, old } = place;
    if (old !== undefined && !old.isDirectory()) remove(at, old);
    if (old?.isDirectory() !== true) {
      mkdirSync(at, 0o700);
      this.#newFolders.add(stat.path);
    }
    this.#folders.push(stat);
    const mode = permissionsOfGoMode(stat.mode);
    const isSame =
      old?.isDirectory() === true &&
      Number(old.mode & 0o7777n) === mode &&
      Number(old.uid) === stat.uid &&
      Number(old.gid) === stat.gid;
    if (!isSame) {
      this.#noteChange(stat.path);
      const fd = this.#openFolder(stat.path, constants.O_RDONLY);
      try {
        fchownSync(fd, stat.uid, stat.gid);
        fchmodSync(fd, mode);
      } finally {
        closeSync(fd);
      }
    }
    setAttributes(at, stat);
  }

  /** Whatever is neither a folder nor a file with content of its own. */
  #addSpecial(stat: FileStat, place: { readonly at: Buffer; readonly kind: FileKind }): void {
    const { at, kind } = place;
    if (kind === "symlink") symlinkSync(Buffer.from(stat.linkname, "latin1"), at);
    else {
      const type = nodeTypes.get(kind) ?? 0;
      makeNode(at, type | 0o600, deviceNumber(stat.devMajor, stat.devMinor));
    }
    changeOwner(at, stat.uid, stat.gid);
    if (kind !== "symlink") {
      const fd = openInRoot(this.#root, Buffer.from(stat.path, "latin1"), pathFlags);
      try {
        chmodSync(`/proc/self/fd/${fd}`, permissionsOfGoMode(stat.mode));
      } finally {
        closeSync(fd);
      }
    }
    setAttributes(at, stat);
    setTimes(at, { atime: stat.modTime, mtime: stat.modTime });
  }

  #linkFile(stat: FileStat): void {
    const source = split(stat.linkname);
    const fd = this.#openFolder(source.folder);
    try {
      const from = entryOf(fd, source.name);
      const { folder, name } = split(stat.path);
      const at = this.#entry(folder, name);
      const [target, old] = [factsAt(fd, source.name), factsAt(this.#parentOf(folder), name)];
      if (target?.isFile() !== true) {
        const link = `${shown(stat.path)} is a link to ${shown(stat.linkname)}`;
        throw new EngineError("invalid-argument", `receive folder: ${link}, which is no file`);
      }
      if (old?.ino === target.ino) return;
      if (old !== undefined) remove(at, old);
      linkSync(from, at);
      this.#noteChange(stat.path);
    } finally {
      closeSync(fd);
    }
  }

  #isSame(
    stat: FileStat,
    place: { readonly at: Buffer; readonly old: FileFacts; readonly kind: FileKind },
  ): boolean {
    const { at, old, kind } = place;
    // A regular file was compared before.
    if (kind === "file" || kindOf(old) !== kind) return false;
    if (kind === "symlink") {
      if (!hasSameOwnerAndTime(stat, old)) return false;
      return readlinkSync(at, { encoding: "buffer" }).toString("latin1") === stat.linkname;
    }
    if (!hasSameOwnerAndTime(stat, old) || !hasSameMode(stat, old)) return false;
    if (kind === "fifo") return true;
    return old.rdev === deviceNumber(stat.devMajor, stat.devMinor);
  }

  #openFile(stat: FileStat): OpenFile {
    const open = this.#open.get(stat.path);
    if (open !== undefined) return open;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = openInRoot(this.#root, Buffer.from(stat.path, "latin1"), flags, 0o600);
    const file: OpenFile = { fd, writtenBytes: 0 };
    this.#open.set(stat.path, file);
    return file;
  }

  /** A path to one entry that starts at the open folder that holds it. */
  #entry(folder: string, name: string): Buffer {
    return entryOf(this.#parentOf(folder), name);
  }

  /** The open folder of a path; closed when the next is asked for. */
  #parentOf(folder: string): number {
    if (this.#parent?.path !== folder) {
      this.#closeParent();
      this.#parent = { path: folder, fd: this.#openFolder(folder) };
    }
    return this.#parent.fd;
  }

  #noteChange(path: string): void {
    this.#changed?.push(path);
    if ((this.#changed?.length ?? 0) > changedCountMax) this.#changed = undefined;
  }

  #openFolder(folder: string, access = pathFlags): number {
    const flags = access | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    return openInRoot(this.#root, Buffer.from(folder === "" ? "." : folder, "latin1"), flags);
  }

  #closeParent(): void {
    if (this.#parent !== undefined) closeSync(this.#parent.fd);
    this.#parent = undefined;
  }
}

const unsupported: ReadonlySet<string> = new Set(["EOPNOTSUPP", "EPERM", "ENOSPC", "E2BIG"]);
const nodeTypes: ReadonlyMap<FileKind, number> = new Map([
  ["fifo", 0o010000],
  ["char", 0o020000],
  ["block", 0o060000],
]);
const pathFlags = openFlags.path | openFlags.noFollow;

function entryOf(fd: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${fd}/${name}`, "latin1");
}

function split(path: string): { readonly folder: string; readonly name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: slash < 0 ? "" : path.slice(0, slash), name: path.slice(slash + 1) };
}

/** Whether a regular file looks as the sender says; mostly all but a few do. */
function isSameFile(stat: FileStat, old: FileFacts | undefined): boolean {
  if (old?.isFile() !== true || old.size !== BigInt(stat.size)) return false;
  return hasSameOwnerAndTime(stat, old) && hasSameMode(stat, old);
}

function hasSameOwnerAndTime(stat: FileStat, old: FileFacts): boolean {
  if (old.mtimeNs !== stat.modTime) return false;
  return Number(old.uid) === stat.uid && Number(old.gid) === stat.gid;
}

function hasSameMode(stat: FileStat, old: FileFacts): boolean {
  return Number(old.mode & 0o7777n) === permissionsOfGoMode(stat.mode);
}

function kindOf(stat: FileFacts): FileKind {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isFIFO()) return "fifo";
  if (stat.isCharacterDevice()) return "char";
  return stat.isBlockDevice() ? "block" : "other";
}

/** Removes an entry, a link itself and not its target. */
function remove(at: Buffer, old: FileFacts): void {
  if (old.isDirectory()) rmSync(at, { recursive: true, force: true });
  else unlinkSync(at);
}

function setAttributes(at: Buffer, stat: FileStat): void {
  for (const [name, value] of stat.xattrs) {
    if (!keptAttribute.test(name)) continue;
    try {
      setXattr(at, name, value);
    } catch (error) {
      // The file system of the data root may have no room for attributes of this kind.
      if (!isKind(error) || !unsupported.has(String(error.details["code"]))) throw error;
    }
  }
}

/** A path in an error, as text. */
function shown(path: string): string {
  return JSON.stringify(Buffer.from(path, "latin1").toString());
}
