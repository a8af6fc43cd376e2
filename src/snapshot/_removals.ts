/**
 * Removes the directories of snapshots that are gone, one at a time.
 *
 * Freeing thousands of files keeps the disk, and with it a processor, as busy as writing them does. So
 * while layers are written, removal takes little of the time. On a disk that is almost full it does
 * not: what is written may need the room.
 */
import { sleep } from "../lib/concurrency/retry.ts";
import type { Logger } from "../lib/log.ts";
import { TaskGroup } from "../lib/concurrency/task-group.ts";
import { fileSystemStats, removeTree, removeTreeInParts } from "../sys/fs/fs.ts";

/** What `Removals` needs. */
export interface RemovalsOptions {
  readonly logger: Logger;
  /** Tells where the directory of a number is. */
  readonly path: (number: number) => string;
  /** Whether something is being written that removal should make way for. */
  readonly isInTheWay: () => boolean;
  /** Whether what is removed is not needed soon; see `hasRoom`. */
  readonly hasRoom: () => boolean;
}

/** Times as long as it has worked that a removal rests when it is in the way. */
const restFactor = 9;
const restMaxMs = 500;
/** Time between two looks whether it is still in the way. */
const lookMs = 20;
/** Less room than this, or than this share of the disk, is wanted back soon. */
const roomMinBytes = 4 * 1024 ** 3;
const roomMinShare = 0.1;

/** Directories that are being removed. Closing leaves the rest for the next sweep. */
export class Removals implements AsyncDisposable {
  readonly #options: RemovalsOptions;
  readonly #tasks: TaskGroup;
  readonly #numbers = new Set<number>();
  #last: Promise<void> = Promise.resolve();

  constructor(options: RemovalsOptions) {
    this.#options = options;
    this.#tasks = new TaskGroup({
      onError: (error, name) => options.logger.warn(`${name}: left for the next sweep`, { error }),
    });
  }

  /** Those that are not removed yet. */
  get numbers(): ReadonlySet<number> {
    return this.#numbers;
  }

  /** Removes a directory that no record names; a big one holds up no caller. */
  add(number: number): void {
    if (this.#tasks.signal.aborted) return;
    this.#numbers.add(number);
    const before = this.#last;
    const done = Promise.withResolvers<void>();
    this.#last = done.promise;
    this.#tasks.run(`remove directory of snapshot ${number}`, async (signal) => {
      try {
        await before;
        if (!signal.aborted) await this.#remove(number, signal);
      } finally {
        this.#numbers.delete(number);
        done.resolve();
      }
    });
  }

  /** Removes a small tree that nothing needs any more, now and off the loop. */
  drop(path: string): void {
    if (this.#tasks.signal.aborted) return;
    this.#tasks.run(`remove ${JSON.stringify(path)}`, async () => await removeTree(path));
  }

  async idle(): Promise<void> {
    await this.#tasks.idle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tasks.close();
  }

  async #remove(number: number, signal: AbortSignal): Promise<void> {
    let sinceMs = performance.now();
    await removeTreeInParts(this.#options.path(number), {
      between: async () => {
        signal.throwIfAborted();
        if (!this.#options.isInTheWay() || !this.#options.hasRoom()) return;
        const workedMs = performance.now() - sinceMs;
        await this.#rest(Math.min(workedMs * restFactor, restMaxMs), signal);
        sinceMs = performance.now();
      },
    });
  }

  /** Waits, while it is in the way. */
  async #rest(timeMs: number, signal: AbortSignal): Promise<void> {
    const endMs = performance.now() + timeMs;
    while (this.#options.isInTheWay() && !signal.aborted) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return;
      await sleep(Math.min(leftMs, lookMs));
    }
  }
}

/** Whether the disk that holds `path` is far from full. */
export function hasRoom(path: string): boolean {
  const { availableBytes, sizeBytes } = fileSystemStats(path);
  return availableBytes >= roomMinBytes && availableBytes >= sizeBytes * roomMinShare;
}
