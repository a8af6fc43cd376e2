import { EngineError } from "../errors.ts";

/** What a group needs to know. */
export interface TaskGroupOptions {
  /** Told of each task that failed; not of tasks that failed because the group was closed. */
  readonly onError: (error: unknown, name: string) => void;
}

/**
 * Owns background work: every promise nobody awaits belongs to one, and ends with it.
 *
 * Closing fires the signal that each task got and waits until all of them have ended.
 */
export class TaskGroup implements AsyncDisposable {
  readonly #running = new Set<Promise<void>>();
  readonly #controller = new AbortController();
  readonly #options: TaskGroupOptions;

  constructor(options: TaskGroupOptions) {
    this.#options = options;
  }

  /** Fires when the group is closed. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** How many tasks run now. */
  get size(): number {
    return this.#running.size;
  }

  /**
   * Starts `work` and owns it.
   *
   * @param name what to call it when it fails
   * @throws canceled when the group is closed
   */
  run(name: string, work: (signal: AbortSignal) => Promise<void>): void {
    if (this.signal.aborted) throw new EngineError("canceled", `start ${name}: already closing`);
    const task = this.#guard(name, work).finally(() => this.#running.delete(task));
    this.#running.add(task);
  }

  /** Waits until no task runs, without asking any to stop. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Asks all tasks to stop and waits for them; safe to call again. */
  async close(): Promise<void> {
    this.#controller.abort(new EngineError("canceled", "closing"));
    await this.idle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #guard(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await work(this.signal);
    } catch (error) {
      if (!this.signal.aborted) this.#options.onError(error, name);
    }
  }
}
