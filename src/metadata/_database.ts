import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { type Database, openDatabase, type Query } from "../sys/sqlite.ts";

/** A stored record, as text. */
export interface Row {
  readonly kind: string;
  readonly key: string;
  readonly document: string;
}

/** One change of a batch: a document to store, or `undefined` to remove. */
export interface Change {
  readonly kind: string;
  readonly key: string;
  readonly document: string | undefined;
}

/** A record that could not be read, kept for a person to look at. */
export interface QuarantinedRow extends Row {
  readonly reason: string;
}

/** Every step from an empty file to the newest schema; the version is the count of steps done. */
const migrations: readonly string[] = [
  `CREATE TABLE records (
     kind TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL,
     PRIMARY KEY (kind, key)
   ) WITHOUT ROWID;
   CREATE TABLE quarantine (
     id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL,
     reason TEXT NOT NULL, time TEXT NOT NULL
   );`,
];

/** Pages of the write-ahead log before it is folded into the file. Few: a log that is written over
 * takes half the time of one that grows. */
const checkpointPageCount = 256;

/** How long to wait for another process that has the file: an earlier daemon about to end. */
const busyTimeoutMs = 1000;

/** The SQL side of metadata: one file, one writer, whole batches. */
export class RecordDatabase implements Disposable {
  readonly #database: Database;
  readonly #put: Query<unknown>;
  readonly #remove: Query<unknown>;

  private constructor(database: Database) {
    this.#database = database;
    this.#put = database.query(
      "INSERT INTO records (kind, key, document) VALUES (?, ?, ?) " +
        "ON CONFLICT (kind, key) DO UPDATE SET document = excluded.document",
    );
    this.#remove = database.query("DELETE FROM records WHERE kind = ? AND key = ?");
  }

  /**
   * Opens the file, made when missing, and brings its schema up to date.
   *
   * @throws unavailable when another process has it open, conflict when its schema is newer
   * @throws SQLite's own error when the file is damaged (see `isDamage`)
   */
  static open(path: string): RecordDatabase {
    let database: Database | undefined;
    try {
      database = openDatabase(path, { isExclusive: true, busyTimeoutMs, isSyncedByCaller: true });
      database.exec(`PRAGMA wal_autocheckpoint = ${checkpointPageCount}`);
      migrate(database, path);
      return new RecordDatabase(database);
    } catch (error) {
      database?.close();
      if (sqliteCode(error) === "SQLITE_BUSY") {
        throw new EngineError("unavailable", `open ${quote(path)}: another process has it open`, {
          cause: error,
        });
      }
      throw error;
    }
  }

  /** Reads every record; the failure that ended the reading, if any, comes beside what was read. */
  readAll(): { readonly rows: readonly Row[]; readonly failure?: unknown } {
    const rows: Row[] = [];
    try {
      this.#collect("ORDER BY kind, key", rows);
      return { rows };
    } catch (failure) {
      if (!isDamage(failure)) throw failure;
      return { rows, failure };
    }
  }

  /** Reads what a damaged file still gives: from both ends of each index. */
  salvage(): readonly Row[] {
    const rows: Row[] = [];
    for (const order of ["ORDER BY kind, key", "ORDER BY kind DESC, key DESC"]) {
      try {
        this.#collect(order, rows);
      } catch (error) {
        if (!isDamage(error)) throw error;
      }
    }
    return [...new Map(rows.map((row) => [`${row.kind}\0${row.key}`, row])).values()];
  }

  #collect(order: string, rows: Row[]): void {
    const query = this.#database.query(`SELECT kind, key, document FROM records ${order}`);
    for (const row of query.iterate()) {
      if (isRow(row)) rows.push({ kind: row.kind, key: row.key, document: row.document });
    }
  }

  /** Waits until all that was written is on the disk. */
  sync(): void {
    this.#database.sync();
  }

  /** As `sync`, of what is written by now, without holding the event loop. */
  async syncLater(): Promise<void> {
    await this.#database.syncLater();
  }

  /**
   * Writes all changes or none. The write-ahead log keeps the order: whatever syncs what is written
   * later syncs this.
   */
  write(changes: readonly Change[]): void {
    const [first] = changes;
    if (first === undefined) return;
    if (changes.length === 1) {
      this.#writeOne(first);
      return;
    }
    this.#database.transaction(() => {
      for (const change of changes) this.#writeOne(change);
    });
  }

  #writeOne({ kind, key, document }: Change): void {
    if (document === undefined) this.#remove.run(kind, key);
    else this.#put.run(kind, key, document);
  }

  /** Moves records out of sight of `readAll`, with the reason. */
  quarantine(rows: readonly QuarantinedRow[]): void {
    const time = new Date().toISOString();
    const insert = this.#database.query(
      "INSERT INTO quarantine (kind, key, document, reason, time) VALUES (?, ?, ?, ?, ?)",
    );
    this.#database.transaction(() => {
      for (const { kind, key, document, reason } of rows) {
        insert.run(kind, key, document, reason, time);
        this.#remove.run(kind, key);
      }
    });
  }

  /** Writes a whole, compact copy to a path where nothing is yet. */
  copyTo(path: string): void {
    this.#database.query("VACUUM INTO ?").run(path);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

/** Tells whether an error of SQLite says that the file is damaged. */
export function isDamage(error: unknown): boolean {
  const code = sqliteCode(error);
  return code?.startsWith("SQLITE_CORRUPT") === true || code === "SQLITE_NOTADB";
}

/** Tells whether an error of SQLite says that the disk is full. */
export function isFull(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === "SQLITE_FULL" || code === "ENOSPC" || messageOf(error).includes("disk is full");
}

/** SQLite's name of an error, also of one that was thrown at opening. */
function sqliteCode(error: unknown): string | undefined {
  return codeOf(error instanceof EngineError ? error.cause : error);
}

function migrate(database: Database, path: string): void {
  database.exec("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, time TEXT)");
  const found = database.query<{ readonly version: number | null }>(
    "SELECT max(version) AS version FROM migrations",
  );
  const version = found.get()?.version ?? 0;
  if (version > migrations.length) {
    throw new EngineError(
      "conflict",
      `open ${quote(path)}: it was written by a newer release (schema ${version}), ` +
        `this one knows schema ${migrations.length}`,
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    database.transaction(() => {
      database.exec(sql);
      database
        .query("INSERT INTO migrations (version, time) VALUES (?, ?)")
        .run(index + 1, new Date().toISOString());
    });
  }
}

function isRow(row: unknown): row is Row {
  if (typeof row !== "object" || row === null) return false;
  if (!("kind" in row && "key" in row && "document" in row)) return false;
  return [row.kind, row.key, row.document].every((text) => typeof text === "string");
}

function quote(path: string): string {
  return JSON.stringify(path);
}
