import { closeSync, openSync } from "node:fs";
import { openFlags } from "../../sys/libc.ts";
import * as tree from "../tree/tree-syscalls.ts";

/** Folders held open for the entries to come. */
const openFolderCountMax = 400;
/** Folders forgotten when there are that many. */
const forgetFolderCount = 100;

/**
 * The folders below one root, by path, held open while there is room.
 *
 * A descriptor stays good until `release`, also when its folder is forgotten meanwhile.
 */
export class OpenFolders {
  readonly root: number;
  readonly #folders = new Map<string, number>();
  /** Forgotten, but perhaps still in use. */
  #stale: number[] = [];
  #isOpen = true;

  constructor(path: string) {
    const flags = openFlags.path | openFlags.directory | openFlags.closeOnExec;
    this.root = openSync(path, flags);
  }

  /** The folder `path`, reached as if the root were "/". */
  open(path: string): tree.CallResult {
    if (path === "") return this.root;
    const open = this.#folders.get(path);
    if (open !== undefined) return open;
    const fd = tree.openFolderInRoot(this.root, path);
    if (fd < 0) return fd;
    if (this.#folders.size >= openFolderCountMax) this.#forgetOldest();
    this.#folders.set(path, fd);
    return fd;
  }

  /** Forgets all but the root: names may lead elsewhere from now on. */
  forget(): void {
    this.#stale.push(...this.#folders.values());
    this.#folders.clear();
  }

  /** Closes what was forgotten. */
  release(): void {
    if (this.#stale.length === 0) return;
    for (const fd of this.#stale) tree.closeFd(fd);
    this.#stale = [];
  }

  /** Closes all; safe to call again. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.forget();
    this.release();
    closeSync(this.root);
  }

  #forgetOldest(): void {
    let left = forgetFolderCount;
    for (const [path, fd] of this.#folders) {
      if (left === 0) return;
      left -= 1;
      this.#stale.push(fd);
      this.#folders.delete(path);
    }
  }
}
