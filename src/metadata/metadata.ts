/**
 * Transactional records: what the engine knows, and the only truth at start.
 *
 * A *table* holds records of one kind under a key. A record is a JSON document; its table's `decode`
 * checks it when it is read. A record that does not decode is quarantined: moved to the table's
 * quarantine, told to the log, and never seen again by `list`.
 *
 * What was written is there after the death of the process, in order. It is *durable*, there after a
 * power cut as well, once it was waited for: by the write itself, which holds the event loop for as
 * long as the disk takes, or by `commit` and `flush`, which do not.
 */

/** Says how records of one kind are stored. */
export interface TableDefinition<T> {
  /** Lower-case word; one per kind. */
  readonly name: string;
  /** Checks a stored document; throws when it is not a T. */
  readonly decode: (document: unknown) => T;
  /** false: changes are not durable unless they say so; for a table whose users commit or flush. */
  readonly durable?: boolean;
}

/** Records of one kind. */
export interface Table<T> {
  find(key: string): T | undefined;
  /**
   * @param options.durable false: it becomes durable with whatever does next; for who flushes, and
   * for a record that means nothing to a start that does not find a later one. Else as the table
   */
  put(key: string, record: T, options?: { readonly durable?: boolean }): void;
  /** Tells whether there was one. @param options as of `put` */
  remove(key: string, options?: { readonly durable?: boolean }): boolean;
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
  /**
   * As `transaction`; resolves when it is durable. What is written is seen by others before.
   *
   * @throws what `flush` throws: it may not be durable then, and is seen all the same
   */
  commit<T>(work: () => T): Promise<T>;
  /**
   * Resolves when all that was written until now is durable; those who wait share one sync.
   *
   * @throws internal when the disk fails
   */
  flush(): Promise<void>;
  /** What was quarantined since this database was opened, as sentences for the log and `info`. */
  readonly damages: readonly string[];
}
