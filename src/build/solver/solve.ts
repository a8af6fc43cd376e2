/**
 * Runs the steps of a build: each when those it needs are done, independent ones at the same time.
 *
 * 1. What a step stands on and reads is made first.
 * 2. Its content key is made; if the cache has a result, that is it.
 * 3. Else it is done: a new snapshot is filled, hashed, and committed under its chain ID.
 *
 * A step that several builds want at the same time is done once. When the last of them loses
 * interest it is killed, and its snapshot goes.
 */
import { EngineError, isKind, messageOf } from "../../lib/errors.ts";
import { Semaphore } from "../../lib/concurrency/semaphore.ts";
import { nowNs } from "../../lib/time.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { commitLayer } from "../../snapshot/commit-layer.ts";
import type { BuildExplainer } from "../progress/build-explainer.ts";
import type { CacheMounts } from "../cache/cache-mounts.ts";
import type { CacheTable } from "../cache/cache-table.ts";
import { copyEarly, type EarlyCopy, type EarlyCopyRequest, prepareStep } from "./_early-copy.ts";
import { type ChecksumReader, readContents } from "./_step-contents.ts";
import { copyStep, folderStep } from "./copy-step.ts";
import type { BuildServiceOptions, BuildWork } from "../environment.ts";
import { debugStatusId, type FailedSteps, type HeldStep } from "../failed-steps.ts";
import { hinted, placed } from "../failure.ts";
import type { RemoteCaches } from "../cache/remote-caches.ts";
import { runStep } from "./run-step.ts";
import { SharedWork } from "./_shared-work.ts";
import { stepKey } from "../step-key.ts";
import type { StepHistory } from "../progress/step-history.ts";
import type { StepImages } from "../step-images.ts";
import { type BuiltLayer, chainIdOf, type MadeLayer, type Step, type StepResult } from "../step.ts";

/** Steps that run at the same time on one machine, of all builds together. */
export const stepsMax = 8;
/** Layers that the kernel can stack in one overlay. */
const layersMax = 500;

/** What happens in a step that may be shared. */
type StepEvent =
  | { readonly kind: "begun" }
  | {
      readonly kind: "output";
      readonly stream: "stdout" | "stderr";
      readonly bytes: Uint8Array;
    };

/** What a shared step made, or found. */
interface Layered {
  readonly layer: MadeLayer;
  readonly isCached: boolean;
}

/** What all builds of one data root share. */
export interface SolverShared {
  readonly options: BuildServiceOptions;
  readonly cache: CacheTable;
  readonly cacheMounts: CacheMounts;
  readonly history: StepHistory;
  readonly stepImages: StepImages;
  readonly failedSteps: FailedSteps;
  readonly running: SharedWork<Layered, StepEvent>;
  readonly places: Semaphore;
}

/** Makes what all builds share. */
export function openSolverShared(shared: Omit<SolverShared, "running" | "places">): SolverShared {
  return { ...shared, running: new SharedWork(), places: new Semaphore(stepsMax) };
}

/** How one build is solved. */
export interface SolveOptions extends BuildWork {
  readonly caches: RemoteCaches;
  /** Told when a step is really done, not found. */
  readonly onBegun?: (step: Step) => void;
  readonly explainer?: BuildExplainer;
}

/** Solves the steps of one build. Closing it lets go of what it used. */
export class Solver implements Disposable {
  readonly #shared: SolverShared;
  readonly #options: SolveOptions;
  readonly #results = new Map<Digest, Promise<StepResult>>();
  readonly #keys = new Map<Digest, string>();
  readonly #used: string[] = [];
  readonly #layers = new Map<Digest, MadeLayer>();
  readonly #checksums: ChecksumReader;

  constructor(shared: SolverShared, options: SolveOptions) {
    this.#shared = shared;
    this.#options = options;
    this.#checksums = { ...shared.options, signal: options.signal };
  }

  [Symbol.dispose](): void {
    for (const key of this.#used.splice(0)) this.#shared.cache.release(key);
  }

  /** Resolves when no step of this build runs any more. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#results.values());
  }

  /** The result of a step; each is done once. @throws what went wrong first, with its place */
  async solve(step: Step): Promise<StepResult> {
    const known = this.#results.get(step.digest);
    if (known !== undefined) return await known;
    const result = this.#solve(step);
    this.#results.set(step.digest, result);
    return await result;
  }

  async #solve(step: Step): Promise<StepResult> {
    switch (step.action.kind) {
      case "scratch":
        return { layers: [], isCached: true };
      case "image":
        return this.#image(step, step.action.image.layers);
      case "context":
        return await this.#context(step);
      case "run":
      case "copy":
      case "workdir":
        return await this.#change(step);
    }
  }

