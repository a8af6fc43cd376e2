import { closeSync, lstatSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { codeOf } from "../../lib/errors.ts";
import { openFlags } from "../../sys/libc.ts";
import * as tree from "./tree-syscalls.ts";

/** A name in an open folder, for calls that take paths. */
export function procPath(folder: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${folder}/${name}`, "latin1");
}

/** What has a name in an open folder; a link itself. */
export function statAt(folder: number, name: string): ReturnType<typeof lstatSync> {
  try {
    return lstatSync(procPath(folder, name), { throwIfNoEntry: false });
  } catch (error) {
    if (codeOf(error) === "ENAMETOOLONG") return undefined;
    throw error;
  }
}

/** Where a symbolic link in an open folder leads, byte for byte. */
export function linkTargetAt(folder: number, name: string): string {
  return readlinkSync(procPath(folder, name), { encoding: "buffer" }).toString("latin1");
}

/** The names in an open folder, as byte strings. */
export function namesIn(folder: number): string[] {
  const names = readdirSync(`/proc/self/fd/${folder}`, { encoding: "buffer" });
  return names.map((name) => name.toString("latin1"));
}

/** Removes a folder and all that is in it. */
export function removeFolderAt(at: number, name: string): void {
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
