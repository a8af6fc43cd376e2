import { closeSync } from "node:fs";
import { posix } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { openRoot, readFileInRoot } from "../../sys/fs/fs.ts";

/** Largest Dockerfile of which a picture is drawn. */
const pictureMaxBytes = 1024 * 1024;

/**
 * Reads the Dockerfile of a client's folder, for pictures of its lines.
 *
 * The folder is the client's, the name as well: links are followed inside of the folder alone, and
 * what is no small regular file is not opened.
 *
 * @returns undefined when there is nothing to draw; the build itself says why
 */
export function readDockerfileSource(folder: string, name: string): Uint8Array | undefined {
  const root = openRoot(folder);
  try {
    return readFileInRoot(root, posix.join("/", name).slice(1), { sizeMaxBytes: pictureMaxBytes });
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  } finally {
    closeSync(root);
  }
}