  #image(step: Step, layers: readonly BuiltLayer[]): StepResult {
    const { leases } = this.#shared.options;
    for (const { chainId } of layers) leases.add(this.#options.leaseId, `snapshot:${chainId}`);
    this.#begin(step);
    this.#options.progress.completed(step.digest, { isCached: true });
    return { layers, isCached: true };
  }

  async #context(step: Step): Promise<StepResult> {
    const { action } = step;
    if (action.kind !== "context") throw new EngineError("internal", "the step is no context");
    const { progress, signal } = this.#options;
    this.#begin(step);
    try {
      const vertex = progress.of(step.digest);
      const { path: contextPath, ...more } = await action.context.open({ signal, vertex });
      progress.completed(step.digest);
      return { layers: [], contextPath, ...more, isCached: false };
    } catch (error) {
      progress.completed(step.digest, { error: messageOf(error) });
      throw placed(error, step.location);
    }
  }

  /** A step that makes a layer. */
  async #change(step: Step): Promise<StepResult> {
    const { progress } = this.#options;
    const [below, results] = await this.#needs(step);
    let hasBegun = false;
    let explain: ((made: { isCached: boolean; layer?: MadeLayer }) => void) | undefined;
    try {
      if (below.layers.length >= layersMax) {
        throw new EngineError(
          "invalid-argument",
          `the image would have more than ${layersMax} layers`,
        );
      }
      const files = new Map<number, string>();
      const noteFiles = (index: number, lines: string): void => void files.set(index, lines);
      const reader = { ...this.#checksums, noteFiles };
      await using early = await this.#copyEarly(step, { below, results });
      if (early?.files !== undefined) noteFiles(0, early.files);
      const contents = early?.contents ?? (await readContents(reader, { step, results }));
      const { sourceDateEpoch: epochS } = this.#options.request;
      const key = stepKey(step.action, {
        below: chainIdOf(below),
        contents,
        ...(epochS === undefined ? {} : { epochS }),
      });
      this.#keys.set(step.digest, key);
      this.#begin(step);
      hasBegun = true;
      explain = (made) =>
        this.#options.explainer?.note(step, {
          ...{ key, below: chainIdOf(below), contents, files },
          ...made,
        });
      const { layer, isCached } = await this.#layer(step, { key, below, results, early });
      this.#hold(key, layer);
      explain({ isCached, layer });
      this.#layers.set(key, layer);
      progress.completed(step.digest, { isCached });
      return { layers: [...below.layers, layer], isCached };
    } catch (failure) {
      const error = hinted(failure, step.hint);
      if (!hasBegun) this.#begin(step);
      explain?.({ isCached: false });
      progress.completed(step.digest, { error: messageOf(error) });
      throw placed(error, step.location);
    }
  }

  /** Not where a remote cache may have the step: what it takes to copy may be more than that. */
  async #copyEarly(
    step: Step,
    on: Pick<EarlyCopyRequest, "below" | "results">,
  ): Promise<EarlyCopy | undefined> {
    const { options } = this.#shared;
    const { request, signal } = this.#options;
    const { sourceDateEpoch: epochS } = request;
    if (request.cacheFrom.length > 0) return undefined;
    const epoch = epochS === undefined ? {} : { epochS };
    return await copyEarly(options, { step, ...on, ...epoch, signal });
  }

  async #needs(step: Step): Promise<[StepResult, ReadonlyMap<Step, StepResult>]> {
    const wanted = [...(step.below === undefined ? [] : [step.below]), ...step.reads];
    // All are waited for, so that nothing goes on when this has failed.
    const solved = await Promise.allSettled(wanted.map(async (each) => await this.solve(each)));
    const results = new Map<Step, StepResult>();
    for (const [index, each] of solved.entries()) {
      if (each.status === "rejected") throw each.reason;
      const from = wanted[index];
      if (from !== undefined) results.set(from, each.value);
    }
    const below = step.below === undefined ? undefined : results.get(step.below);
    return [below ?? { layers: [], isCached: true }, results];
  }

  #begin(step: Step): void {
    const { progress } = this.#options;
    const inputs = [...(step.below === undefined ? [] : [step.below]), ...step.reads];
    progress.announce({
      digest: step.digest,
      name: step.name,
      inputs: inputs.map(({ digest }) => digest),
    });
    progress.started(step.digest);
  }

  #hold(key: string, layer: MadeLayer): void {
    const { options, cache } = this.#shared;
    options.leases.add(this.#options.leaseId, `snapshot:${layer.chainId}`);
    cache.use(key);
    this.#used.push(key);
  }

  async #layer(
    step: Step,
    how: {
      readonly key: Digest;
      readonly below: StepResult;
      readonly results: ReadonlyMap<Step, StepResult>;
      readonly early: EarlyCopy | undefined;
    },
  ): Promise<Layered> {
    const { running } = this.#shared;
    const { key, below } = how;
    if (!step.isCacheIgnored) {
      const known = this.#cached(key, below);
      if (known !== undefined) return known;
    }
    const { signal, progress, request } = this.#options;
    const vertex = progress.of(step.digest);
    // A build without cache must not get what another began before it.
    // One that is debugged is its own client's.
    const isOwn = step.isCacheIgnored || request.debug !== undefined;
    const name = isOwn ? `${key} ${request.id}` : key;
    return await running.run(
      name,
      {
        signal,
        onEvent: (event) => {
          if (event.kind === "output") vertex.log(event.stream, event.bytes);
          else this.#options.onBegun?.(step);
        },
      },
      async ({ signal: shared, tell }) => {
        if (!step.isCacheIgnored) {
          const known = this.#cached(key, below);
          if (known !== undefined) return known;
        }
        const { leases } = this.#shared.options;
        // Not the build's own: that may end before the others that wait for this.
        const leaseId = leases.create();
        try {
          const brought = step.isCacheIgnored
            ? undefined
            : await this.#options.caches.find(key, { below, leaseId, vertex, signal: shared });
          if (brought !== undefined) {
            this.#remember(step, { key, layer: brought });
            return { layer: brought, isCached: true };
          }
          const layer = await this.#shared.places.run(async () => {
            tell({ kind: "begun" });
            return await this.#execute(step, { ...how, leaseId, signal: shared, tell });
          });
          this.#remember(step, { key, layer });
          return { layer, isCached: false };
        } finally {
          leases.remove(leaseId);
        }
      },
    );
  }

  #remember(step: Step, made: { readonly key: Digest; readonly layer: MadeLayer }): void {
    this.#shared.cache.put(made.key, {
      type: "regular",
      description: step.description.slice(0, descriptionCharsMax),
      parents: this.#parentsOf(step),
      layer: made.layer,
    });
  }

  /** Layers of all steps of this build so far, by their content keys. */
  get layers(): ReadonlyMap<Digest, MadeLayer> {
    return this.#layers;
  }

  #cached(key: Digest, below: StepResult): Layered | undefined {
    const { cache } = this.#shared;
    const layer = cache.find(key)?.layer;
    if (layer === undefined) return undefined;
    // The key names the file system below; its layers must be there as they were.
    const stack = [chainIdOf(below), layer.diffId].filter((part) => part !== undefined);
    const expected = stack.length === 1 ? layer.diffId : digestOf(stack.join(" "));
    if (layer.chainId !== expected) return undefined;
    cache.touch(key);
    return { layer, isCached: true };
  }

  #parentsOf(step: Step): readonly string[] {
    const { below } = step;
    const key = below === undefined ? undefined : this.#keys.get(below.digest);
    return key === undefined ? [] : [key];
  }

  /** Fills a snapshot, hashes it and commits it; nothing is left of it after a failure. */
  async #execute(
    step: Step,
    how: {
      readonly below: StepResult;
      readonly results: ReadonlyMap<Step, StepResult>;
      readonly early: EarlyCopy | undefined;
      readonly leaseId: string;
      readonly signal: AbortSignal;
      readonly tell: (event: StepEvent) => void;
    },
  ): Promise<MadeLayer> {
    const { options } = this.#shared;
    const { signal, below } = how;
    if (signal.aborted) throw new EngineError("canceled", "context canceled");
    const parent = chainIdOf(below);
    const filledKey = how.early?.take();
    const snapshotKey = filledKey ?? (await prepareStep(options.snapshots, parent));
    let held: HeldStep | undefined;
    const onHeld = (given: HeldStep): void => {
      held = given;
    };
    const commit = { parent, leaseId: how.leaseId, signal };
    try {
      if (filledKey === undefined) await this.#fill(step, { ...how, snapshotKey, onHeld });
      return await this.#commit(snapshotKey, commit);
    } catch (error) {
      if (held !== undefined) await this.#keepFailed(step, { ...how, held, snapshotKey, commit });
      await options.snapshots.remove(snapshotKey);
      throw fullDisk(error);
    }
  }

  /** Lets the client look into a step that failed. What goes wrong here hides no failure. */
  async #keepFailed(
    step: Step,
    failed: {
      readonly below: StepResult;
      readonly results: ReadonlyMap<Step, StepResult>;
      readonly held: HeldStep;
      readonly snapshotKey: string;
      readonly commit: CommitPlan;
    },
  ): Promise<void> {
    const { action, platform } = step;
    const { debug } = this.#options.request;
    const { held } = failed;
    await using undo = new AsyncDisposableStack();
    undo.use(held);
    if (debug === undefined || action.kind !== "run") return;
    const { failedSteps, options } = this.#shared;
    try {
      const layer = await this.#commit(failed.snapshotKey, failed.commit);
      undo.move();
      const offer = await failedSteps.keep({
        debug,
        run: action.run,
        platform,
        layers: [...failed.below.layers, layer],
        shown: [...failed.results.values()].flatMap((result) => chainIdOf(result) ?? []),
        held,
      });
      const name = JSON.stringify(offer);
      this.#options.progress.state(step.digest, { id: debugStatusId, name });
    } catch (error) {
      options.logger.warn("keep a failed step", { step: step.name, error });
    }
  }

  async #fill(
    step: Step,
    how: {
      readonly onHeld: (held: HeldStep) => void;
      readonly snapshotKey: string;
      readonly results: ReadonlyMap<Step, StepResult>;
      readonly signal: AbortSignal;
      readonly tell: (event: StepEvent) => void;
    },
  ): Promise<void> {
    const { options, cacheMounts } = this.#shared;
    const { snapshotKey, results, signal, tell } = how;
    const { action } = step;
    const { request } = this.#options;
    const { sourceDateEpoch: epochS } = request;
    const epoch = epochS === undefined ? {} : { epochS };
    if (action.kind === "run") {
      await runStep(
        { ...options, cacheMounts },
        {
          run: action.run,
          platform: step.platform,
          snapshotKey,
          results,
          build: request,
          onOutput: (stream, bytes) => tell({ kind: "output", stream, bytes }),
          ...(request.debug === undefined ? {} : { onHeld: how.onHeld }),
          signal,
        },
      );
    } else if (action.kind === "copy") {
      await copyStep(options, {
        copy: action.copy,
        snapshotKey,
        results,
        ...epoch,
        signal,
      });
    } else if (action.kind === "workdir") {
      await folderStep(options, { ...action, snapshotKey, ...epoch, signal });
    }
  }

  async #commit(snapshotKey: string, how: CommitPlan): Promise<MadeLayer> {
    const { snapshots, hasher, leases } = this.#shared.options;
    const { parent, signal } = how;
    const { sourceDateEpoch: epochS } = this.#options.request;
    const epoch = epochS === undefined ? {} : { epochS };
    const hashed = await hasher.hash({ ...snapshots.layersOf(snapshotKey), ...epoch }, { signal });
    const { diffId, tarSizeBytes, sizeBytes } = hashed;
    const chainId = parent === undefined ? diffId : digestOf(`${parent} ${diffId}`);
    leases.add(how.leaseId, `snapshot:${chainId}`);
    await commitLayer(snapshots, snapshotKey, { chainId, sizeBytes });
    return { chainId, diffId, tarSizeBytes, sizeBytes, ...epoch, createdNs: nowNs().toString() };
  }
}

interface CommitPlan {
  readonly parent: Digest | undefined;
  readonly leaseId: string;
  readonly signal: AbortSignal;
}

const descriptionCharsMax = 1000;

function fullDisk(error: unknown): unknown {
  const isFull = /ENOSPC|EDQUOT|no space left on device/i.test(messageOf(error));
  if (!isFull || isKind(error, "unavailable")) return error;
  return new EngineError("unavailable", "no space left on device: the step has filled the disk", {
    cause: error,
    ...(error instanceof EngineError ? { details: error.details } : {}),
  });
}
