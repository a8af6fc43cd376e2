/**
 * The service by which buildx drives a build that it opened without a frontend.
 *
 * It asks for a result, which is only noted, and returns it, upon which it is built and exported. So
 * a build runs once, with its outputs known.
 */
import type { WorkerRecord } from "../../api/buildkit/control.ts";
import { type ApiCap, buildIdKey, gatewayMethods } from "../../api/buildkit/gateway.ts";
import { EngineError } from "../../lib/errors.ts";
import { type GrpcHandler, type ServerCall, unaryHandler } from "../../lib/grpc/server.ts";
import { createId } from "../../lib/id.ts";
import type { BuildJob } from "./build-jobs.ts";
import { callOfGateway, runCall, type RunnerOptions } from "./job-runner.ts";
import { definitionOfResult } from "./result-definition.ts";

/** Results that one build may hold. */
const resultCountMax = 1000;

/** What the service is made with. */
export interface GatewayOptions extends RunnerOptions {
  readonly worker: () => WorkerRecord;
}

/** The handlers of the service. */
export function gatewayHandlers(options: GatewayOptions): readonly GrpcHandler[] {
  const jobOf = async (call: ServerCall): Promise<BuildJob> => {
    const ref = call.metadata.get(buildIdKey)?.[0] ?? "";
    return await options.jobs.get(ref, call.signal);
  };
  return [
    unaryHandler(gatewayMethods.ping, async (_request, call) => {
      await jobOf(call);
      return {
        frontendApiCaps: capsOf(frontendCaps),
        llbCaps: capsOf(llbCaps),
        workers: [options.worker()],
      };
    }),
    unaryHandler(gatewayMethods.inputs, async (_request, call) => ({
      definitions: (await jobOf(call)).request.frontendInputs,
    })),
    unaryHandler(gatewayMethods.solve, async (request, call) => {
      const job = await jobOf(call);
      const requestId = request.frontendOpt.get("requestid") ?? "";
      if (requestId === describeRequest) return { result: resultOf(describeAnswers()) };
      if (requestId !== "") {
        const { answers } = await runCall(options, job, callOfGateway(request, []));
        if (answers !== undefined) return { result: resultOf(answers) };
        throw new EngineError("not-implemented", `unsupported request ${requestId}`);
      }
      if (request.frontend === "" && (request.definition?.def.length ?? 0) > 0) {
        throw new EngineError(
          "not-implemented",
          "solve: a definition of low-level operations is not supported, only Dockerfiles are built",
        );
      }
      if (job.results.size >= resultCountMax) {
        throw new EngineError("invalid-argument", `solve: more than ${resultCountMax} results`);
      }
      const id = createId();
      job.results.set(id, { id, request, image: undefined });
      const ref = { id, def: definitionOfResult(id) };
      return { result: { ref, refs: undefined, metadata: new Map() } };
    }),
    // What is lazy is made when it is returned.
    unaryHandler(gatewayMethods.evaluate, async ({ ref }, call) => {
      const job = await jobOf(call);
      if (job.results.has(ref)) return {};
      throw new EngineError("not-found", `no such ref: ${ref.slice(0, 64)}`);
    }),
    unaryHandler(gatewayMethods.warn, async (_request, call) => {
      await jobOf(call);
      return {};
    }),
    unaryHandler(gatewayMethods.return, async (request, call) => {
      (await jobOf(call)).returned.resolve(request);
      return {};
    }),
  ];
}

function resultOf(answers: Readonly<Record<string, string>>) {
  const pairs = Object.entries(answers).map(([key, value]): [string, Uint8Array] => [
    key,
    Buffer.from(value),
  ]);
  return { ref: undefined, refs: undefined, metadata: new Map(pairs) };
}

function capsOf(ids: readonly string[]): readonly ApiCap[] {
  return ids.map((id) => ({ id, enabled: true, deprecated: false }));
}

const describeRequest = "frontend.subrequests.describe";

/** What may be asked besides an image. @see BuildKit, frontend/subrequests */
function describeAnswers(): Readonly<Record<string, string>> {
  const described = [
    ["frontend.outline", "1.0.0", "List all parameters current build target supports"],
    ["frontend.targets", "1.0.0", "List all targets current build supports"],
    ["frontend.lint", "1.0.0", "Lint a Dockerfile"],
    [describeRequest, "1.0.0", "List available subrequest types"],
  ].map(([name, version, description]) => ({
    name,
    version,
    type: "rpc",
    description,
    opts: [],
    metadata: [{ name: "result.json" }, { name: "result.txt" }],
  }));
  const lines = described.map(({ name, version, description }) =>
    [name, version, description].join("\t"),
  );
  return {
    "result.json": JSON.stringify(described, undefined, 2),
    "result.txt": `NAME\tVERSION\tDESCRIPTION\n${lines.join("\n")}\n`,
    version: "1.0.0",
  };
}

/** @see BuildKit, frontend/gateway/pb/caps.go */
const frontendCaps: readonly string[] = [
  "solve.base",
  "return",
  "returnmap",
  "proto.refarray",
  "reference.output",
  "frontend.inputs",
  "frontend.caps",
  "gateway.solve.metadata",
  "gateway.evaluate",
  "gateway.warnings",
  "importcaches",
];

/** @see BuildKit, solver/pb/caps.go */
const llbCaps: readonly string[] = [
  "constraints",
  "exec.meta.base",
  "exec.meta.cgroup.parent",
  "exec.meta.network",
  "exec.meta.proxyenv",
  "exec.meta.security",
  "exec.meta.setsdefaultpath",
  "exec.meta.ulimit",
  "exec.mount.bind",
  "exec.mount.cache",
  "exec.mount.cache.sharing",
  "exec.mount.secret",
  "exec.mount.selector",
  "exec.mount.ssh",
  "exec.mount.tmpfs",
  "exec.mount.tmpfs.size",
  "exec.secretenv",
  "exporter.image.attestations",
  "exporter.multiple",
  "exporter.sourcedateepoch",
  "file.base",
  "gc.freespacefilter",
  "file.rm.wildcard",
  "file.copy.includeexcludepatterns",
  "meta.description",
  "meta.exportcache",
  "meta.ignorecache",
  "platform",
  "source.git",
  "source.git.fullurl",
  "source.git.keepgitdir",
  "source.git.subdir",
  "source.http",
  "source.http.checksum",
  "source.image",
  "source.image.resolvemode",
  "source.local",
  "source.local.excludepatterns",
  "source.local.followpaths",
  "source.local.includepatterns",
  "source.local.sessionid",
  "source.local.sharedkeyhint",
  "source.local.unique",
];
