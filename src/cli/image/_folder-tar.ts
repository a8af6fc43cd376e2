import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { encodeTarEnd, encodeTarHeader, encodeTarPadding } from "../../lib/tar/tar-writer.ts";

const chunkSizeBytes = 256 * 1024;
/** Folders below each other in an image layout: blobs, the algorithm. */
const depthMax = 4;
/** Files that say what the others are: one of them makes a folder an archive of images. */
const documents = ["index.json", "manifest.json", "repositories"];

/** Whether a path is a folder. */
export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/**
 * The archive of a folder that holds an image layout, or what `docker save` made unpacked.
 *
 * @throws invalid-argument when it holds neither
 */
export async function* folderTar(folder: string): AsyncGenerator<Uint8Array> {
  if (!documents.some((name) => statSync(join(folder, name), { throwIfNoEntry: false }))) {
    throw new EngineError(
      "invalid-argument",
      `open ${folder}: a folder without index.json (an OCI image layout) or manifest.json`,
    );
  }
  yield* entries(folder, { prefix: "", depth: 0 });
  yield encodeTarEnd();
}

async function* entries(
  folder: string,
  at: { readonly prefix: string; readonly depth: number },
): AsyncGenerator<Uint8Array> {
  const names = readdirSync(folder, { withFileTypes: true }).sort((left, right) =>
    left.name < right.name ? -1 : 1,
  );
  for (const entry of names) {
    const name = `${at.prefix}${entry.name}`;
    const path = join(folder, entry.name);
    if (entry.isDirectory() && at.depth < depthMax) {
      yield* entries(path, { prefix: `${name}/`, depth: at.depth + 1 });
    } else if (entry.isFile() || isFileBehindLink(path)) yield* fileEntry(path, name);
  }
}

/** Old archives link equal layers to each other. */
function isFileBehindLink(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

async function* fileEntry(path: string, name: string): AsyncGenerator<Uint8Array> {
  const fd = openSync(path, "r");
  try {
    const sizeBytes = fstatSync(fd).size;
    yield encodeTarHeader({ name, sizeBytes });
    let left = sizeBytes;
    while (left > 0) {
      const chunk = new Uint8Array(Math.min(chunkSizeBytes, left));
      const count = readSync(fd, chunk);
      if (count === 0) throw new EngineError("data-loss", `read ${path}: it became shorter`);
      left -= count;
      yield chunk.subarray(0, count);
    }
    yield encodeTarPadding(sizeBytes);
  } finally {
    closeSync(fd);
  }
}
