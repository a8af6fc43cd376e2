import { EngineError } from "../../lib/errors.ts";

/** One asker's part in a piece of work. */
export interface SharedAsker<E> {
  readonly signal: AbortSignal;
  /** Told what happens, from the beginning of the work, also to who came later. */
  readonly onEvent: (event: E) => void;
}

/** Does the work. `signal` fires when nobody waits for it any more. */
export type SharedTask<T, E> = (how: {
  readonly signal: AbortSignal;
  readonly tell: (event: E) => void;
}) => Promise<T>;

interface Flight<T, E> {
  readonly promise: Promise<T>;
  readonly controller: AbortController;
  readonly askers: Set<SharedAsker<E>>;
  readonly told: E[];
}

/**
 * Work that is done once however many ask for it at the same time.
 *
 * It goes on as long as one of them waits. Who asks while a canceled one is still ending waits for
 * its end and has it done anew.
 */
export class SharedWork<T, E> {
  readonly #flights = new Map<string, Flight<T, E>>();

  /** How many keys are worked on. */
  get size(): number {
    return this.#flights.size;
  }

  /** @throws canceled as soon as the asker's signal fires; what the work throws */
  async run(key: string, asker: SharedAsker<E>, task: SharedTask<T, E>): Promise<T> {
    for (;;) {
      if (asker.signal.aborted) throw canceled();
      const known = this.#flights.get(key);
      if (known === undefined) return await this.#join(this.#start(key, task), asker);
      if (!known.controller.signal.aborted) return await this.#join(known, asker);
      await Promise.allSettled([known.promise]);
    }
  }

  #start(key: string, task: SharedTask<T, E>): Flight<T, E> {
    const controller = new AbortController();
    const askers = new Set<SharedAsker<E>>();
    const told: E[] = [];
    const tell = (event: E): void => {
      told.push(event);
      for (const asker of askers) asker.onEvent(event);
    };
    const promise = task({ signal: controller.signal, tell }).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    const flight: Flight<T, E> = { promise, controller, askers, told };
    this.#flights.set(key, flight);
    return flight;
  }

  async #join(flight: Flight<T, E>, asker: SharedAsker<E>): Promise<T> {
    for (const event of flight.told) asker.onEvent(event);
    flight.askers.add(asker);
    const leave = (): void => {
      flight.askers.delete(asker);
      if (flight.askers.size === 0) flight.controller.abort(canceled());
    };
    asker.signal.addEventListener("abort", leave, { once: true });
    if (asker.signal.aborted) leave();
    try {
      // A canceled step is waited for: when the build has ended, nothing of it runs any more.
      const result = await flight.promise.catch((error: unknown) => {
        throw asker.signal.aborted ? canceled() : error;
      });
      if (asker.signal.aborted) throw canceled();
      return result;
    } finally {
      asker.signal.removeEventListener("abort", leave);
      flight.askers.delete(asker);
    }
  }
}

function canceled(): EngineError {
  return new EngineError("canceled", "context canceled");
}
