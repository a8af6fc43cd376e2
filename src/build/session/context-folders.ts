/**
 * Clients' folders that are kept from build to build, so that only what changed is sent again.
 *
 * A folder is kept under a key: whose it is and what of it. While a build reads it nobody else may
 * change it; a second build of the same key at the same time gets another copy. Those that nobody
 * has used for longest are removed when there are too many.
 *
 * ```
 * <root>/<sha-256 of the key>-<copy>/   the files
 * ```
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { createId } from "../../lib/id.ts";
import type { Logger } from "../../lib/log.ts";
import { fileSystemStats, removeTree, spreadSubfolders } from "../../sys/fs/fs.ts";

/** Folders that are kept, whether used now or not. */
const keptCountMax = 64;
/** Copies of one folder for builds at the same time. */
const copyCountMax = 256;
const keyDigits = 32;

/** A kept folder, taken by one user. */
export interface TakenFolder {
  readonly path: string;
  /** It was made just now: nothing is in it. */
  readonly isNew: boolean;
  /** Gives it back; `isBroken` removes it, since nobody knows what it holds. */
  release(options?: { readonly isBroken?: boolean }): Promise<void>;
}

/** What is kept. */
export interface KeptFolder {
  readonly id: string;
  readonly path: string;
  readonly isInUse: boolean;
  readonly lastUsedMs: number;
}

/** The kept folders of one data root. */
export class ContextFolders {
  readonly #root: string;
  readonly #logger: Logger;
  readonly #inUse = new Set<string>();

  constructor(options: { readonly root: string; readonly logger: Logger }) {
    this.#root = options.root;
    this.#logger = options.logger;
  }

  /** Free on the disk that they lie on. */
  get freeBytes(): number {
    this.#makeRoot();
    return fileSystemStats(this.#root).availableBytes;
  }

  /** Takes the folder of a key; without a key a new one that is not kept. */
  take(key: string | undefined): TakenFolder {
    this.#makeRoot();
    if (key === undefined) return this.#taken(createId().slice(0, keyDigits), { isKept: false });
    const stem = createHash("sha256").update(key).digest("hex").slice(0, keyDigits);
    for (let copy = 0; copy < copyCountMax; copy += 1) {
      const id = `${stem}-${copy}`;
      if (!this.#inUse.has(id)) return this.#taken(id, { isKept: true });
    }
    return this.#taken(createId().slice(0, keyDigits), { isKept: false });
  }

  /** What is kept now. */
  list(): readonly KeptFolder[] {
    return this.#names().map((id) => {
      const path = join(this.#root, id);
      const lastUsedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      return { id, path, isInUse: this.#inUse.has(id), lastUsedMs };
    });
  }

  /** Removes what nobody uses; all, or of one ID. @returns the IDs removed */
  async remove(ids?: ReadonlySet<string>): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const { id, isInUse } of this.list()) {
      if (isInUse || this.#inUse.has(id) || ids?.has(id) === false) continue;
      await this.#remove(id);
      removed.push(id);
    }
    return removed;
  }

  /** Removes what an earlier daemon left of folders that were not to be kept. */
  async recover(): Promise<void> {
    for (const id of this.#names()) if (!id.includes("-")) await this.#remove(id);
  }

  #makeRoot(): void {
    if (mkdirSync(this.#root, { recursive: true, mode: 0o700 }) === undefined) return;
    // A folder made where another was removed would be many times slower to fill.
    spreadSubfolders(this.#root);
  }

  #names(): readonly string[] {
    if (statSync(this.#root, { throwIfNoEntry: false }) === undefined) return [];
    return readdirSync(this.#root);
  }

  #taken(id: string, options: { readonly isKept: boolean }): TakenFolder {
    const path = join(this.#root, id);
    this.#inUse.add(id);
    const isNew = statSync(path, { throwIfNoEntry: false }) === undefined;
    if (isNew) mkdirSync(path, { mode: 0o700 });
    let isReleased = false;
    return {
      path,
      isNew,
      release: async ({ isBroken = false } = {}) => {
        if (isReleased) return;
        isReleased = true;
        if (isBroken || !options.isKept) await this.#remove(id);
        else touch(path);
        this.#inUse.delete(id);
        if (options.isKept) await this.#removeOldest();
      },
    };
  }

  async #removeOldest(): Promise<void> {
    const kept = this.list();
    const excess = kept.length - keptCountMax;
    if (excess <= 0) return;
    const idle = kept.filter(({ isInUse }) => !isInUse);
    const oldest = idle.toSorted((left, right) => left.lastUsedMs - right.lastUsedMs);
    await this.remove(new Set(oldest.slice(0, excess).map(({ id }) => id)));
  }

  async #remove(id: string): Promise<void> {
    // Nobody may take it while it goes.
    this.#inUse.add(id);
    try {
      await removeTree(join(this.#root, id));
    } catch (error) {
      this.#logger.warn("a kept build context could not be removed", { id, error });
    } finally {
      this.#inUse.delete(id);
    }
  }
}

function touch(path: string): void {
  const now = new Date();
  utimesSync(path, now, now);
}
