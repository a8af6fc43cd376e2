import type { Shim } from "../../runtime/shim.ts";
import type { WaitResult } from "../container-service.ts";
import type { PendingStream } from "../stream/pending-stream.ts";
import type { ContainerRecord } from "./record.ts";
import type { SpecInput } from "../../runtime/spec/spec-input.ts";

/** What is waited for. `end` is `exit` for who reads along, and will ask for more afterwards. */
export type Moment = "exit" | "end" | "removal";

/** A container in the memory of this daemon: its record, and what no record can hold. */
export class LiveContainer {
  /** The last state; nobody waits for a lock to read it. */
  record: ContainerRecord;
  /** Adopted, from before the start until the end is dealt with. */
  shim: Shim | undefined;
  /** What the running spec was made from; made again after a restart of the daemon. */
  specInput: SpecInput | undefined;
  /** The first process, once it was sent SIGKILL: a pause that is under way must not hold it. */
  killedPid: number | undefined;
  /** A removal has begun; nothing else may. */
  isRemoving = false;
  /** Joined to the shim as soon as there is one. */
  readonly pendingStreams: Set<PendingStream> = new Set();
  readonly execIds: Set<string> = new Set();
  readonly #waiters: Readonly<Record<Moment, Set<(result: WaitResult) => void>>> = {
    exit: new Set(),
    end: new Set(),
    removal: new Set(),
  };

  constructor(record: ContainerRecord) {
    this.record = record;
  }

  get id(): string {
    return this.record.id;
  }

  /** True while there is a process: running or paused. */
  get isRunning(): boolean {
    return this.record.phase === "running" || this.record.phase === "paused";
  }

  /** Calls `waiter` once, at the next such moment. @returns takes it back */
  on(moment: Moment, waiter: (result: WaitResult) => void): () => void {
    this.#waiters[moment].add(waiter);
    return () => this.#waiters[moment].delete(waiter);
  }

  /** Whether anybody waits for it. */
  isAwaited(moment: Moment): boolean {
    return this.#waiters[moment].size > 0;
  }

  /** Resolves at the next such moment. */
  async next(moment: Moment): Promise<void> {
    await new Promise<void>((resolve) => this.on(moment, () => resolve()));
  }

  /** Tells all who wait for it. */
  tell(moment: Moment, result: WaitResult): void {
    const waiters = [...this.#waiters[moment]];
    this.#waiters[moment].clear();
    for (const waiter of waiters) waiter(result);
    if (moment === "exit") this.tell("end", result);
  }

  /**
   * How it ended last, as `wait` answers. Why a start failed is told by the start alone: clients that
   * wait meanwhile would say it twice.
   */
  get lastResult(): WaitResult {
    return { StatusCode: this.record.exitCode };
  }
}
