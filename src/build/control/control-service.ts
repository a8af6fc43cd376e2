/** BuildKit's Control service. @see api/buildkit/control.ts */
import {
  controlMethods,
  type SolveRequest,
  type SolveResponse,
  timestampOfNs,
  type UsageRecord,
  type WorkerRecord,
} from "../../api/buildkit/control.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import {
  type GrpcHandler,
  type ServerCall,
  streamHandler,
  unaryHandler,
} from "../../lib/grpc/server.ts";
import { errorOfStatus, statusOfError } from "../../lib/grpc/status.ts";
import { digestOf } from "../../oci/digest.ts";
import { formatPlatform } from "../../oci/platform.ts";
import type { BuildOutput, BuildResult, BuildService, CacheRecord } from "../build-service.ts";
import type { BuildOutcome } from "./build-history.ts";
import type { BuildJob } from "./build-jobs.ts";
import { historyHandlers } from "./history-service.ts";
import { callOfGateway, outputsOf, runCall, type RunnerOptions } from "./job-runner.ts";
import { exporterResponse } from "./outputs.ts";

/** What the service is made with. */
export interface ControlOptions extends RunnerOptions {
  readonly cache: Pick<BuildService, "diskUsage" | "prune">;
  readonly worker: () => WorkerRecord;
}

/** The handlers of the service. */
export function controlHandlers(options: ControlOptions): readonly GrpcHandler[] {
  const { jobs, worker } = options;
  return [
    ...historyHandlers(jobs.history),
    unaryHandler(
      controlMethods.solve,
      async (request, call) => await solve(options, request, call),
    ),
    streamHandler(controlMethods.status, async (call) => {
      const request = await call.next();
      const job = await jobs.get(request?.ref ?? "", call.signal);
      for await (const answer of job.progress.watch(call.signal)) await call.send(answer);
    }),
    unaryHandler(controlMethods.info, async () => {
      await Promise.resolve();
      return { buildkitVersion: worker().buildkitVersion };
    }),
    unaryHandler(controlMethods.listWorkers, async () => {
      await Promise.resolve();
      return { record: [worker()] };
    }),
    unaryHandler(controlMethods.diskUsage, async ({ filter }) => {
      const records = await options.cache.diskUsage();
      const wanted = readFilters(filter);
      return { record: records.filter((record) => matches(record, wanted)).map(usageOf) };
    }),
    streamHandler(controlMethods.prune, async (call) => {
      const request = await call.next();
      const before = new Map((await options.cache.diskUsage()).map((each) => [each.id, each]));
      const filters = pruneFilters(request?.filter ?? [], request?.keepDuration ?? 0);
      const bounds = {
        maxUsedBytes: request?.maxUsedSpace ?? 0,
        minFreeBytes: request?.minFreeSpace ?? 0,
        reservedBytes: request?.reservedSpace ?? 0,
      };
      const { removed } = await options.cache.prune({
        all: request?.all === true,
        filters,
        bounds,
      });
      for (const id of removed) {
        const record = before.get(id);
        await call.send(record === undefined ? { id } : usageOf(record));
      }
    }),
  ];
}

/** Opens a build, and answers when it has ended. */
async function solve(
  options: ControlOptions,
  request: SolveRequest,
  call: ServerCall,
): Promise<SolveResponse> {
  const { jobs, logger } = options;
  const job = jobs.open(request);
  const cancel = (): void => job.cancel();
  call.signal.addEventListener("abort", cancel, { once: true });
  let outcome: BuildOutcome = { response: new Map() };
  try {
    outcome = await solveJob(options, job);
    return { exporterResponse: outcome.response };
  } catch (error) {
    if (!isKind(error, "canceled")) logger.info("build failed", { ref: request.ref, error });
    outcome = { error: statusOfError(error), response: new Map() };
    throw error;
  } finally {
    call.signal.removeEventListener("abort", cancel);
    jobs.end(job, outcome);
  }
}

