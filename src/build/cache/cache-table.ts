/**
 * The build cache: content keys of steps and what they made.
 *
 * Entries live in memory and are stored at the end of a build, in one transaction and after one sync
 * of the layers: what a crash cuts short was never in the cache. Each entry holds its layer's
 * snapshot from the collector of images.
 */
import { EngineError } from "../../lib/errors.ts";
import { nowNs } from "../../lib/time.ts";
import type { Leases } from "../../metadata/leases.ts";
import type { Metadata, Table } from "../../metadata/metadata.ts";
import { isDigest } from "../../oci/digest.ts";
import type { Snapshotter } from "../../snapshot/snapshotter.ts";
import type { CacheRecord } from "../build-service.ts";
import type { MadeLayer } from "../step.ts";

/** What is known of one entry. */
export interface CacheEntry {
  readonly type: CacheRecord["type"];
  readonly description: string;
  /** Keys of the entries that it stands on. */
  readonly parents: readonly string[];
  /** What the step made; absent for a cache mount. */
  readonly layer?: MadeLayer;
  readonly createdNs: string;
  readonly lastUsedNs: string;
  readonly usageCount: number;
}

/** What a new entry begins with. */
export type NewCacheEntry = Pick<CacheEntry, "type" | "description" | "parents" | "layer">;

const leasePrefix = "build-cache:";

/** The entries of one data root. */
export class CacheTable {
  readonly #table: Table<CacheEntry>;
  readonly #metadata: Metadata;
  readonly #leases: Leases;
  readonly #snapshots: Snapshotter;
  readonly #entries = new Map<string, CacheEntry>();
  /** Keys that differ from what is stored. */
  readonly #dirty = new Set<string>();
  /** Those of them whose layers may not be on the disk yet; the others were only used. */
  readonly #new = new Set<string>();
  readonly #useCounts = new Map<string, number>();

  constructor(options: {
    readonly metadata: Metadata;
    readonly leases: Leases;
    readonly snapshots: Snapshotter;
  }) {
    this.#metadata = options.metadata;
    this.#leases = options.leases;
    this.#snapshots = options.snapshots;
    this.#table = options.metadata.table({ name: "build-cache", decode: decodeEntry });
    for (const [key, entry] of this.#table.list()) {
      if (this.#isWhole(key, entry)) {
        this.#entries.set(key, entry);
        this.#hold(key, entry);
      } else this.#table.remove(key);
    }
  }

  find(key: string): CacheEntry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || this.#isWhole(key, entry)) return entry;
    this.remove(key);
    return undefined;
  }

  put(key: string, entry: NewCacheEntry): void {
    const now = nowNs().toString();
    const whole: CacheEntry = { ...entry, createdNs: now, lastUsedNs: now, usageCount: 1 };
    if (this.#entries.has(key)) this.#leases.remove(`${leasePrefix}${key}`);
    this.#entries.set(key, whole);
    this.#hold(key, whole);
    this.#dirty.add(key);
    this.#new.add(key);
  }

  /** Notes that an entry was used now. */
  touch(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.set(key, {
      ...entry,
      lastUsedNs: nowNs().toString(),
      usageCount: entry.usageCount + 1,
    });
    this.#dirty.add(key);
  }

  /** Forgets an entry; its snapshot goes with the next collection. Tells whether there was one. */
  remove(key: string): boolean {
    if (!this.#entries.delete(key)) return false;
    this.#dirty.delete(key);
    this.#new.delete(key);
    this.#leases.remove(`${leasePrefix}${key}`);
    this.#table.remove(key);
    return true;
  }

  list(): readonly (readonly [key: string, entry: CacheEntry])[] {
    return [...this.#entries];
  }

  /** Keeps an entry from being pruned until it is released as often. */
  use(key: string): void {
    this.#useCounts.set(key, (this.#useCounts.get(key) ?? 0) + 1);
  }

  release(key: string): void {
    const count = (this.#useCounts.get(key) ?? 0) - 1;
    if (count <= 0) this.#useCounts.delete(key);
    else this.#useCounts.set(key, count);
  }

  isInUse(key: string): boolean {
    return this.#useCounts.has(key);
  }

  /** Keys of what is not stored yet. Ask before the sync that `flush` relies on. */
  get dirtyKeys(): readonly string[] {
    return [...this.#dirty];
  }

  /** Whether something is not stored yet that needs a sync before. */
  get hasNew(): boolean {
    return this.#new.size > 0;
  }

  /** Stores when entries were used last, of those whose layers were on the disk before. */
  flushUses(): void {
    this.flush([...this.#dirty].filter((key) => !this.#new.has(key)));
  }

  /** Stores entries whose layers are on the disk by now. */
  flush(keys: readonly string[]): void {
    if (keys.length === 0) return;
    for (const key of keys) this.#new.delete(key);
    this.#metadata.transaction(() => {
      for (const key of keys) {
        const entry = this.#entries.get(key);
        if (entry !== undefined && this.#dirty.delete(key)) this.#table.put(key, entry);
      }
    });
  }

  #isWhole(key: string, entry: CacheEntry): boolean {
    return this.#snapshots.find(entry.layer?.chainId ?? key) !== undefined;
  }

  #hold(key: string, entry: CacheEntry): void {
    if (entry.layer === undefined) return;
    const id = this.#leases.create({ id: `${leasePrefix}${key}` });
    this.#leases.add(id, `snapshot:${entry.layer.chainId}`);
  }
}

function decodeEntry(document: unknown): CacheEntry {
  const fields = Object(document) as Partial<Record<keyof CacheEntry, unknown>>;
  const { type, description, parents, layer, createdNs, lastUsedNs, usageCount } = fields;
  const isNs = (value: unknown): value is string =>
    typeof value === "string" && /^\d{1,25}$/.test(value);
  const isWhole =
    (type === "regular" || type === "exec.cachemount" || type === "source.local") &&
    typeof description === "string" &&
    Array.isArray(parents) &&
    parents.every((parent) => typeof parent === "string") &&
    isNs(createdNs) &&
    isNs(lastUsedNs) &&
    typeof usageCount === "number" &&
    (layer === undefined || isLayer(layer));
  if (!isWhole) throw new EngineError("data-loss", "an entry of the build cache is not one");
  return document as CacheEntry;
}

function isLayer(value: unknown): boolean {
  const fields = Object(value) as Partial<Record<keyof MadeLayer, unknown>>;
  return (
    typeof fields.diffId === "string" &&
    isDigest(fields.diffId) &&
    typeof fields.chainId === "string" &&
    isDigest(fields.chainId) &&
    typeof fields.sizeBytes === "number" &&
    typeof fields.tarSizeBytes === "number" &&
    typeof fields.createdNs === "string"
  );
}
