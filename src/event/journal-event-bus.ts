import type { EventMessage } from "../api/system.ts";
import { EngineError } from "../lib/errors.ts";
import type { EventBus, EventInput, EventQuery } from "./event-bus.ts";

/** Events kept for listeners that ask about the past; Docker keeps 256. */
const journalCountDefault = 1024;

/** Events a listener may be behind before it is ended with `unavailable`. */
export const listenerBacklogMax = 4096;

/** Longest time one timer can wait; a later `until` is waited for in several turns. */
const timerMaxMs = 2 ** 31 - 1;

/** How far the monotonic clock may part from the wall clock before it is set anew. */
const clockDriftMaxMs = 5;

/** What `createEventBus` may be told. */
export interface EventBusOptions {
  /** Events in the journal. */
  readonly capacity?: number;
  /** Nanoseconds since 1970; another clock for tests. */
  readonly nowNs?: () => bigint;
}

/**
 * Makes the event bus of one daemon.
 *
 * The journal lives in memory, as Docker's does. Times rise strictly, so that `since` with the time
 * after an event's never misses the next one nor repeats that one.
 */
export function createEventBus(options: EventBusOptions = {}): EventBus {
  return new JournalEventBus(options);
}

class JournalEventBus implements EventBus {
  readonly #capacity: number;
  readonly #nowNs: () => bigint;
  readonly #journal: EventMessage[] = [];
  readonly #listeners = new Set<Listener>();
  #lastNs = 0n;

  constructor(options: EventBusOptions) {
    this.#capacity = options.capacity ?? journalCountDefault;
    this.#nowNs = options.nowNs ?? createClock();
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }

  publish(input: EventInput): void {
    const wantedNs = input.timeNs ?? this.#nowNs();
    const timeNs = wantedNs > this.#lastNs ? wantedNs : this.#lastNs + 1n;
    this.#lastNs = timeNs;
    const event = encodeEvent(input, timeNs);
    this.#journal.push(event);
    if (this.#journal.length > this.#capacity) this.#journal.shift();
    for (const listener of this.#listeners) listener.offer(event);
  }

  subscribe(query: EventQuery = {}): AsyncIterable<EventMessage> {
    const listener = new Listener(query, () => this.#listeners.delete(listener));
    this.#listeners.add(listener);
    // Docker: without `since`, an `until` alone replays nothing.
    const { sinceNs } = query;
    if (sinceNs !== undefined) {
      for (const event of this.#journal) {
        if (event.timeNano >= sinceNs) listener.offer(event);
      }
    }
    listener.start(this.#nowNs);
    return listener;
  }
}

/** One subscription: a bounded queue that is iterated once. */
class Listener implements AsyncIterable<EventMessage>, AsyncIterator<EventMessage> {
  readonly #query: EventQuery;
  readonly #ended: () => void;
  readonly #queue: EventMessage[] = [];
  readonly #waiting: PromiseWithResolvers<IteratorResult<EventMessage>>[] = [];
  #isEnded = false;
  #failure: EngineError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onAbort = (): void => this.#end();

  constructor(query: EventQuery, ended: () => void) {
    this.#query = query;
    this.#ended = ended;
  }

  start(nowNs: () => bigint): void {
    const { signal, untilNs } = this.#query;
    if (signal?.aborted) {
      this.#end();
      return;
    }
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (untilNs === undefined) return;
    const wait = (): void => {
      const leftMs = Number(untilNs - nowNs()) / 1e6;
      if (leftMs <= 0) this.#end();
      else this.#timer = setTimeout(wait, Math.min(Math.ceil(leftMs), timerMaxMs));
    };
    wait();
  }

  offer(event: EventMessage): void {
    if (this.#isEnded) return;
    const { untilNs, matches } = this.#query;
    if (untilNs !== undefined && event.timeNano > untilNs) return;
    if (matches !== undefined && !matches(event)) return;
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: event });
      return;
    }
    if (this.#queue.length < listenerBacklogMax) {
      this.#queue.push(event);
      return;
    }
    this.#failure = new EngineError(
      "unavailable",
      `follow events: the listener is more than ${listenerBacklogMax} events behind`,
    );
    this.#end();
  }

  [Symbol.asyncIterator](): AsyncIterator<EventMessage> {
    return this;
  }

  async next(): Promise<IteratorResult<EventMessage>> {
    const event = this.#queue.shift();
    if (event !== undefined) return { done: false, value: event };
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
    if (this.#isEnded) return { done: true, value: undefined };
    const waiter = Promise.withResolvers<IteratorResult<EventMessage>>();
    this.#waiting.push(waiter);
    return waiter.promise;
  }

  async return(): Promise<IteratorResult<EventMessage>> {
    this.#queue.length = 0;
    this.#end();
    return { done: true, value: undefined };
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#timer);
    this.#query.signal?.removeEventListener("abort", this.#onAbort);
    this.#ended();
    for (const waiter of this.#waiting.splice(0)) waiter.resolve({ done: true, value: undefined });
  }
}

function encodeEvent(input: EventInput, timeNs: bigint): EventMessage {
  const attributes = { ...input.attributes };
  const event = {
    Type: input.type,
    Action: input.action,
    Actor: { ID: input.id, Attributes: attributes },
    scope: "local",
    time: Number(timeNs / 1_000_000_000n),
    timeNano: timeNs,
  } as const;
  // Docker: the fields from before API 1.22, still sent for containers and images in 1.51.
  if (input.type === "container") {
    const image = attributes["image"];
    const legacy = { status: input.action, id: input.id };
    return image ? { ...legacy, from: image, ...event } : { ...legacy, ...event };
  }
  if (input.type === "image") return { status: input.action, id: input.id, ...event };
  return event;
}

/** Wall clock with microseconds: the monotonic clock, set anew when the wall clock was moved. */
function createClock(): () => bigint {
  let wallMs = Date.now();
  let monotonicMs = performance.now();
  return () => {
    const nowMs = Date.now();
    const elapsedMs = performance.now() - monotonicMs;
    if (Math.abs(wallMs + elapsedMs - nowMs) > clockDriftMaxMs) {
      wallMs = nowMs;
      monotonicMs += elapsedMs;
      return BigInt(nowMs) * 1_000_000n;
    }
    return BigInt(wallMs) * 1_000_000n + BigInt(Math.round(elapsedMs * 1000)) * 1000n;
  };
}
