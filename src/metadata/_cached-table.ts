import type { Table } from "./metadata.ts";

/** A change of one record as a table makes it. */
export interface TableChange {
  readonly document: string | undefined;
  readonly revert: () => void;
  readonly isNew: boolean;
  /** Whether it must be on the disk before it counts. */
  readonly isDurable: boolean;
}

/** The records of one kind, in memory; each change is handed on before it counts. */
export class CachedTable<T> implements Table<T> {
  readonly #records: Map<string, T>;
  readonly #changed: (key: string, change: TableChange) => void;
  readonly #isDurable: boolean;
  #sorted: readonly (readonly [string, T])[] | undefined;

  constructor(
    records: Map<string, T>,
    options: {
      readonly changed: (key: string, change: TableChange) => void;
      /** Of changes that do not say. */
      readonly isDurable: boolean;
    },
  ) {
    this.#records = records;
    this.#changed = options.changed;
    this.#isDurable = options.isDurable;
  }

  find(key: string): T | undefined {
    return this.#records.get(key);
  }

  put(key: string, record: T, options: { readonly durable?: boolean } = {}): void {
    const before = this.#records.get(key);
    const isNew = before === undefined;
    const document = JSON.stringify(record);
    this.#set(key, record);
    const isDurable = options.durable ?? this.#isDurable;
    this.#changed(key, { document, isNew, isDurable, revert: () => this.#set(key, before) });
  }

  remove(key: string, options: { readonly durable?: boolean } = {}): boolean {
    const before = this.#records.get(key);
    if (before === undefined) return false;
    this.#set(key, undefined);
    const revert = (): void => this.#set(key, before);
    const isDurable = options.durable ?? this.#isDurable;
    this.#changed(key, { document: undefined, isNew: false, isDurable, revert });
    return true;
  }

  list(): readonly (readonly [key: string, record: T])[] {
    this.#sorted ??= [...this.#records].sort(([left], [right]) => (left < right ? -1 : 1));
    return this.#sorted;
  }

  #set(key: string, record: T | undefined): void {
    this.#sorted = undefined;
    if (record === undefined) this.#records.delete(key);
    else this.#records.set(key, record);
  }
}
