/** One build, from its Dockerfile to its outputs. */
import { EngineError, isKind } from "../lib/errors.ts";
import { createMatcher } from "../lib/pattern/ignore-patterns.ts";
import { nowNs } from "../lib/time.ts";
import { pictureOf } from "../lib/source-picture.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { imagePlatform } from "../oci/image-config.ts";
import { hostPlatform, type Platform } from "../oci/platform.ts";
import { BuildExplainer } from "./progress/build-explainer.ts";
import type { BuildRequest, BuildResult, BuildWarning } from "./build-service.ts";
import { BuildSources } from "./context/build-sources.ts";
import { ClassicNarrator, type NarratedImage } from "./progress/classic-narrator.ts";
import { parseCheck } from "./dockerfile/directives.ts";
import type { Directives, Dockerfile } from "./dockerfile/instruction.ts";
import { checkDockerfile, lintViolation } from "./lint/lint.ts";
import { parseDockerfile } from "./dockerfile/parse.ts";
import { checkSyntax } from "./dockerfile/syntax.ts";
import type { BuildWork } from "./environment.ts";
import { exportResults } from "./export/export.ts";
import { describeProvenance } from "./attestation/attest.ts";
import type { ExportOptions, PlatformResult } from "./export/result.ts";
import { placeOf } from "./failure.ts";
import { type Graph, planGraph } from "./graph/graph.ts";
import { Progress } from "./progress/progress.ts";
import { RemoteCaches } from "./cache/remote-caches.ts";
import { writeCache } from "./cache/write-cache.ts";
import { Solver, type SolverShared } from "./solver/solve.ts";
import { squashResult } from "./squash.ts";
import { envOf } from "./graph/stage-planner.ts";
import type { MadeLayer } from "./step.ts";
import { answerBeforeBuild, answerCheck } from "./subrequests.ts";

/**
 * Builds.
 *
 * When this returns or throws, nothing of the build runs any more.
 *
 * @throws what went wrong first, with `details.location` and `details.picture` where it has a place
 */
export async function runBuild(
  shared: SolverShared,
  build: { readonly request: BuildRequest; readonly signal: AbortSignal },
): Promise<BuildResult> {
  const { leases } = shared.options;
  const leaseId = leases.create();
  try {
    return await new BuildRun(shared, { ...build, leaseId }).run();
  } finally {
    leases.remove(leaseId);
  }
}

/** Begins the IDs of states that tell by which name an instruction's result can be run. */
const stepStatusId = "tug.step ";

class BuildRun {
  readonly #shared: SolverShared;
  readonly #request: BuildRequest;
  /** Fires at the end of the caller's patience, and at the first failure. */
  readonly #signal: AbortSignal;
  readonly #failing = new AbortController();
  readonly #leaseId: string;
  readonly #progress: Progress;
  readonly #narrator: ClassicNarrator;
  readonly #sources: BuildSources;
  readonly #caches: RemoteCaches;
  readonly #cacheUse: BuildWork;
  readonly #solver: Solver;
  readonly #explainer: BuildExplainer;
  readonly #startedNs = nowNs();
  #dockerfile: Uint8Array = new Uint8Array();
  /** What instructions came to, in order. */
  readonly #kept: NarratedImage[] = [];

