import { isKind } from "../lib/errors.ts";
import { isTransient } from "./session/registry-fault.ts";
import { canceled } from "./transport/canceled.ts";
import type { TransferProgress } from "./registry-client.ts";

type State = Parameters<TransferProgress>[0];

interface Transfer<T> {
  readonly source: string;
  readonly done: Promise<T>;
  readonly controller: AbortController;
  readonly listeners: Set<TransferProgress>;
  /** Fires when somebody waits who has another source. */
  readonly rival: AbortController;
  /** Whether such a one is let try in its place. */
  readonly mayGiveWay: boolean;
  waitersCount: number;
  last?: State;
}

/** How a transfer is joined. */
export interface JoinOptions<T> {
  /** Where it would come from: what is wrong with one source says nothing of another. */
  readonly source: string;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: TransferProgress | undefined;
  /** Begins the transfer, when it does not run yet. */
  readonly start: (run: {
    readonly signal: AbortSignal;
    readonly progress: TransferProgress;
    /** Fires when another source can be asked: there is no further attempt then, nor a wait for it. */
    readonly rival: AbortSignal;
  }) => Promise<T>;
}

/**
 * Transfers that run once however many want them.
 *
 * One ends when its last waiter has gone. Who joined a transfer that ended for a reason of who began
 * it (its rights, its repository, its source) begins one of its own. A transfer that fails while
 * somebody waits who has another source gives way to that once: a registry that stalls holds up no
 * pull from another.
 */
export class SharedTransfers<T> implements AsyncDisposable {
  readonly #running = new Map<string, Transfer<T>>();
  #isClosed = false;

  /** How many run now. */
  get size(): number {
    return this.#running.size;
  }

  /** @throws what the transfer throws; canceled when `signal` fires, or all is closed */
  async join(key: string, options: JoinOptions<T>): Promise<T> {
    for (let mayGiveWay = true; ; ) {
      if (options.signal?.aborted || this.#isClosed) throw canceled(options.signal);
      const running = this.#running.get(key);
      if (running?.controller.signal.aborted) {
        await settled(running.done);
        continue;
      }
      const transfer = running ?? this.#start(key, { ...options, mayGiveWay });
      try {
        return await this.#wait(transfer, options);
      } catch (error) {
        const hasGivenWay = transfer.rival.signal.aborted && isTransient(error);
        const isOther = running !== undefined && transfer.source !== options.source;
        const isTheirs =
          running !== undefined && isKind(error, "unauthorized", "permission-denied", "not-found");
        if (!hasGivenWay && !isOther && !isTheirs) throw error;
        if (running === undefined) mayGiveWay = false;
        if (!isOther) await nextTurn();
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const transfers = [...this.#running.values()];
    for (const { controller } of transfers) controller.abort(canceled(undefined));
    await Promise.all(transfers.map(async ({ done }) => await settled(done)));
  }

  #start(key: string, options: JoinOptions<T> & { readonly mayGiveWay: boolean }): Transfer<T> {
    const controller = new AbortController();
    const listeners = new Set<TransferProgress>();
    const progress: TransferProgress = (state) => {
      transfer.last = state;
      for (const listener of listeners) listener(state);
    };
    const rival = new AbortController();
    const begin = async (): Promise<T> => {
      try {
        return await options.start({ signal: controller.signal, progress, rival: rival.signal });
      } finally {
        this.#running.delete(key);
      }
    };
    // Begun in the next turn: `transfer` must be there when it tells its first progress.
    const done = Promise.resolve().then(begin);
    const { source, mayGiveWay } = options;
    const run = { source, mayGiveWay, done, controller, listeners, rival };
    const transfer: Transfer<T> = { ...run, waitersCount: 0 };
    this.#running.set(key, transfer);
    return transfer;
  }

  async #wait(transfer: Transfer<T>, options: JoinOptions<T>): Promise<T> {
    const { signal, progress } = options;
    const gone = Promise.withResolvers<never>();
    const leave = (): void => gone.reject(canceled(signal));
    // Told in one place only: two callers may have handed in the same function.
    const listener: TransferProgress = (state) => progress?.(state);
    if (transfer.last !== undefined) listener(transfer.last);
    transfer.listeners.add(listener);
    transfer.waitersCount += 1;
    if (transfer.mayGiveWay && transfer.source !== options.source) transfer.rival.abort();
    signal?.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([transfer.done, gone.promise]);
    } finally {
      signal?.removeEventListener("abort", leave);
      transfer.listeners.delete(listener);
      transfer.waitersCount -= 1;
      if (transfer.waitersCount === 0) {
        transfer.controller.abort(canceled(signal));
        // What was got is laid aside before the caller goes on.
        await settled(transfer.done);
      }
    }
  }
}

/** Lets those go first who have waited for the same. */
async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => void setImmediate(resolve));
}

async function settled(promise: Promise<unknown>): Promise<void> {
  await promise.then(
    () => undefined,
    () => undefined,
  );
}
