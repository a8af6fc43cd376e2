import { noSuchContainer } from "../../lib/docker-messages.ts";
import { messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Metadata, Table } from "../../metadata/metadata.ts";
import { LiveContainer } from "./live-container.ts";
import { NameIndex, resolveId } from "./names.ts";
import { type ContainerRecord, containerTable } from "./record.ts";

/** How long until a state that could not be stored is tried again. */
const retryDelayMs = 1000;

/** Fields to change; `undefined` takes an optional one away. */
export type RecordChange = {
  readonly [K in keyof ContainerRecord]?: ContainerRecord[K] | undefined;
};

/** All containers: in memory, and behind it in metadata. */
export class ContainerStore {
  readonly names: NameIndex = new NameIndex();
  readonly #metadata: Metadata;
  readonly #table: Table<ContainerRecord>;
  readonly #logger: Logger;
  readonly #containers = new Map<string, LiveContainer>();
  readonly #unsaved = new Set<LiveContainer>();
  #retryTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: { readonly metadata: Metadata; readonly logger: Logger }) {
    this.#metadata = options.metadata;
    this.#table = options.metadata.table(containerTable);
    this.#logger = options.logger;
    for (const [id, record] of this.#table.list()) {
      this.#containers.set(id, new LiveContainer(record));
      this.#nameAgain(record);
    }
  }

  /** @throws not-found, invalid-argument for an ambiguous prefix */
  get(reference: string): LiveContainer {
    const id = resolveId(reference, { ids: this.#containers, names: this.names });
    const container = this.#containers.get(id);
    // A name is taken before its container is there.
    if (container === undefined) throw noSuchContainer(reference);
    return container;
  }

  /** In no particular order. */
  all(): readonly LiveContainer[] {
    return [...this.#containers.values()];
  }

  has(id: string): boolean {
    return this.#containers.has(id);
  }

  /**
   * Resolves when all that was stored until now is durable. To be waited for before anybody is told.
   *
   * @throws internal when the disk fails
   */
  async flush(): Promise<void> {
    await this.#metadata.flush();
  }

  /** As `flush`, of what `note` stored: where the disk fails, that is told to the log alone. */
  async flushNotes(): Promise<void> {
    try {
      await this.#metadata.flush();
    } catch (error) {
      this.#logger.error("container states may not be on the disk", { error });
    }
  }

  /**
   * Stores a new container; durable when it resolves, and there from then on. Its name is reserved
   * already.
   *
   * @throws what hindered it; whoever reserved the name takes the rest back, with `unannounce`
   */
  async add(record: ContainerRecord): Promise<LiveContainer> {
    await this.#metadata.commit(() => this.#table.put(record.id, record));
    const container = new LiveContainer(record);
    this.#containers.set(record.id, container);
    return container;
  }

  /** Notes that parts of a container are being made: the next start removes them, unless `add` or
   * `unannounce` came. */
  announce(record: ContainerRecord): void {
    const announced = { ...record, phase: "removing", removal: { volumes: true } } as const;
    // The records of what is made come after it, and are durable.
    this.#table.put(record.id, announced, { durable: false });
  }

  /** Takes `announce` back; nothing when there was none. */
  unannounce(id: string): void {
    if (this.#table.find(id) !== undefined) this.#table.remove(id);
  }

  /** Changes a record, or throws and leaves it as it was. To be followed by `flush`. */
  update(container: LiveContainer, change: RecordChange): void {
    const record = changed(container.record, change);
    this.#table.put(record.id, record, { durable: false });
    container.record = record;
    this.#unsaved.delete(container);
  }

  /** Changes a record in memory alone: what the next daemon finds out by itself. */
  keep(container: LiveContainer, change: RecordChange): void {
    container.record = changed(container.record, change);
  }

  /**
   * Changes a record that tells what has happened already: where it cannot be stored (a full disk)
   * it is kept in memory, and tried again until it can. To be followed by `flushNotes` where somebody
   * is told what a start after a power cut would not find out.
   */
  note(container: LiveContainer, change: RecordChange): void {
    const record = changed(container.record, change);
    try {
      this.#table.put(record.id, record, { durable: false });
      this.#unsaved.delete(container);
    } catch (error) {
      this.#logger.error("container state is not stored yet", {
        container: record.id,
        phase: record.phase,
        error,
      });
      this.#unsaved.add(container);
      this.#retryLater();
    }
    container.record = record;
  }

  /**
   * Forgets a container for good, in one transaction with what else `work` writes at once. To be
   * followed by `flush`.
   */
  remove<T>(container: LiveContainer, work: () => T): T {
    const forget = (): T => {
      this.#table.remove(container.id, { durable: false });
      return work();
    };
    const result = this.#metadata.transaction(forget, { durable: false });
    this.#unsaved.delete(container);
    this.#containers.delete(container.id);
    this.names.release(container.record.name, container.id);
    return result;
  }

  close(): void {
    if (this.#retryTimer !== undefined) clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#saveAgain();
  }

  /** Two records with one name cannot be; a damaged database may still say so. */
  #nameAgain(record: ContainerRecord): void {
    if (this.names.find(record.name) === undefined) {
      this.names.reserve(record.name, record.id);
      return;
    }
    const name = this.names.reserveAny(record.id);
    this.#logger.warn("two containers had one name", { container: record.id, name });
    const container = this.#containers.get(record.id);
    if (container !== undefined) this.note(container, { name });
  }

  #retryLater(): void {
    if (this.#retryTimer !== undefined) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.#saveAgain();
      if (this.#unsaved.size > 0) this.#retryLater();
    }, retryDelayMs);
    this.#retryTimer.unref();
  }

  #saveAgain(): void {
    for (const container of this.#unsaved) {
      try {
        this.#table.put(container.id, container.record);
        this.#unsaved.delete(container);
      } catch (error) {
        this.#logger.debug("container state is not stored yet", {
          container: container.id,
          reason: messageOf(error),
        });
        return;
      }
    }
  }
}

function changed(record: ContainerRecord, change: RecordChange): ContainerRecord {
  const entries = Object.entries({ ...record, ...change });
  // The change has the record's fields; those taken away are optional there.
  return Object.fromEntries(
    entries.filter(([, value]) => value !== undefined),
  ) as unknown as ContainerRecord;
}
