/** SQLite, as the engine uses it: write-ahead log, every commit on the disk before it returns. */
import { Database as BunDatabase, type SQLQueryBindings } from "bun:sqlite";
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
   * Runs synchronous `work` in one transaction: all of it is durable on return, none of it after a
   * throw. Inside another transaction it is a savepoint.
   */
  transaction<T>(work: () => T): T;
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
}

/** Opens a database, made when missing; `:memory:` for one without a file. */
export function openDatabase(path: string, options: DatabaseOptions = {}): Database {
  const database = translatedOpen(path, options);
  const exec = (sql: string): void => {
    database.run(sql);
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
    close: () => database.close(),
    check() {
      const row = database.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").get();
      return row === null || row.quick_check === "ok" ? undefined : row.quick_check;
    },
    [Symbol.dispose]: () => database.close(),
  };
}

function translatedOpen(path: string, options: DatabaseOptions): BunDatabase {
  let database: BunDatabase | undefined;
  try {
    database = new BunDatabase(path, { create: true, readwrite: true, strict: true });
    database.run(`PRAGMA busy_timeout = ${options.busyTimeoutMs ?? busyTimeoutMs}`);
    if (options.isExclusive === true) database.run("PRAGMA locking_mode = EXCLUSIVE");
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = FULL");
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
