import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { checked } from "../tree/entry-failure.ts";
import { defaultAccessList } from "../tree/layer-xattrs.ts";
import { removeFolderAt, statAt } from "../tree/tree-names.ts";
import * as tree from "../tree/tree-syscalls.ts";
import { split } from "./_layer-path.ts";
import { OpenFolders } from "./_open-folders.ts";

/** A list of access to set at the end, and the entry that it is for. */
interface LateList {
  readonly header: TarHeader;
  readonly value: Uint8Array;
}

/**
 * The files below the root of one layer, by path, and what can only be set when all of them are there.
 *
 * A folder's descriptor stays good until `release`.
 */
export class LayerTree {
  readonly #folders: OpenFolders;
  /** Times of folders: whatever is put into them changes them. */
  readonly #folderTimes = new Map<string, bigint>();
  /** Lists that files made in a folder get: the archive says what its files have. */
  readonly #defaultLists = new Map<string, LateList>();
  readonly #made: Set<string> | undefined;

  /** @param options.remembersMade for `hasMade`, which else is false of all paths */
  constructor(targetDir: string, options: { readonly remembersMade: boolean }) {
    this.#folders = new OpenFolders(targetDir);
    this.#made = options.remembersMade ? new Set() : undefined;
  }

  /** The root, open. */
  get root(): number {
    return this.#folders.root;
  }

  /** The folder `path`, reached as if the root were "/". */
  open(path: string): tree.CallResult {
    return this.#folders.open(path);
  }

  /** Closes what no entry needs any more: between two of them. */
  release(): void {
    this.#folders.release();
  }

  /** What is at a path; a link itself. */
  stat(path: string): ReturnType<typeof statAt> {
    const { folder, name } = split(path);
    const at = this.#folders.open(folder);
    return at < 0 ? undefined : statAt(at, name);
  }

  /** Notes that this layer made a path, and with it the folders above. */
  remember(path: string): void {
    const made = this.#made;
    if (made === undefined) return;
    for (let part = path; part !== "" && !made.has(part); part = split(part).folder) made.add(part);
  }

  /** Whether this layer made the path. */
  hasMade(path: string): boolean {
    return this.#made?.has(path) === true;
  }

  /** Removes the tree at a path; links themselves, not what they lead to. */
  remove(path: string): void {
    const { folder, name } = split(path);
    const at = this.#folders.open(folder);
    if (at < 0) return;
    const present = statAt(at, name);
    if (present === undefined) return;
    // Names of open folders and of folders with times may lead elsewhere from now on.
    const isFolder = present.isDirectory();
    if (isFolder) {
      this.#forgetBelow(path);
      removeFolderAt(at, name);
    } else tree.removeFile(at, name);
    if (isFolder || present.isSymbolicLink()) this.#folders.forget();
  }

  /** Has `finish` set the time of a folder. */
  setTimeLast(path: string, mtimeNs: bigint): void {
    this.#folderTimes.set(path, mtimeNs);
  }

  /** Has `finish` set the list that files made in a folder get. */
  setDefaultListLast(path: string, list: LateList): void {
    this.#defaultLists.set(path, list);
  }

  /** Sets what can only be set last. */
  finish(): void {
    for (const [path, { header, value }] of this.#defaultLists) {
      this.#folders.release();
      const fd = this.#folders.open(path);
      if (fd < 0) continue;
      const done = tree.setXattrAt(fd, "", { name: defaultAccessList, value });
      if (done < 0 && tree.resultCode(done) !== "EOPNOTSUPP") checked(header, done);
    }
    for (const [path, mtimeNs] of this.#folderTimes) {
      this.#folders.release();
      const { folder, name } = split(path);
      const fd = this.#folders.open(folder);
      if (fd < 0) continue;
      tree.setTimesAt(fd, path === "" ? "." : name, mtimeNs);
    }
  }

  /** Closes all; safe to call again. */
  close(): void {
    this.#folders.close();
  }

  #forgetBelow(path: string): void {
    for (const later of [this.#folderTimes, this.#defaultLists]) {
      for (const key of later.keys()) {
        if (key === path || key.startsWith(`${path}/`)) later.delete(key);
      }
    }
  }
}
