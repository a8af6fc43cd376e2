import { join } from "node:path";
import { copyTree } from "../sys/fs/fs.ts";
import {
  DirectorySnapshotter,
  type DirectorySnapshotterOptions,
  type SnapshotDirectories,
  type SnapshotLayout,
} from "./_directory-snapshotter.ts";
import type { SnapshotMount, Snapshotter } from "./snapshotter.ts";

/** Opens snapshots that are whole copies, `<root>/<number>/fs`: slow and large, but for any disk. */
export function openCopySnapshotter(options: DirectorySnapshotterOptions): Snapshotter {
  return new DirectorySnapshotter(copyLayout, options);
}

const copyLayout: SnapshotLayout = {
  driverName: "vfs",
  tableName: "snapshot-vfs",
  layerKind: "copy",

  async make({ own, parents, kind }, makeFolder): Promise<void> {
    const [parent] = parents;
    await makeFolder(whole(own), 0o755);
    if (parent !== undefined && kind === "active") await copyTree(whole(parent), whole(own));
  },

  leftover(): undefined {
    // A committed copy is the active one as it stands.
  },

  mount({ own, parents, kind }: SnapshotDirectories): SnapshotMount {
    const [parent] = parents;
    const source = whole(kind === "view" && parent !== undefined ? parent : own);
    return { type: "bind", source, isReadOnly: kind !== "active" };
  },

  describe({ own }: SnapshotDirectories): Readonly<Record<string, string>> {
    // Docker: vfs tells nothing in GraphDriver.Data; the directory helps whoever looks.
    return { Dir: whole(own) };
  },
};

function whole(directory: string): string {
  return join(directory, "fs");
}
