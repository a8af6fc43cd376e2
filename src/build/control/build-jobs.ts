/** The builds of clients that speak BuildKit's protocol: those under way, and those that were. */
import type { SolveRequest } from "../../api/buildkit/control.ts";
import type { GatewaySolveRequest, ReturnRequest } from "../../api/buildkit/gateway.ts";
import type { SourceInfo } from "../../api/buildkit/llb.ts";
import { EngineError } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { BuildHistory, type BuildOutcome } from "./build-history.ts";
import { ProgressLog } from "./progress-log.ts";

/** How long a call waits for the build that it names: it may come before the build does. */
const jobWaitMs = 10_000;
/** How long an ended build's progress can be asked for. */
const endedKeptMs = 30_000;
const refLengthMax = 256;

/** A result that a client holds by name, and that is made when it is used. */
export interface PendingResult {
  readonly id: string;
  readonly request: GatewaySolveRequest;
  /** Set once another build has asked for it: the ID of its image. */
  image: Promise<Digest> | undefined;
}

/** One build. */
export class BuildJob {
  readonly request: SolveRequest;
  readonly progress: ProgressLog;
  /** What the client gave back, when it drives the build itself. */
  readonly returned: PromiseWithResolvers<ReturnRequest> = Promise.withResolvers<ReturnRequest>();
  readonly results: Map<string, PendingResult> = new Map();
  /** The Dockerfile, once it was read: for pictures of its lines. */
  source: SourceInfo | undefined;
  readonly #abort = new AbortController();

  constructor(request: SolveRequest) {
    this.request = request;
    this.progress = new ProgressLog({ source: () => this.source });
    this.returned.promise.catch(() => undefined);
  }

  /** Fires when the build is canceled. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Cancels the build. */
  cancel(): void {
    const reason = new EngineError("canceled", "context canceled");
    this.#abort.abort(reason);
    this.returned.reject(reason);
  }
}

/** All of them. */
export class BuildJobs {
  /** Those that were, too. */
  readonly history: BuildHistory = new BuildHistory();
  readonly #jobs = new Map<string, BuildJob>();
  readonly #active = new Set<BuildJob>();
  readonly #waiting = new Set<() => void>();

  /** Those under way. */
  get active(): ReadonlySet<BuildJob> {
    return this.#active;
  }

  /**
   * Opens a build under the client's name of it.
   *
   * @throws invalid-argument without a name, already-exists when the name is in use
   */
  open(request: SolveRequest): BuildJob {
    const { ref } = request;
    if (ref === "" || ref.length > refLengthMax) {
      throw new EngineError("invalid-argument", "solve: the build has no ref");
    }
    if (this.#jobs.has(ref)) throw new EngineError("already-exists", `job ID ${ref} exists`);
    const job = new BuildJob(request);
    this.#jobs.set(ref, job);
    this.#active.add(job);
    this.history.start(job);
    for (const wake of this.#waiting) wake();
    return job;
  }

  /** Ends a build; its progress stays for a while, and as long as its record. */
  end(job: BuildJob, outcome: BuildOutcome): void {
    job.progress.end();
    this.#active.delete(job);
    this.history.complete(job, outcome);
    const timer = setTimeout(() => this.#jobs.delete(job.request.ref), endedKeptMs);
    timer.unref();
  }

  /**
   * The build of a name, waited for when it is not there yet.
   *
   * @throws not-found when it does not come in time
   */
  async get(ref: string, signal: AbortSignal): Promise<BuildJob> {
    const end = performance.now() + jobWaitMs;
    for (;;) {
      const job = this.#jobs.get(ref) ?? this.history.find(ref);
      if (job !== undefined) return job;
      const leftMs = end - performance.now();
      if (leftMs <= 0 || signal.aborted) {
        throw new EngineError("not-found", `no such job ${ref.slice(0, refLengthMax)}`);
      }
      const change = Promise.withResolvers<void>();
      this.#waiting.add(change.resolve);
      const timer = setTimeout(change.resolve, leftMs);
      const stop = (): void => change.resolve();
      signal.addEventListener("abort", stop, { once: true });
      await change.promise;
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      this.#waiting.delete(change.resolve);
    }
  }

  /** A result that some build under way holds. */
  findResult(id: string): { readonly job: BuildJob; readonly result: PendingResult } | undefined {
    for (const job of this.#active) {
      const result = job.results.get(id);
      if (result !== undefined) return { job, result };
    }
    return undefined;
  }
}