  constructor(
    shared: SolverShared,
    build: {
      readonly request: BuildRequest;
      readonly signal: AbortSignal;
      readonly leaseId: string;
    },
  ) {
    const { request, leaseId } = build;
    const signal = AbortSignal.any([build.signal, this.#failing.signal]);
    const narrator = new ClassicNarrator(request.progress);
    const progress = new Progress((event) => {
      request.progress(event);
      narrator.hear(event);
    });
    const use = { request, progress, leaseId, signal };
    this.#shared = shared;
    this.#request = request;
    this.#signal = signal;
    this.#leaseId = leaseId;
    this.#progress = progress;
    this.#narrator = narrator;
    this.#sources = new BuildSources(shared.options, use);
    this.#cacheUse = use;
    this.#caches = new RemoteCaches(shared.options, use);
    this.#explainer = new BuildExplainer(shared.history, {
      request,
      progress,
      contextName: () => this.#sources.contextName,
    });
    this.#solver = new Solver(shared, {
      ...use,
      explainer: this.#explainer,
      caches: this.#caches,
      onBegun: (step) => narrator.begun(step),
    });
  }

  async run(): Promise<BuildResult> {
    let dockerfile: Dockerfile | undefined;
    try {
      const bytes = await this.#sources.readDockerfile();
      this.#dockerfile = bytes;
      dockerfile = parseDockerfile(bytes);
      // The classic builder has no frontends.
      if (this.#request.keepsSteps !== true) {
        const { args } = this.#request;
        checkSyntax(args.get("BUILDKIT_SYNTAX") ?? dockerfile.directives.syntax);
      }
      const result = await this.#build(dockerfile, bytes);
      await this.#noteSteps(result.imageId);
      return result;
    } catch (error) {
      this.#failing.abort();
      await this.#keepSteps();
      await this.#noteSteps(undefined);
      throw withPicture(error, { dockerfile, request: this.#request });
    } finally {
      await this.#solver.idle();
      this.#solver[Symbol.dispose]();
      await this.#sources[Symbol.asyncDispose]();
    }
  }

  async #build(dockerfile: Dockerfile, bytes: Uint8Array): Promise<BuildResult> {
    const request = this.#request;
    const answers = answerBeforeBuild(dockerfile, { request, bytes });
    if (answers !== undefined) return { metadata: {}, warnings: [], answers };
    const check = lintOptionsOf(request);
    const { graphs, refusal } = await this.#planOrRefuse(dockerfile);
    const warnings = checkAndTell(dockerfile, {
      request,
      progress: this.#progress,
      sources: this.#sources,
      graphs,
      ...check,
    });
    if (request.subrequest === "check") {
      const found = { request, bytes, warnings, ...(refusal === undefined ? {} : { refusal }) };
      return { metadata: {}, warnings, answers: answerCheck(found) };
    }
    const violation = lintViolation(dockerfile, { warnings, ...check });
    if (violation !== undefined) throw violation;
    this.#announce(graphs);
    const results = await this.#solve(graphs);
    const parentId = await this.#keepSteps();
    const { metadata, ...exported } = await this.#export(results, parentId);
    return { ...exported, metadata: { ...metadata, ...this.#explainer.metadata }, warnings };
  }

  /** A check tells what it can of a Dockerfile that cannot be built. */
  async #planOrRefuse(
    dockerfile: Dockerfile,
  ): Promise<{ readonly graphs: readonly Graph[]; readonly refusal?: EngineError }> {
    try {
      return { graphs: await this.#plan(dockerfile) };
    } catch (error) {
      const isChecked = this.#request.subrequest === "check" && !this.#signal.aborted;
      if (!isChecked || !(error instanceof EngineError)) throw error;
      return { graphs: [], refusal: error };
    }
  }

  async #plan(dockerfile: Dockerfile): Promise<readonly Graph[]> {
    const request = this.#request;
    const sources = this.#sources;
    const platforms = request.platforms.length === 0 ? [hostPlatform()] : request.platforms;
    const ready = Promise.all([sources.readIgnored(), this.#caches.open()]);
    ready.catch(() => undefined);
    const graphs: Graph[] = [];
    for (const platform of platforms) {
      graphs.push(
        await planGraph(graphInput(dockerfile, { request, sources, platform, platforms })),
      );
    }
    await ready;
    return graphs;
  }

  #announce(graphs: readonly Graph[]): void {
    for (const step of graphs.flatMap(({ steps }) => steps)) {
      const inputs = [...(step.below === undefined ? [] : [step.below]), ...step.reads];
      this.#progress.announce({
        digest: step.digest,
        name: step.name,
        inputs: inputs.map(({ digest }) => digest),
      });
    }
  }

  async #solve(graphs: readonly Graph[]): Promise<readonly PlatformResult[]> {
    const solver = this.#solver;
    const [first] = graphs;
    const narrated =
      first === undefined
        ? Promise.resolve()
        : this.#narrator.narrate(first, {
            solve: async (step) => await solver.solve(step),
            keep: (made) => void this.#kept.push(made),
          });
    narrated.catch(() => undefined);
    const results = await settleAll(
      graphs.map(async (graph): Promise<PlatformResult> => {
        const { last } = graph;
        const result = last === undefined ? undefined : await solver.solve(last);
        const solved = { graph, result: result ?? { layers: [], isCached: true } };
        return this.#request.isSquashed
          ? await squashResult(this.#shared.options, {
              solved,
              leaseId: this.#leaseId,
              signal: this.#signal,
            })
          : solved;
      }),
      this.#failing,
    );
    await narrated;
    return results;
  }

  /** Makes images of what instructions came to. @returns the last one */
  async #keepSteps(): Promise<Digest | undefined> {
    let parentId: Digest | undefined;
    if (this.#request.keepsSteps !== true) return parentId;
    const { cache } = this.#shared;
    const keys = cache.hasNew ? cache.dirtyKeys : [];
    let isSynced = false;
    const ids = new Set<Digest>();
    for (const { id, isBase, config, layers } of this.#kept) {
      // Each stage is a chain of its own: one through all stages could come back to its beginning.
      if (isBase) {
        parentId = ids.has(id) ? id : undefined;
        continue;
      }
      const made = await this.#shared.options.images.create({
        config,
        layers,
        names: [],
        ...(parentId === undefined ? {} : { parentId }),
      });
      parentId = made.id;
      ids.add(made.id);
      isSynced ||= made.isSynced === true;
    }
    // What the cache learned is on the disk with the images.
    if (isSynced) cache.flush(keys);
    return parentId;
  }

  /** Lets what instructions came to be run by name, of a build that fails too. */
  async #noteSteps(imageId: Digest | undefined): Promise<void> {
    const { outputs, id } = this.#request;
    const kept = this.#kept.splice(0);
    if (kept.length === 0) return;
    const named = outputs.flatMap((output) => ("names" in output ? output.names : []));
    const names = named.length > 0 ? named : [imageId ?? digestOf(id)];
    const steps = await this.#shared.stepImages.note(names, kept);
    const digest = this.#sources.dockerfileVertex;
    if (this.#request.listsSteps !== true || digest === undefined) return;
    for (const [index, name] of steps.entries()) {
      this.#progress.of(digest).status({
        id: `${stepStatusId}${name} ${kept[index]?.text ?? ""}`,
        current: 0,
        isCompleted: true,
      });
    }
  }

  async #export(
    results: readonly PlatformResult[],
    parentId: Digest | undefined,
  ): Promise<BuildResult> {
    const { options, cache } = this.#shared;
    const request = this.#request;
    const keys = cache.hasNew ? cache.dirtyKeys : [];
    const isInline = request.cacheTo.some(({ type }) => type === "inline");
    const how: ExportOptions = {
      options,
      request,
      progress: this.#progress,
      signal: this.#signal,
      leaseId: this.#leaseId,
      facts: {
        dockerfile: this.#dockerfile,
        startedNs: this.#startedNs,
        materials: this.#sources.materials,
      },
      ...(parentId === undefined ? {} : { parentId }),
      ...(isInline ? { inlineLayers: ownLayers(results, this.#solver.layers) } : {}),
    };
    const { isSynced = false, ...exported } = await exportResults(how, results);
    const digest = exported.digest ?? digestOf(this.#dockerfile);
    const provenance = results.map((result) => describeProvenance(how, { result, digest }));
    const written = await this.#exportCaches(results);
    if (isSynced) cache.flush(keys);
    const metadata = { ...exported.metadata, ...written };
    return { ...exported, metadata, warnings: [], provenance };
  }

  /** Sends caches to where they are wanted: with `min` those of the result's own layers alone. */
  async #exportCaches(
    results: readonly PlatformResult[],
  ): Promise<Readonly<Record<string, string>>> {
    let metadata: Readonly<Record<string, string>> = {};
    for (const place of this.#request.cacheTo) {
      if (place.type === "inline") continue;
      const all = this.#solver.layers;
      const layers = place.mode === "max" ? all : ownLayers(results, all);
      const use = this.#cacheUse;
      metadata = {
        ...metadata,
        ...(await writeCache(this.#shared.options, use, { place, layers })),
      };
    }
    return metadata;
  }
}

function graphInput(
  dockerfile: Dockerfile,
  wanted: {
    readonly request: BuildRequest;
    readonly sources: BuildSources;
    readonly platform: Platform;
    readonly platforms: readonly Platform[];
  },
): Parameters<typeof planGraph>[0] {
  const { request, sources } = wanted;
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
  at: {
    readonly request: BuildRequest;
    readonly progress: Progress;
    readonly sources: BuildSources;
    readonly graphs: readonly Graph[];
    readonly check?: NonNullable<Directives["check"]>;
  },
): readonly BuildWarning[] {
  const { request, progress, sources } = at;
  const [graph] = at.graphs;
  const { warnings } = checkDockerfile(dockerfile, {
    args: request.args,
    ...(at.check === undefined ? {} : { check: at.check }),
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

/** What a build argument says about the check, in place of the file's directive. */
function lintOptionsOf({ args }: BuildRequest): {
  readonly check?: NonNullable<Directives["check"]>;
} {
  const name = "BUILDKIT_DOCKERFILE_CHECK";
  const text = args.get(name);
  if (text === undefined || text === "") return {};
  try {
    return { check: parseCheck(text) };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const reason = error.message.replace(/^.*?failed to parse check options: /, "");
    throw new EngineError("invalid-argument", `failed to parse build-arg:${name}: ${reason}`, {
      cause: error,
    });
  }
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
