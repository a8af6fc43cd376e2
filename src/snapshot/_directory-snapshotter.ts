import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, EngineError } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import type { Logger } from "../lib/log.ts";
import type { Metadata, Table } from "../metadata/metadata.ts";
import { makeSpreadFolder, syncFileSystemAsync } from "../sys/fs/fs.ts";
import { hasRoom, Removals } from "./_removals.ts";
import { measureTree } from "./_tree-usage.ts";
import type {
  CommitOptions,
  PrepareOptions,
  SnapshotInfo,
  SnapshotLayers,
  SnapshotMount,
  Snapshotter,
} from "./snapshotter.ts";

/** What a snapshotter that keeps directories needs. */
export interface DirectorySnapshotterOptions {
  /** Holds one directory a snapshot, named by a small number. */
  readonly root: string;
  readonly metadata: Metadata;
  readonly logger: Logger;
}

/** A snapshot and its parents, as directories. */
export interface SnapshotDirectories {
  /** Directory of the snapshot itself. */
  readonly own: string;
  /** Directories of its parents, nearest first. */
  readonly parents: readonly string[];
  readonly kind: SnapshotInfo["kind"];
}

/**
 * Makes a folder with a mode: for a container at once, since that costs the least; for a layer off the
 * loop, since a part of the disk that is new to the kernel may cost it tens of milliseconds.
 */
export type MakeFolder = (path: string, mode: number) => Promise<unknown> | undefined;

/** How a driver lays snapshots out. */
export interface SnapshotLayout {
  readonly driverName: string;
  /** Name of the table of records. */
  readonly tableName: string;
  /** What the `fs` of a snapshot's directory holds. */
  readonly layerKind: SnapshotLayers["kind"];
  /** Fills the new, empty directory `own`; by `makeFolder`. */
  make(directories: SnapshotDirectories, makeFolder: MakeFolder): Promise<void>;
  /** Makes the root folder look as the parent's; absent where a snapshot needs its parent from the
   * start. */
  takeRoot?(directories: SnapshotDirectories): void;
  /** What of `own` a committed snapshot does not need. */
  leftover(directories: SnapshotDirectories): string | undefined;
  mount(directories: SnapshotDirectories): SnapshotMount;
  describe(directories: SnapshotDirectories): Readonly<Record<string, string>>;
}

interface SnapshotRecord {
  readonly kind: SnapshotInfo["kind"];
  /** Name of its directory. */
  readonly number: number;
  readonly parent?: string;
  readonly createdNs: string;
  readonly sizeBytes?: number;
}

/** Records, numbers and removal: what every driver that keeps directories shares. */
export class DirectorySnapshotter implements Snapshotter {
  readonly #root: string;
  /** Where the directories of layers are made, each in a part of the disk of its own. */
  readonly #nursery: string;
  readonly #layout: SnapshotLayout;
  readonly #metadata: Metadata;
  readonly #table: Table<SnapshotRecord>;
  readonly #childCounts = new Map<string, number>();
  /** Keys that are being made. */
  readonly #making = new Map<string, number>();
  /** Keys of layers that are being filled. */
  readonly #filling = new Set<string>();
  readonly #removals: Removals;
  #lastNumber: number;

