/** The builder of one data root. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { codeOf, EngineError, isKind, messageOf } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import { createMatcher } from "../lib/ignore-patterns.ts";
import { TaskGroup } from "../lib/task-group.ts";
import type { Digest } from "../oci/digest.ts";
import { imagePlatform } from "../oci/image-config.ts";
import { hostPlatform, type Platform } from "../oci/platform.ts";
import { syncFileSystemAsync } from "../sys/fs.ts";
import { readMountInfo, unmount } from "../sys/mount.ts";
import type {
  BuildRequest,
  BuildResult,
  BuildService,
  BuildWarning,
  CacheRecord,
  ContextFolder,
} from "./build-service.ts";
import { BuildSources } from "./build-sources.ts";
import { CacheMounts } from "./cache-mounts.ts";
import { CacheTable } from "./cache-table.ts";
import { ClassicNarrator, type NarratedImage } from "./_classic-narrator.ts";
import { listCache, pruneCache, type PruneOptions } from "./cache-use.ts";
import { lintDockerfile, lintViolation } from "./dockerfile/lint.ts";
import { parseDockerfile } from "./dockerfile/parse.ts";
import { pictureOf } from "../lib/source-picture.ts";
import type { BuildServiceOptions } from "./environment.ts";
import { unpackContext } from "./unpack-context.ts";
import { type Exported, exportResults, type PlatformResult } from "./export.ts";
import { placeOf } from "./failure.ts";
import { type Graph, planGraph } from "./graph.ts";
import type { Dockerfile } from "./dockerfile/instruction.ts";
import { Progress } from "./progress.ts";
import { pushCache, RemoteCaches, type RemoteCacheUse } from "./remote-cache.ts";
import type { MadeLayer } from "./step.ts";
import { envOf } from "./_stage-planner.ts";
import { answerBeforeBuild, answerCheck } from "./subrequests.ts";
import { openSolverShared, Solver, type SolverShared, stepSnapshotPrefix } from "./solve.ts";

/** A builder that is closed with its daemon. */
export interface OpenedBuildService extends BuildService, AsyncDisposable {}

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
    this.#shared = openSolverShared({
      options,
      cache: this.#cache,
      cacheMounts: this.#cacheMounts,
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
    const work = this.#build(request, signal);
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
    const path = join(this.#contextRoot, createId().slice(0, 32));
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return await Promise.resolve({
      path,
      async [Symbol.asyncDispose]() {
        await Promise.resolve(rmSync(path, { recursive: true, force: true }));
      },
    });
  }

  async unpackContext(
    tar: ReadableStream<Uint8Array>,
    options: { readonly signal: AbortSignal },
  ): Promise<ContextFolder> {
    return await unpackContext(this.#options, {
      tar,
      root: this.#contextRoot,
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
    await this.#tasks.idle();
    await this.#tasks.close();
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

  async #build(request: BuildRequest, signal: AbortSignal): Promise<BuildResult> {
    const { leases } = this.#options;
    const leaseId = leases.create();
    // The first failure ends the rest of the build.
    const failing = new AbortController();
    const both = AbortSignal.any([signal, failing.signal]);
    const narrator = new ClassicNarrator(request.progress);
    const progress = new Progress((event) => {
      request.progress(event);
      narrator.hear(event);
    });
    const sources = new BuildSources(this.#options, { request, progress, leaseId, signal: both });
    const cacheUse: RemoteCacheUse = { request, progress, leaseId, signal: both };
    const caches = new RemoteCaches(this.#options, cacheUse);
    const solver = new Solver(this.#shared, {
      request,
      progress,
      leaseId,
      signal: both,
      caches,
      onBegun: (step) => narrator.begun(step),
    });
    const kept: NarratedImage[] = [];
    const parts: BuildParts = {
      request,
      progress,
      sources,
      solver,
      narrator,
      failing,
      kept,
      caches,
      cacheUse,
    };
    let dockerfile: Dockerfile | undefined;
    try {
      const bytes = await sources.readDockerfile();
      dockerfile = parseDockerfile(bytes);
      return await this.#solveAll(dockerfile, { ...parts, bytes });
    } catch (error) {
      failing.abort();
      await this.#keepSteps(parts);
      throw withPicture(error, { dockerfile, request });
    } finally {
      await solver.idle();
      solver[Symbol.dispose]();
      await sources[Symbol.asyncDispose]();
      leases.remove(leaseId);
    }
  }

  async #solveAll(
    dockerfile: Dockerfile,
    parts: BuildParts & { readonly bytes: Uint8Array },
  ): Promise<BuildResult> {
    const { bytes } = parts;
    const { request, progress, solver, sources, narrator, failing } = parts;
    const answers = answerBeforeBuild(dockerfile, { request, bytes });
    if (answers !== undefined) return { metadata: {}, warnings: [], answers };
    const platforms = request.platforms.length === 0 ? [hostPlatform()] : request.platforms;
    const ignored = sources.readIgnored();
    ignored.catch(() => undefined);
    const graphs: Graph[] = [];
    for (const platform of platforms) {
      graphs.push(await planGraph(graphInput(dockerfile, { parts, platform, platforms })));
    }
    await Promise.all([ignored, parts.caches.open()]);
    const warnings = checkAndTell(dockerfile, { parts, graphs });
    const violation = lintViolation(dockerfile, { warnings });
    if (request.subrequest === "check") {
      return { metadata: {}, warnings, answers: answerCheck({ request, bytes, warnings }) };
    }
    if (violation !== undefined) throw violation;
    for (const { steps } of graphs) {
      for (const step of steps) {
        const inputs = [...(step.below === undefined ? [] : [step.below]), ...step.reads];
        progress.announce({
          digest: step.digest,
          name: step.name,
          inputs: inputs.map(({ digest }) => digest),
        });
      }
    }
    const [first] = graphs;
    const narrated =
      first === undefined
        ? Promise.resolve()
        : narrator.narrate(first, {
            solve: async (step) => await solver.solve(step),
            keep: (made) => void parts.kept.push(made),
          });
    narrated.catch(() => undefined);
    const results = await settleAll(
      graphs.map(async (graph): Promise<PlatformResult> => {
        const { last } = graph;
        const result = last === undefined ? undefined : await solver.solve(last);
        return { graph, result: result ?? { layers: [], isCached: true } };
      }),
      failing,
    );
    await narrated;
    const parentId = await this.#keepSteps(parts);
    return { ...(await this.#export(results, { ...parts, parentId })), warnings };
  }

  /** Makes images of what instructions came to. @returns the last one */
  async #keepSteps({ request, kept }: BuildParts): Promise<Digest | undefined> {
    let parentId: Digest | undefined;
    if (request.keepsSteps !== true) return parentId;
    for (const { config, layers } of kept.splice(0)) {
      const made = await this.#options.images.create({
        config,
        layers,
        names: [],
        ...(parentId === undefined ? {} : { parentId }),
      });
      parentId = made.id;
    }
    return parentId;
  }

  async #export(
    results: readonly PlatformResult[],
    parts: BuildParts & { readonly parentId: Digest | undefined },
  ): Promise<BuildResult> {
    const { request, progress, failing, parentId } = parts;
    const keys = this.#cache.dirtyKeys;
    const signal = AbortSignal.any([request.signal, failing.signal, this.#closing.signal]);
    const exported: Exported = await exportResults(
      {
        options: this.#options,
        request,
        progress,
        signal,
        ...(parentId === undefined ? {} : { parentId }),
        ...(request.cacheTo.some(({ type }) => type === "inline")
          ? { inlineLayers: ownLayers(results, parts.solver.layers) }
          : {}),
      },
      results,
    );
    await this.#exportCaches(results, parts);
    // An image is stored after a sync of the whole file system.
    if (exported.imageId !== undefined) this.#cache.flush(keys);
    return { ...exported, warnings: [] };
  }

  /** Sends caches to where they are wanted: with `min` those of the result's own layers alone. */
  async #exportCaches(results: readonly PlatformResult[], parts: BuildParts): Promise<void> {
    const { request, solver, cacheUse } = parts;
    for (const place of request.cacheTo) {
      if (place.type === "inline") continue;
      if (place.type === "local") {
        throw new EngineError(
          "not-implemented",
          "a cache of type local is not written yet: use registry or inline",
        );
      }
      const layers = place.mode === "max" ? solver.layers : ownLayers(results, solver.layers);
      await pushCache(this.#options, cacheUse, { place, layers });
    }
  }

  /** Stores what the cache learned, once its layers are on the disk. */
  #storeLater(): void {
    const keys = this.#cache.dirtyKeys;
    if (keys.length === 0 || this.#tasks.signal.aborted) return;
    this.#tasks.run("store the build cache", async () => {
      await syncFileSystemAsync(this.#options.dataRoot);
      this.#cache.flush(keys);
      const { cacheMaxBytes } = this.#options;
      if (cacheMaxBytes === undefined) return;
      await pruneCache(this.#use, { keepBytes: cacheMaxBytes, filters: new Map() });
    });
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

interface BuildParts {
  readonly request: BuildRequest;
  readonly progress: Progress;
  readonly sources: BuildSources;
  readonly solver: Solver;
  readonly narrator: ClassicNarrator;
  readonly failing: AbortController;
  /** What instructions came to, in order. */
  readonly kept: NarratedImage[];
  readonly caches: RemoteCaches;
  readonly cacheUse: RemoteCacheUse;
}

function graphInput(
  dockerfile: Dockerfile,
  wanted: {
    readonly parts: BuildParts;
    readonly platform: Platform;
    readonly platforms: readonly Platform[];
  },
): Parameters<typeof planGraph>[0] {
  const { request, sources } = wanted.parts;
  return {
    dockerfile,
    ...(request.target === undefined ? {} : { target: request.target }),
    platform: wanted.platform,
    buildPlatform: hostPlatform(),
    args: request.args,
    labels: request.labels,
    hasNoCache: request.hasNoCache,
    noCacheStages: request.noCacheStages,
    network: request.network,
    extraHosts: request.extraHosts,
    allows: request.allows,
    showsPlatform: wanted.platforms.length > 1,
    sources: sources.forGraph,
  };
}

/** Of layers by key those that the results have. */
function ownLayers(
  results: readonly PlatformResult[],
  layers: ReadonlyMap<Digest, MadeLayer>,
): ReadonlyMap<Digest, MadeLayer> {
  const chains = new Set(
    results.flatMap(({ result }) => result.layers.map(({ chainId }) => chainId)),
  );
  return new Map([...layers].filter(([, { chainId }]) => chains.has(chainId)));
}

/** Tells what is valid in a Dockerfile and most likely not meant. */
function checkAndTell(
  dockerfile: Dockerfile,
  at: { readonly parts: BuildParts; readonly graphs: readonly Graph[] },
): readonly BuildWarning[] {
  const { request, progress, sources } = at.parts;
  const [graph] = at.graphs;
  const warnings = lintDockerfile(dockerfile, {
    args: request.args,
    ...(request.target === undefined ? {} : { target: request.target }),
    ...(graph === undefined ? {} : { platform: graph.platform }),
    baseImage: (index) => {
      const image = graph?.baseImages.get(index);
      if (image === undefined) return undefined;
      const { Env = [], Shell } = image.config.config ?? {};
      return {
        env: envOf(Env),
        ...(Shell === undefined ? {} : { shell: Shell }),
        platform: imagePlatform(image.config),
      };
    },
    ...(sources.ignored.length === 0 ? {} : { ignore: createMatcher(sources.ignored) }),
  });
  const digest = sources.dockerfileVertex;
  for (const warning of warnings) {
    progress.tell({ kind: "warning", warning, ...(digest === undefined ? {} : { digest }) });
  }
  return warnings;
}

/** Waits for all; the first failure stops the rest, and is thrown when they have ended. */
async function settleAll<T>(
  work: readonly Promise<T>[],
  failing: AbortController,
): Promise<readonly T[]> {
  const reasons: unknown[] = [];
  const values = await Promise.all(
    work.map(async (each) => {
      try {
        return [await each];
      } catch (error) {
        reasons.push(error);
        failing.abort();
        return [];
      }
    }),
  );
  if (reasons.length > 0) {
    throw reasons.find((reason) => !isKind(reason, "canceled")) ?? reasons[0];
  }
  return values.flat();
}

/** Adds to a failure the lines of the Dockerfile that it comes from. */
function withPicture(
  error: unknown,
  at: { readonly dockerfile: Dockerfile | undefined; readonly request: BuildRequest },
): unknown {
  const place = placeOf(error);
  const { dockerfile, request } = at;
  if (!(error instanceof EngineError) || place === undefined || dockerfile === undefined) {
    return error;
  }
  const name = request.dockerfileName;
  const picture = pictureOf(dockerfile.lines, place, name === undefined ? {} : { name });
  return new EngineError(error.kind, error.message, {
    cause: error.cause ?? error,
    details: { ...error.details, picture },
  });
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
