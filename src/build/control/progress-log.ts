/**
 * What a build has told of itself, for clients that watch from its beginning, late or not.
 *
 * Steps and their parts are told as they are now; output is kept up to a bound, and the oldest of it
 * is given up first. A client that reads slowly misses output, never the state of a step.
 */
import {
  type StatusResponse,
  timestampOfNs,
  type Vertex,
  type VertexLog,
  type VertexStatus,
  type VertexWarning,
} from "../../api/buildkit/control.ts";
import type { SourceInfo } from "../../api/buildkit/llb.ts";
import type { Digest } from "../../oci/digest.ts";
import type { BuildEvent, BuildWarning } from "../build-service.ts";

/** Output that is kept for who comes late or reads slowly. */
const logMaxBytes = 8 * 1024 * 1024;
/** Output in one answer: clients read messages of at most 4 MiB. */
const answerMaxBytes = 1024 * 1024;
/** Changes that come close together are told together. */
const gatherMs = 20;
const clipped = Buffer.from("[output clipped: the client reads too slowly]\n");

/** Source of warnings' pictures. */
export type WarningSource = () => SourceInfo | undefined;

/** Steps of a build, counted. */
export interface StepCounts {
  readonly total: number;
  readonly completed: number;
  readonly cached: number;
  readonly warnings: number;
}

/** The progress of one build. */
export class ProgressLog {
  readonly #vertexes = new Map<string, Vertex>();
  readonly #statuses = new Map<string, VertexStatus>();
  readonly #warnings: VertexWarning[] = [];
  readonly #logs: VertexLog[] = [];
  /** How many entries of the log were given up. */
  #logStart = 0;
  #logBytes = 0;
  #isEnded = false;
  readonly #watchers = new Set<Watcher>();
  readonly #source: WarningSource;

  constructor(options: { readonly source?: WarningSource } = {}) {
    this.#source = options.source ?? ((): undefined => undefined);
  }

  /** Size of the output that is kept. */
  get outputBytes(): number {
    return this.#logBytes;
  }

