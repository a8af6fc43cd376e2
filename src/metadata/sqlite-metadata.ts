import { existsSync, renameSync, rmSync } from "node:fs";
import { EngineError, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { CachedTable, type TableChange } from "./_cached-table.ts";
import { type Change, isDamage, isFull, type Row, RecordDatabase } from "./_database.ts";
import type { DiskReserve } from "./disk-reserve.ts";
import { GroupCommit } from "./_group-commit.ts";
import type { Metadata, Table, TableDefinition } from "./metadata.ts";

/** What `openMetadata` needs. */
export interface MetadataOptions {
  /** The database file; `<path>-wal`, `<path>.backup` and `<path>.damaged-*` lie beside it. */
  readonly path: string;
  readonly logger: Logger;
  /** Given up when the disk is full and a record is changed or removed. */
  readonly reserve?: DiskReserve;
}

/**
 * Opens the database of a data root.
 *
 * Every record is read once, here, and kept: `find` and `list` never touch the disk. A file that
 * SQLite cannot read through is moved to `<path>.damaged-<time>`; what can be read of it, completed
 * from the copy made at the last clean close, goes into a new one.
 *
 * @throws unavailable when another process has it open, conflict when a newer release wrote it
 */
export function openMetadata(options: MetadataOptions): Metadata {
  return new SqliteMetadata(options);
}

type Documents = Map<string, Map<string, string>>;

class SqliteMetadata implements Metadata {
  readonly #options: MetadataOptions;
  readonly #damages: string[] = [];
  readonly #tables = new Map<string, CachedTable<unknown>>();
  /** Records of kinds whose table nobody has asked for yet. */
  readonly #unread: Documents = new Map();
  /** Changes of the transaction that runs; undefined outside of one. */
  #pending: PendingChanges | undefined;
  readonly #commits = new GroupCommit(async () => await this.#sync());
  #database: RecordDatabase;
  #isDirty = false;
  #isClosed = false;

  constructor(options: MetadataOptions) {
    this.#options = options;
    const { database, rows } = this.#open();
    this.#database = database;
    for (const { kind, key, document } of rows) documentsOf(this.#unread, kind).set(key, document);
    if (!existsSync(this.#backupPath)) this.#backup();
  }

  get damages(): readonly string[] {
    return this.#damages;
  }

  table<T>(definition: TableDefinition<T>): Table<T> {
    const { name, decode, durable = true } = definition;
    if (this.#tables.has(name)) {
      throw new EngineError("internal", `open table ${JSON.stringify(name)}: it is open already`);
    }
    const records = this.#decodeAll(name, decode);
    const table = new CachedTable<T>(records, {
      changed: (key, record) => this.#change(name, key, record),
      isDurable: durable,
    });
    this.#tables.set(name, table);
    return table;
  }

  transaction<T>(work: () => T, options: { readonly durable?: boolean } = {}): T {
    const isDurable = options.durable !== false;
    if (this.#pending !== undefined) return this.#nested(this.#pending, { work, isDurable });
    const pending: PendingChanges = { changes: [], isDurable };
    this.#pending = pending;
    let result: T;
    try {
      result = work();
      this.#write(lastOfEach(pending.changes));
    } catch (error) {
      undo(pending.changes, 0);
      throw error;
    } finally {
      this.#pending = undefined;
    }
    // What is written counts, also where the disk then fails.
    if (pending.isDurable && pending.changes.length > 0) this.#syncNow();
    return result;
  }

  async commit<T>(work: () => T): Promise<T> {
    const result = this.transaction(work, { durable: false });
    await this.flush();
    return result;
  }

  async flush(): Promise<void> {
    // Within a transaction: that is written by the time this goes on.
    if (this.#pending !== undefined) await Promise.resolve();
    await this.#commits.flush();
  }

  async #sync(): Promise<void> {
    try {
      await this.#database.syncLater();
    } catch (error) {
      throw notSynced(error);
    }
  }

  #syncNow(): void {
    if (this.#commits.isSynced) return;
    try {
      this.#database.sync();
    } catch (error) {
      throw notSynced(error);
    }
    this.#commits.synced();
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#isDirty) this.#backup();
    this.#database[Symbol.dispose]();
    this.#commits.synced();
  }

  #nested<T>(
    pending: PendingChanges,
    { work, isDurable }: { readonly work: () => T; readonly isDurable: boolean },
  ): T {
    const mark = pending.changes.length;
    try {
      const result = work();
      pending.isDurable ||= isDurable && pending.changes.length > mark;
      return result;
    } catch (error) {
      undo(pending.changes, mark);
      throw error;
    }
  }

  /** Records a change made in memory; `revert` takes it back there. */
  #change(kind: string, key: string, record: TableChange): void {
    const { document, revert, isNew, isDurable } = record;
    if (this.#pending !== undefined) {
      this.#pending.changes.push({ kind, key, ...record });
      return;
    }
    try {
      this.#write([{ kind, key, document, isNew }]);
    } catch (error) {
      revert();
      throw error;
    }
    if (isDurable) this.#syncNow();
  }

  #write(changes: readonly (Change & { readonly isNew: boolean })[]): void {
    if (changes.length === 0) return;
    if (this.#isClosed) {
      throw new EngineError("unavailable", "write to the database: it is closed");
    }
    this.#isDirty = true;
    try {
      this.#database.write(changes);
      this.#commits.wrote();
      this.#options.reserve?.restore();
    } catch (error) {
      this.#rescue(error, changes);
    }
  }

  /** Writes again after what hindered it has been dealt with: no space, or a damaged file. */
  #rescue(error: unknown, changes: readonly (Change & { readonly isNew: boolean })[]): void {
    if (isDamage(error)) {
      // Memory has every record, these changes included.
      this.#rebuild(messageOf(error));
      return;
    }
    if (!isFull(error)) {
      throw new EngineError("internal", `write to the database: ${messageOf(error)}`, {
        cause: error,
      });
    }
    // The reserve is for what is there already: nothing new is made from it.
    const isCreation = changes.some((change) => change.isNew);
    if (isCreation || this.#options.reserve?.release() !== true) throw noSpace(error);
    try {
      this.#database.write(changes);
      this.#commits.wrote();
    } catch (again) {
      throw noSpace(again);
    }
  }

  #decodeAll<T>(kind: string, decode: (document: unknown) => T): Map<string, T> {
    const records = new Map<string, T>();
    const bad: (Row & { reason: string })[] = [];
    for (const [key, document] of this.#unread.get(kind) ?? []) {
      try {
        records.set(key, decode(JSON.parse(document)));
      } catch (error) {
        bad.push({ kind, key, document, reason: messageOf(error) });
      }
    }
    this.#unread.delete(kind);
    if (bad.length === 0) return records;
    for (const { key, reason } of bad) {
      this.#tellDamage(`record ${JSON.stringify(key)} of table ${kind} is quarantined: ${reason}`);
    }
    try {
      this.#database.quarantine(bad);
    } catch (error) {
      this.#tellDamage(`quarantine of table ${kind} could not be written: ${messageOf(error)}`);
    }
    return records;
  }

  #open(): { database: RecordDatabase; rows: readonly Row[] } {
    const { path } = this.#options;
    let database: RecordDatabase;
    try {
      database = this.#openFile();
    } catch (error) {
      if (!isDamage(error)) throw error;
      return this.#replace([], messageOf(error));
    }
    const { rows, failure } = database.readAll();
    if (failure === undefined) return { database, rows };
    const salvaged = database.salvage();
    try {
      database[Symbol.dispose]();
    } catch (error) {
      this.#options.logger.warn("close damaged database", { path, error });
    }
    return this.#replace(salvaged, messageOf(failure));
  }

  /** Opens the file; a full disk is answered with the reserve. */
  #openFile(): RecordDatabase {
    const { path, reserve } = this.#options;
    try {
      return RecordDatabase.open(path);
    } catch (error) {
      if (!isFull(error) || reserve?.release() !== true) throw error;
      return RecordDatabase.open(path);
    }
  }

  /** Moves the damaged file aside and makes a new one of `rows` and of the last copy. */
  #replace(
    salvaged: readonly Row[],
    reason: string,
  ): { database: RecordDatabase; rows: readonly Row[] } {
    const aside = this.#moveAside();
    const known = new Set(salvaged.map(({ kind, key }) => `${kind}\0${key}`));
    const older = this.#readBackup().filter(({ kind, key }) => !known.has(`${kind}\0${key}`));
    const rows = [...salvaged, ...older];
    const database = RecordDatabase.open(this.#options.path);
    database.write(rows);
    if (rows.length > 0) database.sync();
    this.#tellDamage(
      `database was damaged (${reason}) and is kept as ${JSON.stringify(aside)}: ` +
        `${salvaged.length} records read from it, ${older.length} taken from the last copy`,
    );
    return { database, rows };
  }

  /** Makes the file anew from memory. */
  #rebuild(reason: string): void {
    try {
      this.#database[Symbol.dispose]();
    } catch (error) {
      this.#options.logger.warn("close damaged database", { error });
    }
    const aside = this.#moveAside();
    this.#database = RecordDatabase.open(this.#options.path);
    const changes: Change[] = [];
    for (const [kind, documents] of this.#unread) {
      for (const [key, document] of documents) changes.push({ kind, key, document });
    }
    for (const [kind, table] of this.#tables) {
      for (const [key, record] of table.list()) {
        changes.push({ kind, key, document: JSON.stringify(record) });
      }
    }
    this.#database.write(changes);
    this.#commits.wrote();
    this.#syncNow();
    this.#tellDamage(
      `database was damaged (${reason}) and is kept as ${JSON.stringify(aside)}: ` +
        `all ${changes.length} records written anew from memory`,
    );
  }

  #moveAside(): string {
    const { path } = this.#options;
    const time = new Date().toISOString().replaceAll(":", "-");
    let aside = `${path}.damaged-${time}`;
    for (let count = 2; existsSync(aside); count += 1) aside = `${path}.damaged-${time}-${count}`;
    renameSync(path, aside);
    if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${aside}-wal`);
    rmSync(`${path}-shm`, { force: true });
    return aside;
  }

  get #backupPath(): string {
    return `${this.#options.path}.backup`;
  }

  /** Replaces the copy; one that cannot be made is only told to the log. */
  #backup(): void {
    const temporary = `${this.#backupPath}.tmp`;
    try {
      rmSync(temporary, { force: true });
      this.#database.copyTo(temporary);
      renameSync(temporary, this.#backupPath);
    } catch (error) {
      rmSync(temporary, { force: true });
      this.#options.logger.warn("copy of the database could not be made", { error });
    }
  }

  #readBackup(): readonly Row[] {
    if (!existsSync(this.#backupPath)) return [];
    try {
      using database = RecordDatabase.open(this.#backupPath);
      return database.salvage();
    } catch (error) {
      this.#options.logger.warn("copy of the database could not be read", { error });
      return [];
    }
  }

  #tellDamage(sentence: string): void {
    this.#damages.push(sentence);
    this.#options.logger.error(sentence);
  }
}

