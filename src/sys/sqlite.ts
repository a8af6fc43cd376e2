/** SQLite, as the engine uses it: with a write-ahead log. */
import { Database as BunDatabase, type SQLQueryBindings } from "bun:sqlite";
import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";
import { promisify } from "node:util";
import { EngineError } from "../lib/errors.ts";

/** How long a writer waits for another process (a reader of the file at most). */
const busyTimeoutMs = 5000;

/** A value of a parameter. */
export type SqlValue = SQLQueryBindings;

/** A prepared statement; parameters are positional (`?1`) or one record (`$name`). */
export interface Query<Row> {
  /** The rows one by one: those before a damaged page come before the error. */
  iterate(...parameters: SqlValue[]): Iterable<Row>;
  all(...parameters: SqlValue[]): Row[];
  get(...parameters: SqlValue[]): Row | undefined;
  run(...parameters: SqlValue[]): { readonly changes: number; readonly lastInsertRowid: bigint };
}

/** An open database. */
export interface Database extends Disposable {
  /** Runs one or more statements without parameters. */
  exec(sql: string): void;
  /** The statement of this text; prepared once. The caller states the shape of its rows. */
  query<Row>(sql: string): Query<Row>;
  /**
   * Runs synchronous `work` in one transaction: all of it counts on return, and is durable unless
   * the caller syncs; none of it after a throw. Inside another transaction it is a savepoint.
   */
  transaction<T>(work: () => T): T;
  /** Waits until every commit is on the disk. For the caller who syncs; there must be a commit. */
  sync(): void;
  /** As `sync`, of the commits that have returned, without holding the event loop. */
  syncLater(): Promise<void>;
  close(): void;
  /** What `quick_check` finds wrong; undefined when nothing. */
  check(): string | undefined;
}

/** How a database is opened. */
export interface DatabaseOptions {
  /** No other process may have the file open, not even to read. The index of the write-ahead log is
   * plain memory then: a full disk cannot end the process with SIGBUS. */
  readonly isExclusive?: boolean;
  /** How long to wait for another process that has the file. */
  readonly busyTimeoutMs?: number;
  /**
   * Commits return when they are written, before they are on the disk. After a power cut those up to
   * the last `sync` are there, and of later ones none without those before it.
   */
  readonly isSyncedByCaller?: boolean;
}

const fdatasyncLater = promisify(fdatasync);

/** Opens a database, made when missing; `:memory:` for one without a file. */
export function openDatabase(path: string, options: DatabaseOptions = {}): Database {
  const database = translatedOpen(path, options);
  const exec = (sql: string): void => {
    database.run(sql);
  };
  const log = new LogFile(`${path}-wal`);
  const shut = (): void => {
    database.close();
    log.close();
  };
  return {
    exec,
    query: <Row>(sql: string): Query<Row> => {
      const statement = database.query<Row, SqlValue[]>(sql);
      return {
        iterate: (...parameters) => statement.iterate(...parameters),
        all: (...parameters) => statement.all(...parameters),
        get: (...parameters) => statement.get(...parameters) ?? undefined,
        run: (...parameters) => {
          const { changes, lastInsertRowid } = statement.run(...parameters);
          return { changes, lastInsertRowid: BigInt(lastInsertRowid) };
        },
      };
    },
    // Immediate: the write lock is taken before the work reads what it is going to change.
    transaction: (work) => database.transaction(work).immediate(),
    sync: () => log.sync(),
    syncLater: async () => await log.syncLater(),
    close: shut,
    check() {
      const row = database.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").get();
      return row === null || row.quick_check === "ok" ? undefined : row.quick_check;
    },
    [Symbol.dispose]: shut,
  };
}

/**
 * The write-ahead log of an open database: the same file until that is closed.
 *
 * SQLite locks the database and its index, never the log: a descriptor of it may be closed.
 */
class LogFile {
  readonly #path: string;
  #fd: number | undefined;
  #syncCount = 0;
  #isClosed = false;

  constructor(path: string) {
    this.#path = path;
  }

  sync(): void {
    fdatasyncSync(this.#open());
  }

  async syncLater(): Promise<void> {
    const fd = this.#open();
    this.#syncCount += 1;
    try {
      await fdatasyncLater(fd);
    } finally {
      this.#syncCount -= 1;
      if (this.#isClosed) this.close();
    }
  }

  close(): void {
    this.#isClosed = true;
    if (this.#fd === undefined || this.#syncCount > 0) return;
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    this.#fd ??= openSync(this.#path, "r");
    return this.#fd;
  }
}

function translatedOpen(path: string, options: DatabaseOptions): BunDatabase {
  let database: BunDatabase | undefined;
  try {
    database = new BunDatabase(path, { create: true, readwrite: true, strict: true });
    database.run(`PRAGMA busy_timeout = ${options.busyTimeoutMs ?? busyTimeoutMs}`);
    if (options.isExclusive === true) database.run("PRAGMA locking_mode = EXCLUSIVE");
    database.run("PRAGMA journal_mode = WAL");
    database.run(`PRAGMA synchronous = ${options.isSyncedByCaller === true ? "NORMAL" : "FULL"}`);
    database.run("PRAGMA foreign_keys = ON");
    return database;
  } catch (error) {
    database?.close();
    const reason = error instanceof Error ? error.message : String(error);
    const isBroken = /malformed|not a database/.test(reason);
    throw new EngineError(
      isBroken ? "data-loss" : "unavailable",
      `open database ${JSON.stringify(path)}: ${reason}`,
      { cause: error },
    );
  }
}
