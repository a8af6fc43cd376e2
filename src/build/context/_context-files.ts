/** Folders that came from elsewhere: nothing in them is believed. */
import { closeSync, lstatSync } from "node:fs";
import { join, posix } from "node:path";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { openRoot, readFileInRoot } from "../../sys/fs/fs.ts";
import type { BuildRequest } from "../build-service.ts";

/**
 * The part of a fetched context that is built from.
 *
 * @throws not-found for what is no folder of it; links are none, they could lead out
 */
export function scopedFolder(
  folder: string,
  { main, contextSubdir = "" }: Pick<BuildRequest, "main" | "contextSubdir">,
): string {
  if (main.kind === "local") return folder;
  let path = folder;
  for (const part of posix.join("/", contextSubdir).split("/")) {
    if (part === "") continue;
    path = join(path, part);
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) continue;
    throw new EngineError(
      "not-found",
      `the context has no folder ${JSON.stringify(contextSubdir)}`,
    );
  }
  return path;
}

/** A file of a folder that came from elsewhere; links are followed inside. */
export function readInFolder(
  folder: string,
  file: { readonly path: string; readonly sizeMaxBytes: number },
): Uint8Array | undefined {
  const root = openRoot(folder);
  try {
    return readFileInRoot(root, posix.join("/", file.path).slice(1), {
      sizeMaxBytes: file.sizeMaxBytes,
    });
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError("invalid-argument", `read ${file.path}: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    closeSync(root);
  }
}