  /** How many steps there are, and how far they are. */
  get steps(): StepCounts {
    const vertexes = [...this.#vertexes.values()];
    const completed = vertexes.filter(({ completed: at }) => at !== undefined);
    return {
      total: vertexes.length,
      completed: completed.length,
      cached: completed.filter(({ cached }) => cached).length,
      warnings: this.#warnings.length,
    };
  }

  /** Takes an event in. */
  push(event: BuildEvent): void {
    if (this.#isEnded) return;
    switch (event.kind) {
      case "vertex": {
        const { digest, name, inputs } = event.vertex;
        this.#change(digest, { name, inputs });
        break;
      }
      case "started":
        this.#change(event.digest, {
          started: timeOf(event.atNs),
          completed: undefined,
          error: "",
        });
        break;
      case "completed":
        this.#complete(event);
        break;
      case "status":
        this.#setStatus(event);
        break;
      case "log":
        this.#addLog({
          vertex: event.digest,
          timestamp: timeOf(event.atNs),
          stream: event.stream === "stdout" ? 1 : 2,
          msg: event.bytes,
        });
        break;
      case "warning":
        this.#addWarning(event.warning, event.digest);
        break;
      case "classic":
        break;
    }
  }

  /** No more will come: watchers end once they have all. Steps that still run are canceled. */
  end(): void {
    if (this.#isEnded) return;
    const now = timestampOfNs(BigInt(Date.now()) * 1_000_000n);
    for (const [digest, vertex] of this.#vertexes) {
      if (vertex.started === undefined || vertex.completed !== undefined) continue;
      this.#change(digest, { completed: now, error: "context canceled" });
    }
    this.#isEnded = true;
    this.#wake();
    for (const { hurry } of this.#watchers) hurry?.();
  }

  /** All answers that a watcher gets, until the build has ended. */
  async *watch(signal: AbortSignal): AsyncGenerator<Partial<StatusResponse>, void, undefined> {
    const watcher: Watcher = {
      vertexes: new Set(this.#vertexes.keys()),
      statuses: new Set(this.#statuses.keys()),
      warningAt: 0,
      logAt: 0,
      wake: undefined,
      hurry: undefined,
    };
    this.#watchers.add(watcher);
    const stop = (): void => {
      watcher.wake?.();
      watcher.hurry?.();
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        const answer = this.#take(watcher);
        if (answer !== undefined) {
          yield answer;
          continue;
        }
        if (this.#isEnded) return;
        const change = Promise.withResolvers<void>();
        watcher.wake = change.resolve;
        await change.promise;
        watcher.wake = undefined;
        await this.#gather(watcher);
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.#watchers.delete(watcher);
    }
  }

  /** Waits for what comes close behind; not when nothing more will come, or nobody listens. */
  async #gather(watcher: Watcher): Promise<void> {
    if (this.#isEnded) return;
    const over = Promise.withResolvers<void>();
    watcher.hurry = over.resolve;
    const timer = setTimeout(over.resolve, gatherMs);
    await over.promise;
    clearTimeout(timer);
    watcher.hurry = undefined;
  }

  #complete(event: Extract<BuildEvent, { readonly kind: "completed" }>): void {
    const at = timeOf(event.atNs);
    const before = this.#vertexes.get(event.digest);
    this.#change(event.digest, {
      started: before?.started ?? at,
      completed: at,
      cached: event.isCached,
      error: event.error ?? "",
    });
    for (const [key, status] of this.#statuses) {
      if (status.vertex !== event.digest || status.completed !== undefined) continue;
      this.#statuses.set(key, { ...status, completed: at });
      for (const watcher of this.#watchers) watcher.statuses.add(key);
    }
  }

  #change(digest: Digest | string, change: Partial<Vertex>): void {
    const before = this.#vertexes.get(digest) ?? { ...emptyVertex, digest };
    this.#vertexes.set(digest, { ...before, ...change });
    for (const watcher of this.#watchers) watcher.vertexes.add(digest);
    this.#wake();
  }

  #setStatus(event: Extract<BuildEvent, { readonly kind: "status" }>): void {
    const key = `${event.digest} ${event.id}`;
    const at = timeOf(event.atNs);
    const before = this.#statuses.get(key);
    this.#statuses.set(key, {
      id: event.id,
      vertex: event.digest,
      name: event.name,
      current: event.current,
      total: event.total,
      timestamp: at,
      started: before?.started ?? at,
      completed: event.isCompleted ? at : undefined,
    });
    for (const watcher of this.#watchers) watcher.statuses.add(key);
    this.#wake();
  }

  #addLog(entry: VertexLog): void {
    this.#logs.push(entry);
    this.#logBytes += entry.msg.length;
    let dropCount = 0;
    while (this.#logBytes > logMaxBytes && dropCount < this.#logs.length - 1) {
      this.#logBytes -= this.#logs[dropCount]?.msg.length ?? 0;
      dropCount += 1;
    }
    if (dropCount > 0) {
      this.#logs.splice(0, dropCount);
      this.#logStart += dropCount;
    }
    this.#wake();
  }

  #addWarning(warning: BuildWarning, digest: Digest | undefined): void {
    const { rule, detail, startLine, endLine } = warning;
    const position = (line: number) => ({ line, character: 0 });
    const [first] = this.#vertexes.keys();
    this.#warnings.push({
      vertex: digest ?? first ?? "",
      level: 1,
      // BuildKit, linter.LintFormatShort
      short: Buffer.from(`${rule}: ${detail}${startLine > 0 ? ` (line ${startLine})` : ""}`),
      detail: [Buffer.from(warning.description)],
      url: warning.url,
      info: this.#source(),
      ranges: [{ start: position(startLine), end: position(endLine) }],
    });
    this.#wake();
  }

  #wake(): void {
    for (const { wake } of this.#watchers) wake?.();
  }

  /** What a watcher has not been told yet; undefined when it has all. */
  #take(watcher: Watcher): Partial<StatusResponse> | undefined {
    const vertexes = [...watcher.vertexes].flatMap((digest) => this.#vertexes.get(digest) ?? []);
    const statuses = [...watcher.statuses].flatMap((key) => this.#statuses.get(key) ?? []);
    watcher.vertexes.clear();
    watcher.statuses.clear();
    const warnings = this.#warnings.slice(watcher.warningAt);
    watcher.warningAt = this.#warnings.length;
    const logs = this.#takeLogs(watcher);
    const count = vertexes.length + statuses.length + warnings.length + logs.length;
    return count === 0 ? undefined : { vertexes, statuses, warnings, logs };
  }

  #takeLogs(watcher: Watcher): readonly VertexLog[] {
    const logs: VertexLog[] = [];
    if (watcher.logAt < this.#logStart) {
      const next = this.#logs[0];
      if (next !== undefined) logs.push({ ...next, msg: clipped });
      watcher.logAt = this.#logStart;
    }
    for (let sizeBytes = 0; sizeBytes < answerMaxBytes; ) {
      const entry = this.#logs[watcher.logAt - this.#logStart];
      if (entry === undefined) break;
      logs.push(entry);
      sizeBytes += entry.msg.length;
      watcher.logAt += 1;
    }
    return logs;
  }
}

interface Watcher {
  /** What has changed since the last answer. */
  readonly vertexes: Set<string>;
  readonly statuses: Set<string>;
  warningAt: number;
  logAt: number;
  wake: (() => void) | undefined;
  /** Ends the wait for more. */
  hurry: (() => void) | undefined;
}

const emptyVertex: Vertex = {
  digest: "",
  inputs: [],
  name: "",
  cached: false,
  started: undefined,
  completed: undefined,
  error: "",
  progressGroup: undefined,
};

function timeOf(ns: string): ReturnType<typeof timestampOfNs> {
  return timestampOfNs(BigInt(ns));
}