async function solveJob(options: ControlOptions, job: BuildJob): Promise<BuildOutcome> {
  const { request } = job;
  const outputs = outputsOf(job);
  if (request.definition !== undefined && request.definition.def.length > 0) {
    throw new EngineError(
      "not-implemented",
      "solve: a definition of low-level operations is not supported, only Dockerfiles are built",
    );
  }
  if (request.frontend !== "") {
    const { frontend, frontendAttrs: attrs, frontendInputs: inputs } = request;
    const call = { frontend, attrs, inputs, cacheImports: [], outputs };
    return outcomeOf(await runCall(options, job, call), outputs);
  }
  const { result, error } = await job.returned.promise;
  if (error !== undefined) throw errorOfStatus(error);
  const refs = [...(result?.refs?.refs.values() ?? [])];
  const id = (result?.ref ?? refs[0])?.id ?? "";
  const pending = job.results.get(id);
  // A client that only asked what the engine can do returns nothing.
  if (pending === undefined) return { response: new Map() };
  const merged = withCacheImports(callOfGateway(pending.request, outputs), request.frontendAttrs);
  return outcomeOf(await runCall(options, job, merged), outputs);
}

function outcomeOf(result: BuildResult, outputs: readonly BuildOutput[]): BuildOutcome {
  const provenance = result.provenance ?? [];
  return {
    response: exporterResponse(result, outputs),
    blobs: provenance.map(({ platform, predicateType, predicate }) => ({
      kind: "attestation",
      ...(provenance.length === 1 ? {} : { platform: formatPlatform(platform) }),
      descriptor: {
        mediaType: "application/vnd.in-toto+json",
        digest: digestOf(predicate),
        size: predicate.length,
        annotations: new Map([["in-toto.io/predicate-type", predicateType]]),
      },
      bytes: predicate,
    })),
  };
}

/** Caches that the client named when it opened the build, and not when it asked for the result. */
function withCacheImports<T extends { readonly attrs: ReadonlyMap<string, string> }>(
  call: T,
  opened: ReadonlyMap<string, string>,
): T {
  const imports = opened.get("cache-imports");
  if (imports === undefined || call.attrs.has("cache-imports")) return call;
  return { ...call, attrs: new Map([...call.attrs, ["cache-imports", imports]]) };
}

function usageOf(record: CacheRecord): UsageRecord {
  return {
    id: record.id,
    mutable: record.type === "source.local" || record.type === "exec.cachemount",
    inUse: record.isInUse,
    size: record.sizeBytes,
    createdAt: timestampOfNs(BigInt(record.createdNs)),
    lastUsedAt:
      record.lastUsedNs === undefined ? undefined : timestampOfNs(BigInt(record.lastUsedNs)),
    usageCount: record.usageCount,
    description: record.description,
    recordType: record.type,
    shared: record.isShared,
    parents: record.parents,
  };
}

interface Filter {
  readonly key: string;
  readonly isExact: boolean;
  readonly value: string;
}

/** `type==regular`, `description~=COPY`, `inuse`. @see containerd, filters */
function readFilters(filters: readonly string[]): readonly Filter[] {
  return filters.flatMap((text) =>
    text
      .split(",")
      .filter((part) => part.trim() !== "")
      .map((part) => {
        const [, key = "", operator = "==", value = "true"] =
          /^([\w.]+)(?:(==|=|~=)"?(.*?)"?)?$/.exec(part.trim()) ?? [];
        if (key !== "") return { key, isExact: operator !== "~=", value };
        throw new EngineError("invalid-argument", `failed to parse prune filters ${part}`);
      }),
  );
}

function matches(record: CacheRecord, filters: readonly Filter[]): boolean {
  return filters.every(({ key, isExact, value }) => {
    const values = valuesOf(record, key);
    return values.some((each) => (isExact ? each === value : each.includes(value)));
  });
}

function valuesOf(record: CacheRecord, key: string): readonly string[] {
  switch (key) {
    case "id":
      return [record.id];
    case "parent":
    case "parents":
      return record.parents;
    case "type":
      return [record.type];
    case "description":
      return [record.description];
    case "inuse":
      return [String(record.isInUse)];
    case "shared":
      return [String(record.isShared)];
    case "private":
      return [String(!record.isShared)];
    default:
      return [];
  }
}

function pruneFilters(
  filters: readonly string[],
  keepDurationNs: number,
): ReadonlyMap<string, readonly string[]> {
  const map = new Map<string, string[]>();
  for (const { key, value } of readFilters(filters)) {
    map.set(key, [...(map.get(key) ?? []), value]);
  }
  if (keepDurationNs > 0) map.set("until", [`${Math.ceil(keepDurationNs / 1e9)}s`]);
  return map;
}
