import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Metadata } from "../metadata/metadata.ts";
import { mountOverlay, unmount } from "../sys/mount/mount.ts";
import { openCopySnapshotter } from "./copy-snapshotter.ts";
import { openOverlaySnapshotter } from "./overlay-snapshotter.ts";
import type { Snapshotter } from "./snapshotter.ts";

/** Names of drivers, as Docker calls them. */
export const snapshotDriverNames: readonly ["overlay2", "vfs"] = ["overlay2", "vfs"];
/** One of `snapshotDriverNames`. */
export type SnapshotDriverName = (typeof snapshotDriverNames)[number];

/** What `openSnapshotter` needs. */
export interface SnapshotterChoice {
  /** The data root; snapshots lie in `snapshots` or, with vfs, in `snapshots-vfs`. */
  readonly dataRoot: string;
  readonly metadata: Metadata;
  readonly logger: Logger;
  /** Which driver it must be; without, overlay2 where it works and vfs elsewhere. */
  readonly driver?: SnapshotDriverName;
}

/**
 * Opens the snapshots of a data root with the driver asked for, or the best that works here.
 *
 * @throws invalid-argument when overlay2 is asked for and does not work, with the reason
 */
export function openSnapshotter(choice: SnapshotterChoice): Snapshotter {
  const { dataRoot, metadata, logger, driver } = choice;
  const openCopies = (): Snapshotter =>
    openCopySnapshotter({ root: join(dataRoot, "snapshots-vfs"), metadata, logger });
  if (driver === "vfs") return openCopies();
  const obstacle = findOverlayObstacle(dataRoot);
  if (obstacle === undefined) {
    return openOverlaySnapshotter({ root: join(dataRoot, "snapshots"), metadata, logger });
  }
  if (driver === "overlay2") {
    throw new EngineError("invalid-argument", `use storage driver overlay2: ${obstacle}`);
  }
  logger.warn("overlay2 does not work here, every snapshot is a whole copy", { reason: obstacle });
  return openCopies();
}

/** Mounts a small overlay below `root` and takes it away; tells why that does not work. */
export function findOverlayObstacle(root: string): string | undefined {
  mkdirSync(root, { recursive: true, mode: 0o710 });
  const trial = mkdtempSync(join(root, ".overlay-trial-"));
  const at = (name: string): string => join(trial, name);
  try {
    for (const name of ["lower", "lower2", "upper", "work", "merged"]) mkdirSync(at(name));
    writeFileSync(at("lower/file"), "x");
    mountOverlay({
      lowerDirs: [at("lower2"), at("lower")],
      upperDir: at("upper"),
      workDir: at("work"),
      target: at("merged"),
    });
    try {
      // A whiteout must be possible: file systems without devices or rename tricks fail here.
      rmSync(at("merged/file"));
    } finally {
      unmount(at("merged"), { detach: true });
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    rmSync(trial, { recursive: true, force: true });
  }
}
