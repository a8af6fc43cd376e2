/** Starts shims, keeps spares warm, finds those of an earlier daemon again. */
import { EngineError, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { expectStart } from "./cgroup-warmth.ts";
import type { ShimConnection } from "./_shim-connection.ts";
import { noteSpare } from "./_shim-cleanup.ts";
import { ShimFolders } from "./_shim-folders.ts";
import { type ShimProgram, startShim } from "./_shim-start.ts";
import { cleanUpOrTell, recoverShim } from "./_shim-recovery.ts";
import { ShimClient, type ShimClientOptions } from "./shim-client.ts";
import type { AcquireOptions, RecoveredShim, Shim, ShimPool } from "./shim.ts";

/** Shims being started at the same time; most of a start is waiting for the kernel. */
const startingCountMax = 4;
/**
 * Spares kept after a burst: as many as containers were started within the window and still ran at
 * its end. One container after the other is no burst, its shim serves again.
 */
const burstSpareCountMax = 32;
const burstWindowMs = 1000;
/** How long a burst is remembered. */
const burstMemoryMs = 60_000;
/** A start uses both processors for about this long. */
const replenishDelayMs = 30;
/** With a spare left, a container that ends within this time gives its shim back first. */
const renewalWaitMs = 300;
/** Containers that one shim serves at the most, one after the other. */
const servedCountMax = 100;
const spareCountDefault = 2;
/** Starts of shims that may fail one after the other before that is told to who waits. */
const startFailureCountMax = 4;
/** Shims that may be lost while a container takes one. */
const takeAttemptCountMax = 8;

/** What `openShimPool` needs. */
export interface ShimPoolOptions extends ShimProgram {
  /** The pool's folder is `<execRoot>/shims`; short, as socket paths are at most 107 bytes. */
  readonly execRoot: string;
  readonly logger: Logger;
  /** Spares kept at rest; 2 when absent. */
  readonly spareCount?: number;
}

type KnownShim = Parameters<ShimPool["recover"]>[0][number];

/** Opens the pool and begins to start spares. */
export function openShimPool(options: ShimPoolOptions): ShimPool {
  return new SpareShimPool(options);
}

class SpareShimPool implements ShimPool {
  readonly #options: ShimPoolOptions;
  readonly #folders: ShimFolders;
  readonly #spares: ShimClient[] = [];
  readonly #waiting: PromiseWithResolvers<ShimClient>[] = [];
  readonly #taken = new Set<ShimClient>();
  #startingCount = 0;
  #renewingCount = 0;
  /** When containers were started that have not ended since, by their IDs. */
  readonly #recentStarts = new Map<string, number>();
  #wantedCount: number;
  #isClosed = false;
  #calm: ReturnType<typeof setTimeout> | undefined;
  #soon: ReturnType<typeof setTimeout> | undefined;
  #failureCount = 0;

  constructor(options: ShimPoolOptions) {
    this.#options = options;
    this.#folders = new ShimFolders(options.execRoot);
    this.#wantedCount = options.spareCount ?? spareCountDefault;
    this.#replenish();
  }

  async acquire(containerId: string, options: AcquireOptions = {}): Promise<Shim> {
    expectStart();
    this.#noteStart(containerId);
    for (let attempt = 1; ; attempt += 1) {
      const shim = await this.#take();
      const [adopted, prepared] = await Promise.allSettled([
        shim.adopt(containerId),
        options.meanwhile?.(shim),
      ]);
      if (adopted.status === "fulfilled" && prepared.status === "fulfilled") {
        this.#taken.add(shim);
        return shim;
      }
      const error: unknown = failureOf(adopted) ?? failureOf(prepared);
      // Nothing of the container is in it yet: where it is lost, another does as well.
      const isLost = adopted.status === "rejected" || (await shim.isLostUnstarted());
      const reason = messageOf(error);
      if (isLost) this.#options.logger.warn("a spare shim is lost", { shim: shim.name, reason });
      await this.#discard(shim);
      if (!isLost || attempt === takeAttemptCountMax || this.#isClosed) throw error;
    }
  }

  async recover(known: readonly KnownShim[]): Promise<readonly RecoveredShim[]> {
    const found = await Promise.all(known.map((each) => this.#recoverOne(each)));
    for (const name of this.#folders.unknown(known.map((each) => each.name))) {
      await this.#removeUnknown(name);
    }
    return found;
  }

  async #discard(shim: ShimClient): Promise<void> {
    try {
      await shim.discard();
    } catch (error) {
      this.#options.logger.error("end a spare shim", { shim: shim.name, error });
    }
  }

  async forget(name: string): Promise<void> {
    for (const shim of this.#taken) if (shim.name === name) this.#taken.delete(shim);
    await this.#folders.remove(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#calm);
    clearTimeout(this.#soon);
    for (const call of this.#waiting.splice(0)) call.reject(closed());
    // Spares end with their connection, shims of containers live on.
    for (const shim of this.#spares.splice(0)) shim.disconnect();
    for (const shim of this.#taken) shim.disconnect();
    this.#taken.clear();
  }

  async #take(): Promise<ShimClient> {
    if (this.#isClosed) throw closed();
    // The one that has served last is the one whose code and pages are still near.
    for (let spare = this.#spares.pop(); spare !== undefined; spare = this.#spares.pop()) {
      if (!spare.isAlive) {
        spare.onSpareLost();
        continue;
      }
      this.#replenishSoon();
      return spare;
    }
    const call = Promise.withResolvers<ShimClient>();
    this.#waiting.push(call);
    this.#replenish();
    return await call.promise;
  }

  /** More spares for a while: who starts many containers at once does so again. */
  #noteStart(containerId: string): void {
    const now = performance.now();
    for (const [id, atMs] of this.#recentStarts) {
      if (now - atMs >= burstWindowMs) this.#recentStarts.delete(id);
    }
    this.#recentStarts.set(containerId, now);
    const restCount = this.#options.spareCount ?? spareCountDefault;
    const burstCount = Math.min(this.#recentStarts.size, burstSpareCountMax);
    if (burstCount <= Math.max(this.#wantedCount, restCount)) return;
    this.#wantedCount = burstCount;
    clearTimeout(this.#calm);
    this.#calm = setTimeout(() => {
      this.#wantedCount = restCount;
      for (const spare of this.#spares.splice(restCount)) {
        this.#folders.leave(spare.name);
        spare.disconnect();
      }
    }, burstMemoryMs);
    this.#calm.unref();
  }

  /** The container that was just given a shim goes first, unless more are waiting for theirs. */
  #replenishSoon(): void {
    clearTimeout(this.#soon);
    const delayMs = this.#spares.length > 0 ? renewalWaitMs : replenishDelayMs;
    this.#soon = setTimeout(() => this.#replenish(), delayMs);
  }

  /** A shim whose container has ended becomes a spare again where one is wanted, or goes. */
  #retire(shim: ShimClient): void {
    this.#recentStarts.delete(shim.containerId);
    const thereCount = this.#spares.length + this.#startingCount + this.#renewingCount;
    const isWanted = this.#waiting.length > 0 || thereCount < this.#wantedCount;
    if (this.#isClosed || !isWanted || shim.servedCount >= servedCountMax) shim.disconnect();
    else void this.#renew(shim);
  }

  async #renew(ended: ShimClient): Promise<void> {
    const { name, directory } = this.#folders.make();
    this.#renewingCount += 1;
    try {
      noteSpare(directory, ended);
      const connection = await ended.renew(directory);
      const servedCount = ended.servedCount + 1;
      this.#offer(this.#client(connection, { name, directory, pid: ended.pid, servedCount }));
    } catch (error) {
      // It has served, and another takes its place: nothing is lost but the saving.
      this.#options.logger.debug("shim is not renewed", { shim: ended.name, error });
      await this.#folders.remove(name);
    } finally {
      this.#renewingCount -= 1;
      ended.disconnect();
    }
    this.#replenish();
  }

  #replenish(): void {
    if (this.#isClosed) return;
    // While somebody waits nothing is started for the shelf.
    const missing = (): number =>
      this.#waiting.length > 0
        ? this.#waiting.length - this.#startingCount
        : this.#wantedCount - this.#spares.length - this.#startingCount - this.#renewingCount;
    while (missing() > 0 && this.#startingCount < startingCountMax) {
      this.#startingCount += 1;
      void this.#startOne();
    }
  }

  async #startOne(): Promise<void> {
    try {
      const { connection, ...shim } = await startShim(this.#options, this.#folders);
      this.#offer(this.#client(connection, shim));
      this.#failureCount = 0;
    } catch (error) {
      this.#failureCount += 1;
      // Told once: a pool that cannot start shims would say so again and again.
      if (this.#failureCount === 1) this.#options.logger.error("start shim", { error });
      if (this.#failureCount >= startFailureCountMax) {
        for (const call of this.#waiting.splice(0)) call.reject(error);
      }
    } finally {
      this.#startingCount -= 1;
    }
    if (this.#failureCount < startFailureCountMax) this.#replenish();
  }

  #offer(shim: ShimClient): void {
    if (this.#isClosed) {
      shim.disconnect();
      return;
    }
    shim.onSpareLost = () => {
      const index = this.#spares.indexOf(shim);
      if (index >= 0) this.#spares.splice(index, 1);
      void this.#folders.remove(shim.name);
    };
    const call = this.#waiting.shift();
    if (call === undefined) this.#spares.push(shim);
    else call.resolve(shim);
  }

  #client(
    connection: ShimConnection,
    shim: Pick<ShimClientOptions, "directory" | "name" | "pid" | "servedCount">,
  ): ShimClient {
    const { logger } = this.#options;
    return new ShimClient(connection, { ...shim, logger, retire: (ended) => this.#retire(ended) });
  }

  async #recoverOne({ name, containerId }: KnownShim): Promise<RecoveredShim> {
    const directory = this.#folders.path(name);
    const open = (connection: ShimConnection, pid: number): ShimClient => {
      const shim = this.#client(connection, { directory, name, pid });
      shim.adopted(containerId);
      return shim;
    };
    const { logger } = this.#options;
    const found = await recoverShim({ containerId, directory }, { open, logger });
    if (found.kind === "running") this.#taken.add(found.shim);
    return found;
  }

  /** A shim that no container knows: its start was never acknowledged. */
  async #removeUnknown(name: string): Promise<void> {
    const directory = this.#folders.path(name);
    await cleanUpOrTell(directory, this.#options.logger);
    await this.#folders.remove(name);
  }
}

function failureOf(settled: PromiseSettledResult<unknown>): unknown {
  return settled.status === "rejected" ? settled.reason : undefined;
}

function closed(): EngineError {
  return new EngineError("unavailable", "start shim: the daemon is stopping");
}
