import { lstatSync, readdirSync } from "node:fs";
import { nextTurn } from "../lib/concurrency/turn.ts";
import { codeOf } from "../lib/errors.ts";

/** How long the measuring keeps the event loop at a time. */
const sliceMs = 5;

/**
 * Adds up the files below a directory: apparent sizes, a file with several names counted once.
 *
 * Links are not followed. What vanishes meanwhile is not counted; a missing directory is empty.
 */
export async function measureTree(
  path: string,
): Promise<{ readonly sizeBytes: number; readonly inodeCount: number }> {
  const seen = new Set<number>();
  const folders = [Buffer.from(path)];
  let sizeBytes = 0;
  let inodeCount = 0;
  let sliceEndMs = performance.now() + sliceMs;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const name of namesIn(folder)) {
      const entry = Buffer.concat([folder, Buffer.from("/"), name]);
      const stat = lstatSync(entry, { throwIfNoEntry: false });
      if (stat === undefined) continue;
      if (stat.isDirectory()) folders.push(entry);
      else if (stat.nlink > 1 && seen.has(stat.ino)) continue;
      else sizeBytes += stat.size;
      if (stat.nlink > 1 && !stat.isDirectory()) seen.add(stat.ino);
      inodeCount += 1;
      if (performance.now() < sliceEndMs) continue;
      await nextTurn();
      sliceEndMs = performance.now() + sliceMs;
    }
  }
  return { sizeBytes, inodeCount };
}

function namesIn(folder: Buffer): readonly Buffer[] {
  try {
    return readdirSync(folder, { encoding: "buffer" });
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw error;
  }
}
