/** The builder of one data root. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { nextTurn } from "../lib/concurrency/turn.ts";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import { TaskGroup } from "../lib/concurrency/task-group.ts";
import { makeSpreadFolder, removeTree, syncFileSystemAsync } from "../sys/fs/fs.ts";
import { readMountInfo, unmount } from "../sys/mount/mount.ts";
import type {
  BuildRequest,
  BuildResult,
  BuildService,
  CacheRecord,
  ContextFolder,
} from "./build-service.ts";
import { CacheMounts } from "./cache/cache-mounts.ts";
import { CacheTable } from "./cache/cache-table.ts";
import { listCache, pruneCache, type PruneOptions } from "./cache/cache-use.ts";
import type { BuildServiceOptions } from "./environment.ts";
import { unpackContext } from "./context/unpack-context.ts";
import { runBuild } from "./build-run.ts";
import { FailedSteps } from "./failed-steps.ts";
import { StepHistory } from "./progress/step-history.ts";
import { StepImages } from "./step-images.ts";
import { openSolverShared, type SolverShared } from "./solver/solve.ts";
import { stepSnapshotPrefix } from "./step.ts";

/** A builder that is closed with its daemon. */
export interface OpenedBuildService extends BuildService, AsyncDisposable {
  /** Makes the image of a name such as `step/app:3`. @returns false when there is no such step */
  makeStepImage(reference: string): Promise<boolean>;
  /** Removes what is left of failed steps; to be called once containers and images are recovered. */
  sweep(): Promise<void>;
}

/**
 * Opens the builder of a data root.
 *
 * Opened before images are recovered: from here on it holds the layers of its cache.
 */
export function openBuildService(options: BuildServiceOptions): OpenedBuildService {
  return new LocalBuildService(options);
}

