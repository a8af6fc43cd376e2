/**
 * What happened, told to whoever listens, and kept for a while for who asks later.
 */
import type { EventMessage, EventType } from "../api/system.ts";

/** One thing that happened, as its publisher says it. */
export interface EventInput {
  /** `container`, `image`, `volume`, `network`, `daemon`, `plugin`, … */
  readonly type: EventType;
  /** `create`, `start`, `die`, `exec_create: sh`, … */
  readonly action: string;
  /** The object's ID or name. */
  readonly id: string;
  readonly attributes?: Readonly<Record<string, string>>;
  /** When it happened, in nanoseconds since 1970; now when absent. */
  readonly timeNs?: bigint;
}

/** Which events a listener wants. */
export interface EventQuery {
  /** Nanoseconds since 1970: events from the journal since then come first. */
  readonly sinceNs?: bigint;
  /** The stream ends when this moment has passed. */
  readonly untilNs?: bigint;
  readonly matches?: (event: EventMessage) => boolean;
  readonly signal?: AbortSignal;
}

/** Publishes events; bounded for slow listeners (a listener too far behind is ended with an error). */
export interface EventBus {
  publish(event: EventInput): void;
  subscribe(query?: EventQuery): AsyncIterable<EventMessage>;
  /** Listeners now; for `info`. */
  readonly listenerCount: number;
}
