import { type BigIntStats, lstatSync, readdirSync } from "node:fs";
import { codeOf } from "../../lib/errors.ts";
import { isOpaqueFolder } from "./layer-xattrs.ts";

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
    isOpaque ||= isOpaqueFolder(at);
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

/** The names that an overlay of `layers` (uppermost first) shows in the folder `path`. */
export function namesInLayers(layers: readonly string[], path: string): ReadonlySet<string> {
  const shown = new Set<string>();
  const hidden = new Set<string>();
  for (const layer of layers) {
    const found = findInLayer(layer, path);
    if (found === "hidden") break;
    if (found === "absent") continue;
    if (!found.stat.isDirectory()) break;
    for (const bytes of readdirSync(found.path, { encoding: "buffer" })) {
      const name = bytes.toString("latin1");
      if (shown.has(name) || hidden.has(name)) continue;
      const stat = find(Buffer.concat([found.path, Buffer.from("/"), bytes]));
      const isGone = stat === undefined || (stat.isCharacterDevice() && stat.rdev === 0n);
      (isGone ? hidden : shown).add(name);
    }
    if (isOpaqueFolder(found.path)) break;
  }
  return shown;
}
