/**
 * The builds that there were, with what they printed. Kept in memory, so they go with the engine.
 *
 * The oldest are forgotten first when there are too many, or their output is too long; those that a
 * person has pinned stay.
 */
import {
  type HistoryBlob,
  type HistoryEvent,
  historyEvents,
  type HistoryRecord,
  type HistoryResult,
} from "../../api/buildkit/history.ts";
import { timestampOfNs } from "../../api/buildkit/control.ts";
import { EngineError } from "../../lib/errors.ts";
import type { RpcStatus } from "../../lib/grpc/status.ts";
import { nowNs } from "../../lib/time.ts";
import type { BuildJob } from "./build-jobs.ts";

/** How a build has ended. */
export interface BuildOutcome {
  readonly error?: RpcStatus;
  readonly response: ReadonlyMap<string, string>;
  /** What can be read of the result. */
  readonly blobs?: readonly OutcomeBlob[];
}

/** A document of a result. */
export interface OutcomeBlob {
  readonly kind: "result" | "attestation";
  /** `linux/arm64`, of a build for several platforms. */
  readonly platform?: string;
  readonly descriptor: HistoryBlob;
  readonly bytes: Uint8Array;
}

/** What of them is kept. */
export interface HistoryLimits {
  readonly countMax: number;
  /** Of all that they printed, together. */
  readonly outputMaxBytes: number;
}

/** What engines keep. */
export const historyLimits: HistoryLimits = { countMax: 100, outputMaxBytes: 32 * 1024 * 1024 };
/** Events that wait for one listener. */
const queueMax = 1000;

interface Entry {
  readonly job: BuildJob;
  readonly startedNs: bigint;
  completedNs: bigint | undefined;
  outcome: BuildOutcome;
  generation: number;
  isPinned: boolean;
}

type Listener = (event: HistoryEvent) => void;

/** All of them. */
export class BuildHistory {
  readonly #limits: HistoryLimits;
  /** By ref, the oldest first. */
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<Listener>();

  constructor(limits: HistoryLimits = historyLimits) {
    this.#limits = limits;
  }

  /** Hears of a build that begins. One that a client runs for itself alone is none. */
  start(job: BuildJob): void {
    const { ref, internal } = job.request;
    if (internal) return;
    const entry: Entry = {
      job,
      startedNs: nowNs(),
      completedNs: undefined,
      outcome: { response: new Map() },
      generation: 1,
      isPinned: false,
    };
    this.#entries.delete(ref);
    this.#entries.set(ref, entry);
    this.#tell(historyEvents.started, recordOf(entry));
  }

  /** Hears of its end. */
  complete(job: BuildJob, outcome: BuildOutcome): void {
    const entry = this.#entries.get(job.request.ref);
    if (entry?.job !== job) return;
    entry.completedNs = nowNs();
    entry.outcome = outcome;
    this.#tell(historyEvents.completed, recordOf(entry));
    this.#trim();
  }

  /** A build that has ended, or runs. */
  find(ref: string): BuildJob | undefined {
    return this.#entries.get(ref)?.job;
  }

  /** All records, the newest first. */
  list(): readonly HistoryEvent[] {
    return [...this.#entries.values()].toReversed().map((entry) => ({
      type: entry.completedNs === undefined ? historyEvents.started : historyEvents.completed,
      record: recordOf(entry),
    }));
  }

  /** A document of some record. */
  findBlob(digest: string): OutcomeBlob | undefined {
    for (const { outcome } of this.#entries.values()) {
      const blob = outcome.blobs?.find(({ descriptor }) => descriptor.digest === digest);
      if (blob !== undefined) return blob;
    }
    return undefined;
  }

  /** @throws not-found for a build that is not here */
  pin(ref: string, isPinned: boolean): void {
    const entry = this.#get(ref);
    entry.isPinned = isPinned;
    entry.generation += 1;
    if (entry.completedNs !== undefined) this.#tell(historyEvents.completed, recordOf(entry));
    this.#trim();
  }

  /** Forgets a build. @throws not-found, conflict for one that runs */
  remove(ref: string): void {
    const entry = this.#get(ref);
    if (entry.completedNs === undefined) {
      throw new EngineError("conflict", `cannot delete running build ${ref}`);
    }
    this.#forget(entry);
  }

  /** All events from now on, until the signal fires. */
  async *listen(signal: AbortSignal): AsyncGenerator<HistoryEvent, void, undefined> {
    const queue: HistoryEvent[] = [];
    let wake = (): void => undefined;
    const listener: Listener = (event) => {
      // Who reads too slowly misses the oldest.
      if (queue.length >= queueMax) queue.shift();
      queue.push(event);
      wake();
    };
    this.#listeners.add(listener);
    const stop = (): void => wake();
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        const event = queue.shift();
        if (event !== undefined) {
          yield event;
          continue;
        }
        const change = Promise.withResolvers<void>();
        wake = change.resolve;
        await change.promise;
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", stop);
    }
  }

  #get(ref: string): Entry {
    const entry = this.#entries.get(ref);
    if (entry !== undefined) return entry;
    throw new EngineError("not-found", `no build record ${ref.slice(0, 256)}`);
  }

  #trim(): void {
    const ended = [...this.#entries.values()].filter(
      ({ completedNs, isPinned }) => completedNs !== undefined && !isPinned,
    );
    let count = this.#entries.size;
    let outputBytes = 0;
    for (const { job } of this.#entries.values()) outputBytes += job.progress.outputBytes;
    for (const entry of ended) {
      if (count <= this.#limits.countMax && outputBytes <= this.#limits.outputMaxBytes) return;
      count -= 1;
      outputBytes -= entry.job.progress.outputBytes;
      this.#forget(entry);
    }
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.job.request.ref);
    this.#tell(historyEvents.deleted, recordOf(entry));
  }

  #tell(type: number, record: HistoryRecord): void {
    for (const listener of this.#listeners) listener({ type, record });
  }
}

function recordOf(entry: Entry): HistoryRecord {
  const { job, outcome, completedNs } = entry;
  const { ref, frontend, frontendAttrs, exporters, exporter, exporterAttrs } = job.request;
  const { steps } = job.progress;
  const platforms = (outcome.blobs ?? []).flatMap(({ platform }) => platform ?? []);
  return {
    ref,
    frontend,
    frontendAttrs,
    exporters:
      exporters.length > 0 || exporter === ""
        ? exporters
        : [{ type: exporter, attrs: exporterAttrs }],
    error: outcome.error,
    createdAt: timestampOfNs(entry.startedNs),
    completedAt: completedNs === undefined ? undefined : timestampOfNs(completedNs),
    exporterResponse: outcome.response,
    result: resultOf(outcome.blobs ?? [], undefined),
    results: new Map(
      platforms.flatMap((platform) => {
        const result = resultOf(outcome.blobs ?? [], platform);
        return result === undefined ? [] : [[platform, result] as const];
      }),
    ),
    generation: entry.generation,
    pinned: entry.isPinned,
    cachedSteps: steps.cached,
    totalSteps: steps.total,
    completedSteps: steps.completed,
    warnings: steps.warnings,
  };
}

function resultOf(
  all: readonly OutcomeBlob[],
  platform: string | undefined,
): HistoryResult | undefined {
  const blobs = all.filter((blob) => blob.platform === platform);
  if (blobs.length === 0) return undefined;
  const of = (wanted: OutcomeBlob["kind"]): readonly HistoryBlob[] =>
    blobs.filter(({ kind }) => kind === wanted).map(({ descriptor }) => descriptor);
  return {
    attestations: of("attestation"),
    results: of("result").map((blob, number) => ({ number, blob })),
  };
}