interface PendingChange extends TableChange {
  readonly kind: string;
  readonly key: string;
}

interface PendingChanges {
  /** Oldest first. */
  readonly changes: PendingChange[];
  /** Whether all of them together must be on the disk before they count. */
  isDurable: boolean;
}

function documentsOf(documents: Documents, kind: string): Map<string, string> {
  const found = documents.get(kind) ?? new Map<string, string>();
  documents.set(kind, found);
  return found;
}

/** Takes changes back in memory, newest first, down to `mark`. */
function undo(pending: PendingChange[], mark: number): void {
  for (const change of pending.splice(mark).reverse()) change.revert();
}

/** Each record's last change; new when its first change made it. */
function lastOfEach(pending: readonly PendingChange[]): readonly PendingChange[] {
  const last = new Map<string, PendingChange>();
  for (const change of pending) {
    const id = `${change.kind}\0${change.key}`;
    const isNew = last.get(id)?.isNew ?? change.isNew;
    last.set(id, { ...change, isNew: isNew && change.document !== undefined });
  }
  return [...last.values()];
}

function notSynced(cause: unknown): EngineError {
  if (isFull(cause)) return noSpace(cause);
  return new EngineError("internal", `sync the database: ${messageOf(cause)}`, { cause });
}

function noSpace(cause: unknown): EngineError {
  return new EngineError("unavailable", "write to the database: no space left on device", {
    cause,
    details: { code: "ENOSPC" },
  });
}
