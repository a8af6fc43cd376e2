import { realpathSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { type MountInfo, readMountInfo } from "../../sys/mount/mount.ts";

const modes: ReadonlySet<string> = new Set([
  "private",
  "rprivate",
  "shared",
  "rshared",
  "slave",
  "rslave",
]);

/**
 * Checks that a bind's source can propagate as asked: shared needs a shared mount below it, slave a
 * shared or slave one.
 *
 * @throws invalid-argument in Docker's words
 */
export function checkPropagation(source: string, mode: string): void {
  if (!modes.has(mode)) throw invalid(`invalid propagation mode: ${mode}`);
  if (mode.endsWith("private")) return;
  const entry = findMount(readMountInfo(), realpathSync(source));
  const isShared = entry?.propagation.some((field) => field.startsWith("shared:")) === true;
  const isSlave = entry?.propagation.some((field) => field.startsWith("master:")) === true;
  if (isShared || (isSlave && mode.endsWith("slave"))) return;
  const needed = mode.endsWith("shared") ? "shared" : "shared or slave";
  throw invalid(
    `path ${source} is mounted on ${entry?.target ?? "/"} but it is not a ${needed} mount`,
  );
}

/** The mount that holds a path: the longest target above it, the last of equals. */
export function findMount(
  entries: readonly Pick<MountInfo, "target" | "propagation">[],
  path: string,
): Pick<MountInfo, "target" | "propagation"> | undefined {
  let found: Pick<MountInfo, "target" | "propagation"> | undefined;
  for (const entry of entries) {
    const isAbove =
      entry.target === "/" || path === entry.target || path.startsWith(`${entry.target}/`);
    if (isAbove && entry.target.length >= (found?.target.length ?? 0)) found = entry;
  }
  return found;
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