  constructor(layout: SnapshotLayout, options: DirectorySnapshotterOptions) {
    this.#layout = layout;
    this.#root = options.root;
    this.#metadata = options.metadata;
    this.#table = options.metadata.table({ name: layout.tableName, decode: decodeRecord });
    this.#removals = new Removals({
      logger: options.logger,
      path: (number) => this.#path(number),
      isInTheWay: () => this.#filling.size > 0,
      hasRoom: () => hasRoom(this.#root),
    });
    this.#nursery = join(this.#root, "new");
    removeNow(this.#nursery);
    makeSpreadFolder(this.#nursery);
    const numbers = this.#numbersOnDisk();
    for (const [, record] of this.#table.list()) {
      numbers.push(record.number);
      this.#countChild(record.parent, 1);
    }
    this.#lastNumber = numbers.reduce((left, right) => Math.max(left, right), 0);
  }

  get driverName(): string {
    return this.#layout.driverName;
  }

  get stacksLate(): boolean {
    return this.#layout.takeRoot !== undefined;
  }

  async prepare(key: string, options: PrepareOptions = {}): Promise<SnapshotMount> {
    return this.#make(key, { ...options, kind: "active" });
  }

  async view(key: string, options: { readonly parent?: string } = {}): Promise<SnapshotMount> {
    return this.#make(key, { ...options, kind: "view" });
  }

  async #make(
    key: string,
    options: PrepareOptions & { readonly kind: "active" | "view" },
  ): Promise<SnapshotMount> {
    const { parent, kind, forLayer = false } = options;
    if (this.#table.find(key) !== undefined || this.#making.has(key)) throw exists(key);
    if (parent !== undefined) this.#committed(parent, `prepare snapshot ${quote(key)}`);
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const own = this.#path(number);
    this.#making.set(key, number);
    // Held from now on: the parent must not go while the directory is filled.
    this.#countChild(parent, 1);
    const born = forLayer ? join(this.#nursery, createId()) : own;
    try {
      const makeFolder = forLayer ? makeLater : makeNow;
      await makeFolder(born, 0o700);
      const record: SnapshotRecord = {
        kind,
        number,
        createdNs: nowNs(),
        ...(parent === undefined ? {} : { parent }),
      };
      const directories = this.#directories(record);
      await this.#layout.make({ ...directories, own: born }, makeFolder);
      if (born !== own) await rename(born, own);
      // A directory without a record is swept: who acknowledges the snapshot has more to write.
      this.#table.put(key, record, { durable: false });
      if (forLayer) this.#filling.add(key);
      return this.#layout.mount(directories);
    } catch (error) {
      this.#countChild(parent, -1);
      this.#removals.add(number);
      if (born !== own) this.#removals.drop(born);
      throw error;
    } finally {
      this.#making.delete(key);
    }
  }

  mounts(key: string): SnapshotMount {
    return this.#layout.mount(this.#directories(this.#get(key)));
  }

  layersOf(key: string): SnapshotLayers {
    const { own, parents } = this.#directories(this.#get(key));
    return {
      kind: this.#layout.layerKind,
      dir: join(own, "fs"),
      parentDirs: parents.map((parent) => join(parent, "fs")),
    };
  }

  describe(key: string): Readonly<Record<string, string>> {
    return this.#layout.describe(this.#directories(this.#get(key)));
  }

  async commit(key: string, options: CommitOptions): Promise<void> {
    const { name, onto } = options;
    const loose = this.#get(key);
    if (loose.kind !== "active") {
      throw new EngineError("conflict", `commit snapshot ${quote(key)}: it is ${loose.kind}`);
    }
    if (this.#table.find(name) !== undefined) throw exists(name);
    const before = onto === undefined ? loose : this.#stacked(key, loose, onto);
    const directories = this.#directories(before);
    const sizeBytes =
      options.sizeBytes ?? (await measureTree(join(directories.own, "fs"))).sizeBytes;
    if (options.durable !== false) await syncFileSystemAsync(directories.own);
    // Both may have changed while this waited.
    if (this.#get(key).number !== before.number) throw missing(key);
    if (this.#table.find(name) !== undefined) throw exists(name);
    if (onto !== undefined) this.#committed(onto.parent, `commit snapshot ${quote(key)}`);
    const store = (): void => {
      this.#table.remove(key);
      this.#table.put(name, { ...before, kind: "committed", sizeBytes });
    };
    this.#metadata.transaction(store, { durable: false });
    this.#filling.delete(key);
    const leftover = this.#layout.leftover(directories);
    if (leftover !== undefined) this.#removals.drop(leftover);
    if (onto !== undefined) this.#countChild(onto.parent, 1);
    if (options.durable !== false) await this.#metadata.flush();
  }

  /** The record of a snapshot on a parent that it had not. */
  #stacked(
    key: string,
    loose: SnapshotRecord,
    { parent, takesRoot }: NonNullable<CommitOptions["onto"]>,
  ): SnapshotRecord {
    const what = `commit snapshot ${quote(key)}`;
    if (loose.parent !== undefined || this.#layout.takeRoot === undefined) {
      throw new EngineError("conflict", `${what}: it cannot be put onto another`);
    }
    this.#committed(parent, what);
    const stacked = { ...loose, parent };
    if (takesRoot) this.#layout.takeRoot(this.#directories(stacked));
    return stacked;
  }

  find(key: string): SnapshotInfo | undefined {
    const record = this.#table.find(key);
    return record === undefined ? undefined : infoOf(key, record);
  }

  list(): readonly SnapshotInfo[] {
    return this.#table.list().map(([key, record]) => infoOf(key, record));
  }

  async usage(key: string): Promise<{ readonly sizeBytes: number; readonly inodeCount: number }> {
    return measureTree(join(this.#path(this.#get(key).number), "fs"));
  }

  async remove(key: string): Promise<boolean> {
    const isHere = this.#table.find(key) !== undefined;
    if (isHere) await this.removeAll([key]);
    return isHere;
  }

  async removeAll(keys: readonly string[]): Promise<void> {
    const going = this.#standingOnNone(keys);
    // The records first: a directory without one is garbage, a record without its directory a lie.
    const forget = (): void => {
      for (const key of going.keys()) this.#table.remove(key);
    };
    await this.#metadata.commit(forget);
    for (const [key, { parent, number }] of going) {
      this.#filling.delete(key);
      this.#countChild(parent, -1);
      this.#removals.add(number);
    }
  }

  /** The records of what is there. @throws conflict when anything but those before stands on one */
  #standingOnNone(keys: readonly string[]): ReadonlyMap<string, SnapshotRecord> {
    const going = new Map<string, SnapshotRecord>();
    const goneChildren = new Map<string, number>();
    for (const key of keys) {
      const record = this.#table.find(key);
      if (record === undefined || going.has(key)) continue;
      if ((this.#childCounts.get(key) ?? 0) > (goneChildren.get(key) ?? 0)) {
        throw new EngineError(
          "conflict",
          `remove snapshot ${quote(key)}: other snapshots stand on it`,
        );
      }
      going.set(key, record);
      const { parent } = record;
      if (parent !== undefined) goneChildren.set(parent, (goneChildren.get(parent) ?? 0) + 1);
    }
    return going;
  }

  async sweep(): Promise<number> {
    const known = new Set([...this.#making.values(), ...this.#removals.numbers]);
    for (const [, record] of this.#table.list()) known.add(record.number);
    const garbage = this.#numbersOnDisk().filter((number) => !known.has(number));
    for (const number of garbage) this.#removals.add(number);
    return garbage.length;
  }

  async idle(): Promise<void> {
    await this.#removals.idle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#removals[Symbol.asyncDispose]();
  }

  #get(key: string): SnapshotRecord {
    const record = this.#table.find(key);
    if (record === undefined) throw missing(key);
    return record;
  }

  #committed(name: string, what: string): SnapshotRecord {
    const record = this.#table.find(name);
    if (record === undefined) {
      throw new EngineError("not-found", `${what}: parent ${quote(name)} does not exist`);
    }
    if (record.kind === "committed") return record;
    throw new EngineError("invalid-argument", `${what}: parent ${quote(name)} is ${record.kind}`);
  }

  #directories(record: SnapshotRecord): SnapshotDirectories {
    const parents: string[] = [];
    for (let name = record.parent; name !== undefined; ) {
      const parent = this.#committed(name, `stack snapshot ${record.number}`);
      parents.push(this.#path(parent.number));
      name = parent.parent;
    }
    return { own: this.#path(record.number), parents, kind: record.kind };
  }

  #path(number: number): string {
    return join(this.#root, String(number));
  }

  #countChild(parent: string | undefined, change: 1 | -1): void {
    if (parent === undefined) return;
    const count = (this.#childCounts.get(parent) ?? 0) + change;
    if (count === 0) this.#childCounts.delete(parent);
    else this.#childCounts.set(parent, count);
  }

  #numbersOnDisk(): number[] {
    return readdirSync(this.#root)
      .filter((name) => /^[1-9]\d{0,14}$/.test(name))
      .map(Number);
  }
}

function makeNow(path: string, mode: number): undefined {
  mkdirSync(path, { mode });
}

async function makeLater(path: string, mode: number): Promise<void> {
  await mkdir(path, { mode });
}

/** Removes a directory tree now; a missing one is no failure. For small trees. */
function removeNow(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

function infoOf(key: string, record: SnapshotRecord): SnapshotInfo {
  const { number: _number, ...info } = record;
  return { key, ...info };
}

function decodeRecord(document: unknown): SnapshotRecord {
  const fields = Object(document) as Partial<Record<keyof SnapshotRecord, unknown>>;
  const { kind, number, parent, createdNs, sizeBytes } = fields;
  const isKind = kind === "active" || kind === "committed" || kind === "view";
  if (!isKind || typeof number !== "number" || !Number.isSafeInteger(number) || number < 1) {
    throw new EngineError("data-loss", "read snapshot: kind or number is wrong");
  }
  if (typeof createdNs !== "string" || !/^\d+$/.test(createdNs)) {
    throw new EngineError("data-loss", "read snapshot: createdNs is wrong");
  }
  return {
    kind,
    number,
    createdNs,
    ...(typeof parent === "string" ? { parent } : {}),
    ...(typeof sizeBytes === "number" ? { sizeBytes } : {}),
  };
}

function nowNs(): string {
  return String(BigInt(Date.now()) * 1_000_000n);
}

function exists(key: string): EngineError {
  return new EngineError("already-exists", `snapshot ${quote(key)} exists already`);
}

function missing(key: string): EngineError {
  return new EngineError("not-found", `snapshot ${quote(key)} does not exist`);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
