import { Database, type Statement } from "bun:sqlite";
import { EngineError, codeOf, messageOf } from "../lib/errors.ts";

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

/** Pages of the write-ahead log before it is folded into the file. */
const checkpointPageCount = 1000;

/** The SQL side of metadata: one file, one writer, whole batches. */
export class RecordDatabase implements Disposable {
  readonly #database: Database;
  readonly #put: Statement;
  readonly #remove: Statement;
  readonly #begin: Statement;
  readonly #commit: Statement;

  private constructor(database: Database) {
    this.#database = database;
    this.#put = database.prepare(
      "INSERT INTO records (kind, key, document) VALUES (?, ?, ?) " +
        "ON CONFLICT (kind, key) DO UPDATE SET document = excluded.document",
    );
    this.#remove = database.prepare("DELETE FROM records WHERE kind = ? AND key = ?");
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
  }

  /**
   * Opens the file, made when missing, and brings its schema up to date.
   *
   * @throws unavailable when another process has it open, conflict when its schema is newer
   * @throws SQLite's own error when the file is damaged (see `isDamage`)
   */
  static open(path: string): RecordDatabase {
    const database = new Database(path, { create: true, readwrite: true, strict: true });
    try {
      // Exclusive: the WAL index is plain memory then, so that a full disk cannot kill with SIGBUS.
      database.run("PRAGMA locking_mode = EXCLUSIVE");
      database.run("PRAGMA busy_timeout = 1000");
      database.run("PRAGMA journal_mode = WAL");
      database.run("PRAGMA synchronous = FULL");
      database.run(`PRAGMA wal_autocheckpoint = ${checkpointPageCount}`);
      migrate(database, path);
      return new RecordDatabase(database);
    } catch (error) {
      database.close();
      if (codeOf(error) === "SQLITE_BUSY") {
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
    const statement = this.#database.prepare(`SELECT kind, key, document FROM records ${order}`);
    try {
      for (const row of statement.iterate()) {
        if (isRow(row)) rows.push({ kind: row.kind, key: row.key, document: row.document });
      }
    } finally {
      statement.finalize();
    }
  }

  /** Writes all changes or none; durable when it returns. */
  write(changes: readonly Change[]): void {
    const [first] = changes;
    if (first === undefined) return;
    if (changes.length === 1) return this.#writeOne(first);
    this.#begin.run();
    try {
      for (const change of changes) this.#writeOne(change);
      this.#commit.run();
    } catch (error) {
      if (this.#database.inTransaction) this.#database.run("ROLLBACK");
      throw error;
    }
  }

  #writeOne({ kind, key, document }: Change): void {
    if (document === undefined) this.#remove.run(kind, key);
    else this.#put.run(kind, key, document);
  }

  /** Moves records out of sight of `readAll`, with the reason. */
  quarantine(rows: readonly QuarantinedRow[]): void {
    const time = new Date().toISOString();
    this.#begin.run();
    try {
      for (const { kind, key, document, reason } of rows) {
        this.#database.run(
          "INSERT INTO quarantine (kind, key, document, reason, time) VALUES (?, ?, ?, ?, ?)",
          [kind, key, document, reason, time],
        );
        this.#remove.run(kind, key);
      }
      this.#commit.run();
    } catch (error) {
      if (this.#database.inTransaction) this.#database.run("ROLLBACK");
      throw error;
    }
  }

  /** Writes a whole, compact copy to a path where nothing is yet. */
  copyTo(path: string): void {
    this.#database.run("VACUUM INTO ?", [path]);
  }

  [Symbol.dispose](): void {
    for (const statement of [this.#put, this.#remove, this.#begin, this.#commit]) {
      statement.finalize();
    }
    this.#database.close();
  }
}

/** Tells whether an error of SQLite says that the file is damaged. */
export function isDamage(error: unknown): boolean {
  const code = codeOf(error);
  return code?.startsWith("SQLITE_CORRUPT") === true || code === "SQLITE_NOTADB";
}

/** Tells whether an error of SQLite says that the disk is full. */
export function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === "SQLITE_FULL" || code === "ENOSPC" || messageOf(error).includes("disk is full");
}

function migrate(database: Database, path: string): void {
  database.run("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, time TEXT)");
  const version = schemaVersion(database);
  if (version > migrations.length) {
    throw new EngineError(
      "conflict",
      `open ${quote(path)}: it was written by a newer release (schema ${version}), ` +
        `this one knows schema ${migrations.length}`,
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    const time = new Date().toISOString();
    database.run(
      `BEGIN; ${sql} INSERT INTO migrations (version, time) VALUES (${index + 1}, '${time}'); COMMIT`,
    );
  }
}

function schemaVersion(database: Database): number {
  const statement = database.prepare("SELECT max(version) AS version FROM migrations");
  try {
    const row: unknown = statement.get();
    if (typeof row !== "object" || row === null || !("version" in row)) return 0;
    return typeof row.version === "number" ? row.version : 0;
  } finally {
    statement.finalize();
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
