import { lstatSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import { createMatcher, type IgnoreMatcher } from "../../lib/pattern/ignore-patterns.ts";

/** Folders inside folders that are looked into. */
const depthMax = 1000;

/**
 * Removes from a folder what patterns exclude: for a context that came whole.
 *
 * A folder goes with all that is in it, unless an exception may keep something of it.
 */
export function clearIgnored(root: string, patterns: readonly string[]): void {
  if (patterns.length === 0) return;
  clear(root, { matcher: createMatcher(patterns), folder: "", depth: 0 });
}

interface Level {
  readonly matcher: IgnoreMatcher;
  /** From the root; "" for it. */
  readonly folder: string;
  readonly depth: number;
}

function clear(root: string, { matcher, folder, depth }: Level): void {
  if (depth > depthMax) return;
  for (const name of readdirSync(join(root, folder))) {
    const path = folder === "" ? name : `${folder}/${name}`;
    const at = join(root, path);
    const isFolder = lstatSync(at).isDirectory();
    const isIgnored = matcher.isIgnored(path);
    if (isFolder ? matcher.isIgnoredWhole(path) : isIgnored) {
      rmSync(at, { recursive: true, force: true });
    } else if (isFolder) {
      clear(root, { matcher, folder: path, depth: depth + 1 });
      if (isIgnored) removeIfEmpty(at);
    }
  }
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOTEMPTY") throw error;
  }
}
