import { type Dirent, lstatSync, promises, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { nextTurn } from "../../lib/concurrency/turn.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { nodeFailure, systemCode } from "../libc.ts";

const removeAttemptCountMax = 5;
/** Of a root file system below a snapshot's folder: `fs/usr/share/doc` is one part. */
const partsDepth = 4;
/** Folders this far down are moved up before a removal. */
const levelCountMax = 64;
/** Bytes of a path that a name can still be added to. */
const pathBytesMax = 3000;
/** Larger folders are read off the event loop. */
const folderBytesMax = 256 * 1024;
/** How long looking keeps the event loop at a time. */
const sliceMs = 2;
const replacement = "\uFFFD";

/** Removes a tree, links themselves and not their targets; a missing one is no failure. */
export async function removeTree(path: string): Promise<void> {
  await raiseDeepFolders(path);
  for (let attempt = 1; ; attempt += 1) {
    try {
      await promises.rm(path, { recursive: true, force: true });
      return;
    } catch (error) {
      const failure = nodeFailure(error, `remove tree ${JSON.stringify(path)}`);
      const code = systemCode(failure);
      if (code === "ENOENT") return;
      // Somebody adds to it or removes from it at the same time.
      if (code !== "ENOTEMPTY" || attempt === removeAttemptCountMax) throw failure;
    }
  }
}

/**
 * Removes a tree as `removeTree` does, in parts: first the folders some levels down, each at once.
 *
 * @param options.between awaited after each part; it may wait, or throw to leave the rest
 */
export async function removeTreeInParts(
  path: string,
  options: { readonly between: () => Promise<void> },
): Promise<void> {
  await removeBelow(path, partsDepth, options.between);
  await removeTree(path);
}

/** Removes what folders have below them, down to `depth`, part by part. */
async function removeBelow(
  path: string,
  depth: number,
  between: () => Promise<void>,
): Promise<void> {
  for (const name of await foldersOf(Buffer.from(path))) {
    // What is no UTF-8 leads nowhere as text, and is left to its parent.
    const folder = join(path, name.toString());
    if (depth > 1) await removeBelow(folder, depth - 1, between);
    await removeTree(folder);
    await between();
  }
}

/** A folder on the way down, and the folders in it that were not looked into. */
interface Level {
  readonly path: Buffer;
  readonly names: Buffer[];
}

/**
 * Moves folders that are many levels down up to the top of a tree that is to be removed: the runtime's
 * removal takes time by the square of the depth, and a container may have made any.
 */
async function raiseDeepFolders(root: string): Promise<void> {
  const top: Level = { path: Buffer.from(root), names: await foldersOf(Buffer.from(root)) };
  const levels = [top];
  let sliceEndMs = performance.now() + sliceMs;
  for (let level: Level | undefined = top; level !== undefined; level = levels.at(-1)) {
    const name = level.names.pop();
    if (name === undefined) {
      levels.pop();
      continue;
    }
    const path = below(level.path, name);
    if (levels.length > levelCountMax || path.byteLength > pathBytesMax) {
      const raised = Buffer.from(createId());
      if (move(path, below(top.path, raised))) top.names.push(raised);
    } else levels.push({ path, names: await foldersOf(path) });
    if (performance.now() < sliceEndMs) continue;
    await nextTurn();
    sliceEndMs = performance.now() + sliceMs;
  }
}

function below(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, Buffer.from("/"), name]);
}

/** @returns false when it went meanwhile, or cannot be moved: then the removal tells why */
function move(from: Buffer, to: Buffer): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (isOfSystem(error)) return false;
    throw error;
  }
}

/** Names of the real folders in a folder; none when it cannot be read. */
async function foldersOf(path: Buffer): Promise<Buffer[]> {
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat?.isDirectory() !== true) return [];
    const withFileTypes = true;
    const isLarge = stat.size > folderBytesMax;
    const entries: readonly Dirent[] = isLarge
      ? await promises.readdir(path, { withFileTypes })
      : readdirSync(path, { withFileTypes });
    const names = entries.filter((each) => each.isDirectory()).map((each) => each.name);
    if (names.some((name) => name.includes(replacement))) return oddFoldersOf(path);
    return names.map((name) => Buffer.from(name));
  } catch (error) {
    if (isOfSystem(error)) return [];
    throw error;
  }
}

/** As `foldersOf`, where names are not UTF-8. */
function oddFoldersOf(path: Buffer): Buffer[] {
  return readdirSync(path, { encoding: "buffer" }).filter((name) => {
    const stat = lstatSync(below(path, name), { throwIfNoEntry: false });
    return stat?.isDirectory() === true;
  });
}

function isOfSystem(error: unknown): boolean {
  const failure = nodeFailure(error, "look into a tree");
  return failure instanceof EngineError && typeof failure.details["errno"] === "number";
}
