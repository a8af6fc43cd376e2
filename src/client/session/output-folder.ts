/** A folder of the user's that takes what a build gives: files are added and replaced, none removed. */
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  futimesSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import type { FolderSink } from "../../api/buildkit/folder-receiver.ts";
import { type FileStat, kindOfGoMode, permissionsOfGoMode } from "../../api/buildkit/fsutil.ts";
import { EngineError } from "../../lib/errors.ts";

/**
 * Takes files in below `root`, which is made when missing.
 *
 * Every folder on the way to a file is one that came before it: a link of the build's, or one that
 * lies here already, leads nowhere. Devices stay out.
 */
export function openOutputFolder(root: string): FolderSink & { finish(): void } & Disposable {
  mkdirSync(root, { recursive: true });
  const folders = new Map<string, FileStat | undefined>([["", undefined]]);
  const links: FileStat[] = [];
  const open = new Map<string, number>();
  const openFile = (stat: FileStat): number => {
    const known = open.get(stat.path);
    if (known !== undefined) return known;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = openSync(pathOf(root, stat.path), flags, 0o600);
    open.set(stat.path, fd);
    return fd;
  };
  const endOfFile = (stat: FileStat): void => {
    const fd = openFile(stat);
    open.delete(stat.path);
    fchmodSync(fd, permissionsOfGoMode(stat.mode) & 0o777);
    futimesSync(fd, secondsOf(stat), secondsOf(stat));
    closeSync(fd);
  };
  return {
    add: (stat) => {
      if (!folders.has(parentOf(stat.path))) throw outside(stat);
      const kind = kindOfGoMode(stat.mode);
      const path = pathOf(root, stat.path);
      const old = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      if (kind === "directory") {
        makeFolder(path, old);
        folders.set(stat.path, stat);
        return false;
      }
      if (kind !== "file" && kind !== "symlink") return false;
      if (old !== undefined) rmSync(path, { recursive: true, force: true });
      if (kind === "symlink") {
        symlinkSync(Buffer.from(stat.linkname, "latin1"), path);
        lutimesSync(path, secondsOf(stat), secondsOf(stat));
        return false;
      }
      if (stat.linkname !== "") links.push(stat);
      else if (stat.size > 0) return true;
      else endOfFile(stat);
      return false;
    },
    endOfStats: () => undefined,
    write: (stat, chunk) => {
      const fd = openFile(stat);
      for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at, chunk.length - at);
    },
    endOfFile,
    finish: () => {
      for (const stat of links) {
        if (!folders.has(parentOf(stat.linkname))) throw outside(stat);
        linkSync(pathOf(root, stat.linkname), pathOf(root, stat.path));
      }
      for (const stat of [...folders.values()].toReversed()) {
        if (stat === undefined) continue;
        chmodSync(pathOf(root, stat.path), permissionsOfGoMode(stat.mode) & 0o777);
        lutimesSync(pathOf(root, stat.path), secondsOf(stat), secondsOf(stat));
      }
    },
    [Symbol.dispose]: () => {
      for (const fd of open.values()) closeSync(fd);
      open.clear();
    },
  };
}

function makeFolder(path: Buffer, old: BigIntStats | undefined): void {
  if (old?.isDirectory() === true) return;
  if (old !== undefined) rmSync(path, { force: true });
  mkdirSync(path);
}

function secondsOf(stat: FileStat): number {
  return Number(stat.modTime) / 1e9;
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

function pathOf(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, "latin1")]);
}

function outside(stat: FileStat): EngineError {
  const path = JSON.stringify(Buffer.from(stat.path, "latin1").toString());
  return new EngineError("invalid-argument", `the engine sent ${path} without its folder`);
}
