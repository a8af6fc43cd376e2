/**
 * Lets those who wait for the disk share its syncs: one is under way at most, and one more is waited
 * for by all who wrote since that began.
 */
export class GroupCommit {
  readonly #sync: () => Promise<void>;
  #writtenCount = 0;
  #syncedCount = 0;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** @param sync puts on the disk what is written when it is called */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  get isSynced(): boolean {
    return this.#syncedCount === this.#writtenCount;
  }

  /** Something was written. */
  wrote(): void {
    this.#writtenCount += 1;
  }

  /** All that was written is on the disk, by another's doing. */
  synced(): void {
    this.#syncedCount = this.#writtenCount;
  }

  /**
   * Resolves when all that was written before is on the disk.
   *
   * @throws what the sync threw; the next call tries again
   */
  async flush(): Promise<void> {
    if (this.isSynced) return;
    this.#next ??= this.#runNext();
    await this.#next;
  }

  async #runNext(): Promise<void> {
    // How that one ends is for those who waited for it. Without one: who writes now comes along.
    await Promise.allSettled([this.#running]);
    this.#next = undefined;
    if (this.isSynced) return;
    this.#running = this.#run();
    await this.#running;
  }

  async #run(): Promise<void> {
    const count = this.#writtenCount;
    try {
      await this.#sync();
      this.#syncedCount = Math.max(this.#syncedCount, count);
    } finally {
      this.#running = undefined;
    }
  }
}
