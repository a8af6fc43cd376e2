import type { TreeEntry } from "./_layer-tar-writer.ts";

/**
 * Files and folders that starting a container makes as places to mount on. Empty, they are no
 * change that anyone made. Docker: they lie in a layer of their own below the container's.
 */
const enginePaths: ReadonlySet<string> = new Set([
  ".dockerenv",
  "dev",
  "dev/console",
  "dev/pts",
  "dev/shm",
  "etc/hostname",
  "etc/hosts",
  "etc/mtab",
  "etc/resolv.conf",
  "proc",
  "sys",
]);

/** Folders that may be touched by nothing but the making of one of those. */
const engineFolders: ReadonlySet<string> = new Set(["", "dev", "etc", "proc", "sys"]);

/** Tells whether a file is one that the start of a container made. */
export function isEngineFile({ path, stat }: TreeEntry): boolean {
  if (!enginePaths.has(path)) return false;
  return path === "etc/mtab" ? stat.isSymbolicLink() : stat.isFile() && stat.size === 0n;
}

/** Tells whether a folder counts only for what is in it. */
export function isEngineFolder(path: string): boolean {
  return engineFolders.has(path) || enginePaths.has(path);
}
