import { codeOf } from "../../lib/errors.ts";
import { decodeByteString } from "../../lib/tar/tar-header.ts";
import type { Change } from "./diff.ts";
import type { LayerTarWriter, TreeEntry } from "./_layer-tar-writer.ts";

/** Told what a walk finds; paths come in the order of an archive, a folder before what is in it. */
export interface DiffVisitor {
  /**
   * A folder; all until `leave` is in it.
   *
   * @param change `same`: only worth telling when something in it is
   */
  enter(entry: TreeEntry, change: "added" | "modified" | "same"): void;
  leave(): void;
  file(entry: TreeEntry, change: "added" | "modified"): void;
  removed(path: string): void;
  /** The folder entered last hides what the layers below have there. */
  opaque(path: string): void;
}

interface PendingFolder {
  readonly entry: TreeEntry;
  isTold: boolean;
}

/** Writes what is found as a layer's archive. */
export class TarVisitor implements DiffVisitor {
  readonly #writer: LayerTarWriter;
  readonly #folders: PendingFolder[] = [];

  constructor(writer: LayerTarWriter) {
    this.#writer = writer;
  }

  enter(entry: TreeEntry, change: "added" | "modified" | "same"): void {
    // The root is there in any case: what is in it is no reason to tell it.
    this.#folders.push({ entry, isTold: entry.path === "" && change === "same" });
    if (change !== "same") this.#tellFolders();
  }

  leave(): void {
    this.#folders.pop();
  }

  file(entry: TreeEntry): void {
    this.#tellFolders();
    try {
      this.#writer.entry(entry);
    } catch (error) {
      // A tree in use: it went between two looks.
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }

  removed(path: string): void {
    this.#tellFolders();
    this.#writer.whiteout(path);
  }

  opaque(path: string): void {
    this.#tellFolders();
    this.#writer.opaque(path);
  }

  #tellFolders(): void {
    for (const folder of this.#folders) {
      if (folder.isTold) continue;
      folder.isTold = true;
      this.#writer.entry(folder.entry);
    }
  }
}

/** Lists what is found, as Docker tells changes. */
export class ListVisitor implements DiffVisitor {
  readonly #tell: (change: Change) => void;
  readonly #folders: { readonly path: string; isTold: boolean; readonly kind: Change["kind"] }[] =
    [];

  constructor(tell: (change: Change) => void) {
    this.#tell = tell;
  }

  enter({ path }: TreeEntry, change: "added" | "modified" | "same"): void {
    // The root always is there, and never told.
    const kind = change === "added" ? "added" : "modified";
    this.#folders.push({ path, isTold: path === "", kind });
    if (change !== "same") this.#tellFolders();
  }

  leave(): void {
    this.#folders.pop();
  }

  file({ path }: TreeEntry, change: "added" | "modified"): void {
    this.#tellFolders();
    this.#tell({ kind: change, path: shown(path) });
  }

  removed(path: string): void {
    this.#tellFolders();
    this.#tell({ kind: "removed", path: shown(path) });
  }

  opaque(): void {
    // What it hides is told name by name.
  }

  #tellFolders(): void {
    for (const folder of this.#folders) {
      if (folder.isTold) continue;
      folder.isTold = true;
      this.#tell({ kind: folder.kind, path: shown(folder.path) });
    }
  }
}

function shown(path: string): string {
  return `/${decodeByteString(path)}`;
}
