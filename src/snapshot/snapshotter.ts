/**
 * File systems made of layers.
 *
 * Terms: a *committed* snapshot has a name (a layer stack's chain ID) and never changes; an *active*
 * one has a key (a container's ID, or an unpack in progress) and is written to; a *view* has a key
 * and is only read. Names and keys share one space.
 *
 * 1. `prepare(key, {parent})` makes an active snapshot over a committed one (or over nothing).
 * 2. Somebody mounts `mounts(key)` and writes.
 * 3. `commit(key, {name})` turns the active snapshot into a committed one, or `remove(key)` drops it.
 *
 * A snapshot that is the parent of another cannot be removed (`conflict`). What a crash leaves of a
 * half-made one is garbage: the records in metadata say what exists, `sweep` removes the rest.
 * Nothing is mounted here: the shim and the unpack helper mount what `mounts` returns.
 */

/** A file system to mount, or a directory to bind (type `bind`). */
export interface SnapshotMount {
  /** `overlay` or `bind`. */
  readonly type: "overlay" | "bind";
  /** `bind`: the directory. */
  readonly source?: string;
  /** `overlay`: the layers' directories, uppermost first, without `upperDir`. */
  readonly lowerDirs?: readonly string[];
  readonly upperDir?: string;
  readonly workDir?: string;
  readonly isReadOnly: boolean;
}

/** Where the files of a snapshot lie: what `openDiff` and `DiffHasher.hash` read. */
export interface SnapshotLayers {
  /** `overlay`: each directory holds changes to those below. `copy`: each holds a whole tree. */
  readonly kind: "overlay" | "copy";
  /** Of the snapshot itself. */
  readonly dir: string;
  /** Of its parents, uppermost first. */
  readonly parentDirs: readonly string[];
}

/** What is known of a snapshot. */
export interface SnapshotInfo {
  readonly key: string;
  readonly kind: "active" | "committed" | "view";
  /** Name of the committed snapshot below. */
  readonly parent?: string;
  /** Nanoseconds since 1970, as decimal digits. */
  readonly createdNs: string;
  /** Bytes of this layer alone; of committed snapshots only. */
  readonly sizeBytes?: number;
}

/** How `prepare` makes a snapshot. */
export interface PrepareOptions {
  /** Name of the committed snapshot to stand on. */
  readonly parent?: string;
  /** It will be committed, and may hold thousands of files: its directory gets a part of the disk of
   * its own, which costs up to a millisecond and saves much more. Not for containers. */
  readonly forLayer?: boolean;
}

/** How `commit` makes a snapshot a layer. */
export interface CommitOptions {
  readonly name: string;
  readonly sizeBytes?: number;
  readonly durable?: boolean;
  /** Puts a snapshot that was prepared on nothing onto a committed one. */
  readonly onto?: {
    readonly parent: string;
    /** Its root folder is to look as the parent's does. */
    readonly takesRoot: boolean;
  };
}

/** One way of keeping layered file systems. Closed before its metadata. */
export interface Snapshotter extends AsyncDisposable {
  /** As `docker info` prints it: `overlay2` or `vfs`. */
  readonly driverName: string;
  /** @throws already-exists, not-found (the parent) */
  prepare(key: string, options?: PrepareOptions): Promise<SnapshotMount>;
  view(key: string, options?: { readonly parent?: string }): Promise<SnapshotMount>;
  /** @throws not-found */
  mounts(key: string): SnapshotMount;
  /** Directories to read the files of any snapshot from, also while it is written to.
   * @throws not-found */
  layersOf(key: string): SnapshotLayers;
  /** Makes the active snapshot `key` the committed snapshot `name`; durable when it returns, unless
   * `durable: false`: then the caller syncs, and writes a record that is durable, before it
   * acknowledges. @throws already-exists */
  commit(key: string, options: CommitOptions): Promise<void>;
  /** Whether `commit` takes `onto`: what a snapshot holds does not depend on its parent. */
  readonly stacksLate: boolean;
  find(key: string): SnapshotInfo | undefined;
  list(): readonly SnapshotInfo[];
  /** Bytes and files that `key` itself holds (an active one is measured now). */
  usage(key: string): Promise<{ readonly sizeBytes: number; readonly inodeCount: number }>;
  /** Directories of the layer itself and of its parents, uppermost first: for `GraphDriver.Data`. */
  describe(key: string): Readonly<Record<string, string>>;
  /** Tells whether there was one. The directory goes in background. @throws conflict when others
   * stand on it */
  remove(key: string): Promise<boolean>;
  /** Removes several at once, each before what it stands on. @throws conflict, and removes none, when
   * others stand on one */
  removeAll(keys: readonly string[]): Promise<void>;
  /** Has directories that no record knows removed in background; tells how many there were. */
  sweep(): Promise<number>;
  /** Resolves when nothing is left to remove in background. `await using` does not wait for it:
   * what remains then is for the next sweep. */
  idle(): Promise<void>;
}
