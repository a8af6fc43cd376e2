import { readlinkSync } from "node:fs";
import { join, normalize } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { getXattr, openRoot, readFileInRoot, statInRoot } from "../../sys/fs/fs.ts";
import { closeSync } from "node:fs";

/** Larger files of users and groups are refused, not read. */
const imageFileSizeMaxBytes = 1024 * 1024;
/** As the kernel's MAXSYMLINKS. */
const linkCountMax = 40;
const fileTypeMask = 0o170000;
const characterDevice = 0o020000;

interface Layer {
  readonly path: string;
  readonly fd: number;
}

/**
 * Reads a file as overlayfs would show it, before anything is mounted.
 *
 * Whiteouts and opaque folders hide what lies below; links lead from the image's root and never
 * out of it. Nothing waits for a FIFO.
 *
 * @param layerDirs directories of the layers, uppermost first
 * @returns undefined when there is no such file
 * @throws invalid-argument when it is no regular file, larger than 1 MiB, or a maze of links
 */
export function readImageFile(layerDirs: readonly string[], path: string): Uint8Array | undefined {
  const layers = layerDirs.map((layer) => ({ path: layer, fd: openRoot(layer) }));
  try {
    let wanted = path;
    for (let links = 0; links <= linkCountMax; links += 1) {
      const found = walk(layers, wanted);
      if (found === undefined) return undefined;
      if (found.kind === "file") {
        return readFileInRoot(found.layer.fd, found.path, {
          sizeMaxBytes: imageFileSizeMaxBytes,
        });
      }
      wanted = found.target;
    }
    throw new EngineError(
      "invalid-argument",
      `read ${JSON.stringify(path)} of the image: too many symbolic links`,
    );
  } finally {
    for (const layer of layers) closeSync(layer.fd);
  }
}

/**
 * Where paths lead in an image as overlayfs would show it, before anything is mounted: links are
 * followed, from the image's root and never out of it. What is not there keeps its name.
 *
 * @param layerDirs directories of the layers, uppermost first
 * @throws invalid-argument for a maze of links
 */
export function resolveImagePaths(
  layerDirs: readonly string[],
  paths: readonly string[],
): ReadonlyMap<string, string> {
  const layers = layerDirs.map((layer) => ({ path: layer, fd: openRoot(layer) }));
  try {
    return new Map(paths.map((path) => [path, resolvePath(layers, path)]));
  } finally {
    for (const layer of layers) closeSync(layer.fd);
  }
}

function resolvePath(layers: readonly Layer[], path: string): string {
  const names = partsOf(path).reverse();
  const folders: { readonly path: string; readonly layers: readonly Layer[] }[] = [];
  for (let links = 0; names.length > 0; ) {
    const name = names.pop() ?? "";
    if (name === "..") {
      folders.pop();
      continue;
    }
    const parent = folders.at(-1) ?? { path: "/", layers };
    const here = join(parent.path, name);
    const step = enter(parent.layers, here);
    if (step.kind !== "link") {
      folders.push({ path: here, layers: step.kind === "folder" ? step.layers : [] });
      continue;
    }
    links += 1;
    if (links > linkCountMax) {
      throw new EngineError(
        "invalid-argument",
        `${JSON.stringify(path)} of the image: too many symbolic links`,
      );
    }
    if (step.target.startsWith("/")) folders.length = 0;
    names.push(...partsOf(step.target).reverse());
  }
  return folders.at(-1)?.path ?? "/";
}

function partsOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

type Found =
  | { readonly kind: "file"; readonly layer: Layer; readonly path: string }
  | { readonly kind: "link"; readonly target: string };

/** Goes down `path` until it ends or a link turns it elsewhere. */
function walk(layers: readonly Layer[], path: string): Found | undefined {
  const names = normalize(`/${path}`)
    .split("/")
    .filter((name) => name !== "");
  let merged = layers;
  for (const [index, name] of names.entries()) {
    const here = `/${names.slice(0, index).join("/")}`;
    const step = enter(merged, join(here, name));
    if (step.kind === "folder") merged = step.layers;
    else if (step.kind === "missing") return undefined;
    else if (step.kind === "link") {
      const rest = names.slice(index + 1).join("/");
      const base = step.target.startsWith("/") ? "/" : here;
      return { kind: "link", target: join(base, step.target, rest) };
    } else return index === names.length - 1 ? step : undefined;
  }
  return undefined;
}

type Step =
  | { readonly kind: "missing" }
  | { readonly kind: "folder"; readonly layers: readonly Layer[] }
  | Found;

/** What overlayfs shows at a path whose folder is merged from `layers`. */
function enter(layers: readonly Layer[], path: string): Step {
  const folders: Layer[] = [];
  for (const layer of layers) {
    const stat = statInRoot(layer.fd, path, { noFollow: true });
    if (stat === undefined) continue;
    if (stat.isDirectory) {
      folders.push(layer);
      if (isOpaque(join(layer.path, path))) break;
      continue;
    }
    // A whiteout, or something else under a folder: what is below cannot be seen.
    if (folders.length > 0 || (stat.mode & fileTypeMask) === characterDevice) break;
    if (stat.isSymbolicLink) {
      return { kind: "link", target: readlinkSync(join(layer.path, path)) };
    }
    return { kind: "file", layer, path };
  }
  return folders.length === 0 ? { kind: "missing" } : { kind: "folder", layers: folders };
}

function isOpaque(path: string): boolean {
  return ["trusted.overlay.opaque", "user.overlay.opaque"].some((name) => {
    const value = getXattr(path, name);
    return value !== undefined && Buffer.from(value).toString() === "y";
  });
}