class LocalBuildService implements OpenedBuildService {
  readonly #options: BuildServiceOptions;
  readonly #cache: CacheTable;
  readonly #cacheMounts: CacheMounts;
  readonly #failedSteps: FailedSteps;
  readonly #shared: SolverShared;
  readonly #tasks: TaskGroup;
  readonly #builds = new Map<string, AbortController>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(options: BuildServiceOptions) {
    this.#options = options;
    const { metadata, leases, snapshots, logger } = options;
    this.#cache = new CacheTable({ metadata, leases, snapshots });
    this.#cacheMounts = new CacheMounts({ snapshots, table: this.#cache });
    const { removeContainers = async () => await Promise.resolve() } = options;
    this.#failedSteps = new FailedSteps({ ...options, removeContainers });
    this.#shared = openSolverShared({
      options,
      cache: this.#cache,
      cacheMounts: this.#cacheMounts,
      failedSteps: this.#failedSteps,
      stepImages: new StepImages({ ...options, root: join(options.dataRoot, "build", "steps") }),
      history: new StepHistory({ root: join(options.dataRoot, "build", "history"), logger }),
    });
    this.#tasks = new TaskGroup({ onError: (error, name) => logger.warn(name, { error }) });
  }

  async build(given: BuildRequest): Promise<BuildResult> {
    const request = withEpoch(given);
    const stop = new AbortController();
    const signal = AbortSignal.any([request.signal, stop.signal, this.#closing.signal]);
    if (this.#builds.has(request.id)) {
      throw new EngineError("conflict", `build ${request.id} is under way`);
    }
    this.#builds.set(request.id, stop);
    const work = runBuild(this.#shared, { request, signal });
    this.#running.add(work);
    try {
      return await work;
    } catch (error) {
      if (signal.aborted) throw new EngineError("canceled", "context canceled", { cause: error });
      throw error;
    } finally {
      this.#running.delete(work);
      this.#builds.delete(request.id);
      this.#storeLater();
    }
  }

  async makeStepImage(reference: string): Promise<boolean> {
    return await this.#shared.stepImages.make(reference);
  }

  async sweep(): Promise<void> {
    await this.#failedSteps.sweep();
  }

  cancel(id: string): boolean {
    const stop = this.#builds.get(id);
    stop?.abort();
    return stop !== undefined;
  }

  async diskUsage(): Promise<readonly CacheRecord[]> {
    return await listCache(this.#use);
  }

  async prune(options: PruneOptions): ReturnType<BuildService["prune"]> {
    return await pruneCache(this.#use, options);
  }

  async makeContextFolder(): Promise<ContextFolder> {
    const path = join(this.#makeContextRoot(), createId().slice(0, 32));
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return await Promise.resolve({
      path,
      [Symbol.asyncDispose]: async () => await removeTree(path),
    });
  }

  async unpackContext(
    tar: ReadableStream<Uint8Array>,
    options: { readonly signal: AbortSignal },
  ): Promise<ContextFolder> {
    return await unpackContext(this.#options, {
      tar,
      root: this.#makeContextRoot(),
      signal: AbortSignal.any([options.signal, this.#closing.signal]),
    });
  }

  async recover(): Promise<void> {
    const { snapshots, logger, execRoot, dataRoot } = this.#options;
    unmountBelow(join(execRoot, "builds"));
    for (const { key } of snapshots.list()) {
      if (!key.startsWith(stepSnapshotPrefix)) continue;
      try {
        await snapshots.remove(key);
      } catch (error) {
        logger.warn("sweep snapshot of a step", { snapshot: key, error });
      }
    }
    const left = [join(execRoot, "builds"), this.#contextRoot, join(dataRoot, "build", "scratch")];
    for (const folder of left) clearFolder(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new EngineError("canceled", "the daemon is stopping"));
    await Promise.allSettled(this.#running);
    await this.#failedSteps[Symbol.asyncDispose]();
    await this.#tasks.idle();
    await this.#tasks.close();
  }

  #makeContextRoot(): string {
    const root = this.#contextRoot;
    // A folder made where another was removed would be many times slower to fill.
    makeSpreadFolder(root);
    return root;
  }

  get #contextRoot(): string {
    return join(this.#options.dataRoot, "build", "received");
  }

  get #use(): Parameters<typeof listCache>[0] {
    return {
      options: this.#options,
      cache: this.#cache,
      cacheMounts: this.#cacheMounts,
    };
  }

  /** Stores what the cache learned, once its layers are on the disk and the answer is on its way. */
  #storeLater(): void {
    if (this.#tasks.signal.aborted) return;
    const { history } = this.#shared;
    if (history.isChanged) {
      this.#tasks.run("store what steps were made of", async () => {
        // The build's answer goes first.
        await nextTurn();
        history.save();
      });
    }
    const keys = this.#cache.dirtyKeys;
    if (keys.length === 0) return;
    const { hasNew } = this.#cache;
    this.#tasks.run("store the build cache", async () => {
      if (hasNew) {
        await syncFileSystemAsync(this.#options.dataRoot);
        this.#cache.flush(keys);
      } else {
        // A build that found all that it needs has nothing to wait for.
        await nextTurn();
        this.#cache.flushUses();
      }
      const { cacheMaxBytes } = this.#options;
      if (cacheMaxBytes === undefined) return;
      await pruneCache(this.#use, { keepBytes: cacheMaxBytes, filters: new Map() });
    });
  }
}

function clearFolder(folder: string): void {
  let names: readonly string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  for (const name of names) rmSync(join(folder, name), { recursive: true, force: true });
}

/** Takes away mounts that a killed daemon left. */
function unmountBelow(folder: string): void {
  const targets = readMountInfo()
    .map(({ target }) => target)
    .filter((target) => target.startsWith(`${folder}/`));
  for (const target of targets.toSorted((a, b) => b.length - a.length)) {
    try {
      unmount(target, { detach: true });
    } catch (error) {
      throw new EngineError("unavailable", `unmount ${target}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

/** The build argument SOURCE_DATE_EPOCH is the epoch unless the request has one. */
function withEpoch(request: BuildRequest): BuildRequest {
  const text = request.args.get("SOURCE_DATE_EPOCH");
  if (request.sourceDateEpoch !== undefined || text === undefined || text === "") return request;
  const epochS = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(epochS)) {
    throw new EngineError("invalid-argument", `invalid SOURCE_DATE_EPOCH: ${text}`);
  }
  return { ...request, sourceDateEpoch: epochS };
}
