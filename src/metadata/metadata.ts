/**
 * Transactional records: what the engine knows, and the only truth at start.
 *
 * A *table* holds records of one kind under a key. A record is a JSON document; its table's `decode`
 * checks it when it is read. A write returns when it is durable (SQLite, WAL, synchronous=FULL), or,
 * inside `transaction`, when the outermost transaction returns. A record that does not decode is
 * quarantined: moved to the table's quarantine, told to the log, and never seen again by `list`.
 */

/** Says how records of one kind are stored. */
export interface TableDefinition<T> {
  /** Lower-case word; one per kind. */
  readonly name: string;
  /** Checks a stored document; throws when it is not a T. */
  readonly decode: (document: unknown) => T;
}

/** Records of one kind. */
export interface Table<T> {
  find(key: string): T | undefined;
  /**
   * @param options.durable false: it reaches the disk with the next write that is durable, and not
   * before; for a record that means nothing to a start that does not find that later write
   */
  put(key: string, record: T, options?: { readonly durable?: boolean }): void;
  /** Tells whether there was one. */
  remove(key: string): boolean;
  /** All records, in the order of their keys. */
  list(): readonly (readonly [key: string, record: T])[];
}

/** The database of one data root. */
export interface Metadata extends Disposable {
  table<T>(definition: TableDefinition<T>): Table<T>;
  /**
   * Runs `work` so that all of its writes happen, or none. Synchronous; nests.
   *
   * @param options.durable false: as `put`; counts only where no transaction around it, and none
   * inside, is durable
   */
  transaction<T>(work: () => T, options?: { readonly durable?: boolean }): T;
  /** What was quarantined since this database was opened, as sentences for the log and `info`. */
  readonly damages: readonly string[];
}
