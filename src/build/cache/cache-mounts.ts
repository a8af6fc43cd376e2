/**
 * Folders that outlive a build: RUN --mount=type=cache.
 *
 * Each is an active snapshot of its own, so that it is measured and removed like one. A folder of
 * sharing `private` that is in use makes a second one with the next number.
 */
import { chmodSync, chownSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import { digestHex, digestOf } from "../../oci/digest.ts";
import type { Snapshotter } from "../../snapshot/snapshotter.ts";
import { copyTree } from "../../sys/fs/fs.ts";
import type { CacheTable } from "./cache-table.ts";

/** Begins the snapshot keys of cache mounts. */
export const cacheMountPrefix = "buildcache-";

/** Folders of one id that may be in use at once. */
const slotsMax = 1000;

/** A folder that is wanted. */
export interface CacheMountRequest {
  readonly id: string;
  readonly sharing: "shared" | "private" | "locked";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** What it has at first, and what names that. */
  readonly seed?: () => string;
  readonly seedId?: string;
  readonly signal: AbortSignal;
}

/** A folder in use. */
export interface CacheMountUse {
  readonly path: string;
  release(): void;
}

/** The cache mounts of one data root. */
export class CacheMounts {
  readonly #snapshots: Snapshotter;
  readonly #table: CacheTable;
  readonly #locks = new KeyedMutex();
  readonly #making = new KeyedMutex();
  readonly #useCounts = new Map<string, number>();

  constructor(options: { readonly snapshots: Snapshotter; readonly table: CacheTable }) {
    this.#snapshots = options.snapshots;
    this.#table = options.table;
  }

  isInUse(key: string): boolean {
    return (this.#useCounts.get(key) ?? 0) > 0;
  }

  /** @throws canceled while it waits for a locked one */
  async acquire(request: CacheMountRequest): Promise<CacheMountUse> {
    const { id, mode, uid, gid, seedId } = request;
    const name = digestHex(digestOf(JSON.stringify({ id, mode, uid, gid, seedId })));
    const base = `${cacheMountPrefix}${name.slice(0, 40)}`;
    const unlock =
      request.sharing === "locked" ? await this.#lock(base, request.signal) : undefined;
    const key = request.sharing === "private" ? this.#freeSlot(base) : base;
    this.#count(key, 1);
    try {
      const path = await this.#making.run(key, () => this.#folder(key, request));
      this.#table.touch(key);
      return {
        path,
        release: () => {
          this.#count(key, -1);
          unlock?.();
        },
      };
    } catch (error) {
      this.#count(key, -1);
      unlock?.();
      throw error;
    }
  }

  async #lock(base: string, signal: AbortSignal): Promise<() => void> {
    const held = Promise.withResolvers<void>();
    const got = Promise.withResolvers<void>();
    void this.#locks.run(base, async () => {
      got.resolve();
      await held.promise;
    });
    const abort = (): void => {
      held.resolve();
      got.reject(new EngineError("canceled", "the build was canceled"));
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      if (signal.aborted) abort();
      await got.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
    return held.resolve;
  }

  #freeSlot(base: string): string {
    for (let slot = 0; slot < slotsMax; slot += 1) {
      const key = slot === 0 ? base : `${base}.${slot}`;
      if (!this.isInUse(key)) return key;
    }
    throw new EngineError("unavailable", `a cache mount is in use ${slotsMax} times at once`);
  }

  async #folder(key: string, request: CacheMountRequest): Promise<string> {
    const known = this.#snapshots.find(key);
    const folder = (mount: { readonly source?: string; readonly upperDir?: string }): string =>
      mount.source ?? mount.upperDir ?? "";
    if (known !== undefined && this.#table.find(key) !== undefined) {
      return folder(this.#snapshots.mounts(key));
    }
    // One without a record was cut short while it was filled.
    if (known !== undefined) await this.#snapshots.remove(key);
    const path = folder(await this.#snapshots.prepare(key));
    if (request.seed !== undefined) await copyTree(request.seed(), path);
    chownSync(path, request.uid, request.gid);
    chmodSync(path, request.mode);
    this.#table.put(key, {
      type: "exec.cachemount",
      description: `cached mount ${request.id} from exec`,
      parents: [],
    });
    return path;
  }

  #count(key: string, change: 1 | -1): void {
    const count = (this.#useCounts.get(key) ?? 0) + change;
    if (count === 0) this.#useCounts.delete(key);
    else this.#useCounts.set(key, count);
  }
}
