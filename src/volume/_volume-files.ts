import { lstatSync, mkdirSync, promises, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { codeOf, EngineError } from "../lib/errors.ts";
import {
  copyTree,
  removeTree,
  syncDirectory,
  syncFileSystemAsync,
  writeFileAtomic,
} from "../sys/fs/fs.ts";
import { readMountInfo, unmount } from "../sys/mount/mount.ts";
import { decodeStrings } from "./_volume-record.ts";

/** The engine's own folders are passed through by containers' users, and read by root alone. */
const folderMode = 0o701;
const dataMode = 0o755;
const optionsFileSizeMaxBytes = 64 * 1024;

/** What containers see of the volume whose folder is `folder`. */
export function dataPath(folder: string): string {
  return join(folder, "_data");
}

/** Makes a volume's folder where it is missing, durable when it returns. */
export function makeVolumeFolder(
  folder: string,
  options: Readonly<Record<string, string>> | null,
): void {
  const isNew = mkdirSync(folder, { recursive: true, mode: folderMode }) !== undefined;
  const isNewData = mkdirSync(dataPath(folder), { recursive: true, mode: dataMode }) !== undefined;
  if (options !== null && isNewData) {
    writeFileAtomic(join(folder, "opts.json"), JSON.stringify(options), { mode: 0o600 });
  }
  if (isNewData) syncDirectory(folder);
  if (isNew) syncDirectory(join(folder, ".."));
}

/** The driver options that lie in the folder of a volume whose record is lost. */
export function readLostOptions(folder: string): Readonly<Record<string, string>> | null {
  const path = join(folder, "opts.json");
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile() || stat.size > optionsFileSizeMaxBytes) return null;
  const document: unknown = JSON.parse(readFileSync(path, "utf8"));
  return decodeStrings(document, "opts.json");
}

/** Tells whether a folder has nothing in it. */
export function isEmptyFolder(path: string): boolean {
  return readdirSync(path).length === 0;
}

/** Tells whether a path is a folder and no link to one. */
export function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Copies `source` to be the content of the volume, all or nothing, durable when it returns. */
export async function copyAtomically(folder: string, source: string): Promise<void> {
  const unfinished = join(folder, "_populating");
  await removeTree(unfinished);
  try {
    await copyTree(source, unfinished);
    await syncFileSystemAsync(unfinished);
    // Takes the place of an empty folder; fails when somebody has put something into it.
    renameSync(unfinished, dataPath(folder));
  } finally {
    await removeTree(unfinished);
  }
  syncDirectory(folder);
}

/**
 * Removes a volume's folder, and nothing that is mounted below it.
 *
 * @throws conflict when something is mounted there that does not let go
 */
export async function removeVolumeFolder(folder: string): Promise<void> {
  unmountBelow(folder);
  await removeTree(folder);
  syncDirectory(join(folder, ".."));
}

/** Unmounts all that is mounted at or below a path, the uppermost first. */
export function unmountBelow(path: string): void {
  for (const { target } of mountsBelow(path).reverse()) unmount(target, { detach: true });
  const [left] = mountsBelow(path);
  if (left === undefined) return;
  throw new EngineError("conflict", `remove ${JSON.stringify(path)}: ${left.target} is mounted`);
}

function mountsBelow(path: string): { readonly target: string }[] {
  return readMountInfo().filter(({ target }) => target === path || target.startsWith(`${path}/`));
}

/** Bytes of the files below a folder; hard links count once, other file systems not at all. */
export async function folderSizeBytes(path: string): Promise<number> {
  const seen = new Set<string>();
  const device = (await promises.lstat(path)).dev;
  let sizeBytes = 0;
  const waiting = [path];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const entry of await absent(promises.readdir(folder), [])) {
      const file = join(folder, entry);
      const stat = await absent(promises.lstat(file), undefined);
      if (stat === undefined || stat.dev !== device) continue;
      if (stat.isDirectory()) waiting.push(file);
      const key = `${stat.ino}`;
      if (stat.nlink > 1 && !stat.isDirectory()) {
        if (seen.has(key)) continue;
        seen.add(key);
      }
      sizeBytes += stat.size;
    }
  }
  return sizeBytes;
}

/** The result of work on a file that may go away meanwhile. */
async function absent<T>(work: Promise<T>, missing: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return missing;
    throw error;
  }
}
