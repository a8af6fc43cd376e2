import { chmodSync, chownSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  DirectorySnapshotter,
  type DirectorySnapshotterOptions,
  type SnapshotDirectories,
  type SnapshotLayout,
} from "./_directory-snapshotter.ts";
import type { SnapshotMount, Snapshotter } from "./snapshotter.ts";

/**
 * Opens snapshots that are overlay layers: `<root>/<number>/{fs,work}`.
 *
 * `prepare` costs three directories and one record. Nothing is mounted here.
 */
export function openOverlaySnapshotter(options: DirectorySnapshotterOptions): Snapshotter {
  return new DirectorySnapshotter(overlayLayout, options);
}

const overlayLayout: SnapshotLayout = {
  driverName: "overlay2",
  tableName: "snapshot",
  layerKind: "overlay",

  async make({ own, parents, kind }, makeFolder): Promise<void> {
    await makeFolder(layer(own), 0o755);
    if (kind === "active") await makeFolder(join(own, "work"), 0o700);
    takeRoot({ own, parents });
  },

  takeRoot,

  leftover({ own }: SnapshotDirectories): string {
    return join(own, "work");
  },

  mount({ own, parents, kind }: SnapshotDirectories): SnapshotMount {
    if (kind !== "active") {
      const lowerDirs = (kind === "view" && parents.length > 0 ? parents : [own, ...parents]).map(
        layer,
      );
      const [only, ...others] = lowerDirs;
      if (only !== undefined && others.length === 0) {
        return { type: "bind", source: only, isReadOnly: true };
      }
      return { type: "overlay", lowerDirs, isReadOnly: true };
    }
    if (parents.length === 0) return { type: "bind", source: layer(own), isReadOnly: false };
    return {
      type: "overlay",
      lowerDirs: parents.map(layer),
      upperDir: layer(own),
      workDir: join(own, "work"),
      isReadOnly: false,
    };
  },

  describe({ own, parents }: SnapshotDirectories): Readonly<Record<string, string>> {
    return {
      ...(parents.length === 0 ? {} : { LowerDir: parents.map(layer).join(":") }),
      MergedDir: join(own, "merged"),
      UpperDir: layer(own),
      WorkDir: join(own, "work"),
    };
  },
};

/** The root of an overlay looks as its uppermost layer's: it must look as the parent's did. */
function takeRoot({ own, parents }: Pick<SnapshotDirectories, "own" | "parents">): void {
  const [parent] = parents;
  if (parent === undefined) return;
  const { uid, gid, mode } = statSync(layer(parent));
  if (uid !== 0 || gid !== 0) chownSync(layer(own), uid, gid);
  if ((mode & 0o7777) !== 0o755) chmodSync(layer(own), mode & 0o7777);
}

function layer(directory: string): string {
  return join(directory, "fs");
}
