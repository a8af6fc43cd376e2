import { type BigIntStats, lstatSync } from "node:fs";
import { codeOf } from "../lib/errors.ts";
import { getXattr } from "../sys/fs.ts";

/** Says on an overlay layer's directory that nothing below shows through. */
export const opaqueAttribute = "trusted.overlay.opaque";

/** A file of a lower layer. */
export interface LowerFile {
  readonly path: Buffer;
  readonly stat: BigIntStats;
}

/**
 * Finds what an overlay of `layers` (uppermost first) shows at `path`, without mounting it.
 *
 * Whiteouts and opaque directories count; links on the way are not followed, so that nothing
 * outside of the layers is ever found.
 *
 * @param path byte string without empty, "." and ".." parts
 */
export function findInLayers(layers: readonly string[], path: string): LowerFile | undefined {
  for (const layer of layers) {
    const found = findInLayer(layer, path);
    if (found === "hidden") return undefined;
    if (found !== "absent") return found;
  }
  return undefined;
}

function findInLayer(layer: string, path: string): LowerFile | "absent" | "hidden" {
  let at = Buffer.from(layer);
  let isOpaque = false;
  const parts = path.split("/");
  for (const [index, part] of parts.entries()) {
    at = Buffer.concat([at, Buffer.from(`/${part}`, "latin1")]);
    const stat = find(at);
    if (stat === undefined) return isOpaque ? "hidden" : "absent";
    if (stat.isCharacterDevice() && stat.rdev === 0n) return "hidden";
    if (index === parts.length - 1) return { path: at, stat };
    if (!stat.isDirectory()) return "hidden";
    isOpaque ||= Buffer.from(getXattr(at, opaqueAttribute) ?? []).toString() === "y";
  }
  return "absent";
}

function find(path: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    // A part of the name that is too long for this file system is not there.
    if (codeOf(error) === "ENAMETOOLONG") return undefined;
    throw error;
  }
}
