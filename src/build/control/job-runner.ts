/** Runs what a client asks for over BuildKit's protocol, as a build of the build service. */
import type { TypedAttrs } from "../../api/buildkit/control.ts";
import type { GatewaySolveRequest } from "../../api/buildkit/gateway.ts";
import { type Definition, sourceInfoType } from "../../api/buildkit/llb.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import type { Logger } from "../../lib/log.ts";
import { toReadableStream } from "../../lib/stream-limit.ts";
import { fillMessage } from "../../lib/protobuf.ts";
import type {
  BuildOutput,
  BuildRequest,
  BuildResult,
  BuildService,
  ContextFolder,
  ContextSource,
  Entitlement,
  LocalRequest,
} from "../build-service.ts";
import type { ContextFolders } from "../session/context-folders.ts";
import { createSessionClient, type SessionClient } from "../session/session-client.ts";
import type { Session, SessionPool } from "../session/session-pool.ts";
import type { BuildJob, BuildJobs, PendingResult } from "./build-jobs.ts";
import { readDockerfileSource } from "./_dockerfile-source.ts";
import { asSolveFailure } from "./error-details.ts";
import { readOutputs } from "./outputs.ts";
import { resultOfDefinition } from "./result-definition.ts";
import {
  type FrontendPart,
  readAttestations,
  readCaches,
  readDebug,
  readFrontendAttrs,
  uploadHost,
} from "./solve-options.ts";

/** Attributes that name the session of one folder, where several builds share folders. */
const folderSessionPrefix = "local-sessionid:";

/** What jobs are run with. */
export interface RunnerOptions {
  readonly service: Pick<BuildService, "build" | "unpackContext">;
  readonly sessions: SessionPool;
  readonly folders: ContextFolders;
  readonly jobs: BuildJobs;
  readonly socketRoot: string;
  /** What the engine lets clients give to a Dockerfile. */
  readonly entitlements: ReadonlySet<Entitlement>;
  readonly logger: Logger;
}

/** What the frontend is asked. */
export interface FrontendCall {
  readonly frontend: string;
  readonly attrs: ReadonlyMap<string, string>;
  readonly inputs: ReadonlyMap<string, Definition>;
  readonly cacheImports: readonly TypedAttrs[];
  readonly outputs: readonly BuildOutput[];
}

/** The frontend's part of a call to the gateway. */
export function callOfGateway(
  request: GatewaySolveRequest,
  outputs: readonly BuildOutput[],
): FrontendCall {
  const { frontend, frontendOpt: attrs, frontendInputs: inputs, cacheImports } = request;
  return { frontend, attrs, inputs, cacheImports, outputs };
}

/** The outputs of a job, as its client asked for them. */
export function outputsOf(job: BuildJob): readonly BuildOutput[] {
  const { exporters, exporter, exporterAttrs } = job.request;
  if (exporters.length > 0) return readOutputs(exporters);
  return exporter === "" ? [] : readOutputs([{ type: exporter, attrs: exporterAttrs }]);
}

/**
 * Builds.
 *
 * @throws what the build throws, with the Dockerfile's lines for clients that draw them
 */
export async function runCall(
  options: RunnerOptions,
  job: BuildJob,
  call: FrontendCall,
): Promise<BuildResult> {
  try {
    return await run(options, job, call);
  } catch (error) {
    if (job.signal.aborted) throw job.signal.reason;
    throw asSolveFailure(error, job.source);
  }
}

async function run(
  options: RunnerOptions,
  job: BuildJob,
  call: FrontendCall,
): Promise<BuildResult> {
  checkFrontend(call);
  const images = await resolveInputs(options, job, call.inputs);
  const part = readFrontendAttrs(call.attrs, (name) => images.get(name));
  const { signal } = job;
  const session = await options.sessions.get(job.request.session, signal);
  const sessionOf = async (name: string): Promise<Session> => {
    const id = call.attrs.get(`${folderSessionPrefix}${name}`);
    return id === undefined ? session : await options.sessions.get(id, signal);
  };
  await using client = createSessionClient({ ...options, session, sessionOf, signal });
  await using upload = await openUpload(options, { job, part, client });
  const main: ContextSource =
    upload === undefined ? part.main : { kind: "folder", path: upload.path };
  const debug = readDebug(call.attrs);
  const request: BuildRequest = {
    ...part,
    ...requestBasics(options, job, call),
    main,
    client: { ...client, folder: watchDockerfile(job, { part, client }) },
    ...(debug === undefined ? {} : { debug: { kind: debug, clientGone: session.signal } }),
  };
  return await options.service.build(request);
}

function requestBasics(
  { entitlements }: RunnerOptions,
  job: BuildJob,
  call: FrontendCall,
): Omit<BuildRequest, keyof FrontendPart | "client"> {
  const caches = readCaches({
    attrs: call.attrs,
    imports: [...(job.request.cache?.imports ?? []), ...call.cacheImports],
    exports: job.request.cache?.exports ?? [],
  });
  return {
    id: `${job.request.ref}-${createId().slice(0, 8)}`,
    isSquashed: false,
    allows: readEntitlements(job.request.entitlements, entitlements),
    ...caches,
    outputs: call.outputs,
    attestations: readAttestations(call.attrs),
    progress: (event) => job.progress.push(event),
    signal: job.signal,
  };
}

/** What the client gives to the Dockerfile, which it may have from anywhere. */
function readEntitlements(
  names: readonly string[],
  granted: ReadonlySet<Entitlement>,
): ReadonlySet<Entitlement> {
  const allows = new Set<Entitlement>();
  for (const name of names) {
    const wanted = name.startsWith("device=") ? "device" : name;
    if (wanted !== "security.insecure" && wanted !== "network.host" && wanted !== "device") {
      throw new EngineError("invalid-argument", `unknown entitlement: ${name}`);
    }
    if (!granted.has(wanted)) {
      throw new EngineError(
        "invalid-argument",
        `granting entitlement ${wanted} is not allowed by build daemon configuration`,
      );
    }
    allows.add(wanted);
  }
  return allows;
}

/** The engine reads Dockerfiles itself, whatever image their `syntax` line names. */
function checkFrontend(call: FrontendCall): void {
  if (call.frontend === "dockerfile.v0") return;
  const source = call.attrs.get("source") ?? "";
  const isDockerfile = /^(?:docker\.io\/)?docker\/dockerfile(?:-upstream)?(?:[:@]|$)/.test(source);
  if (call.frontend === "gateway.v0" && isDockerfile) return;
  const name = call.frontend === "gateway.v0" ? source : call.frontend;
  throw new EngineError(
    "not-implemented",
    `frontend ${JSON.stringify(name)} is not served: only Dockerfiles are built`,
  );
}

/** The results of other builds that are inputs of this one, as images. */
async function resolveInputs(
  options: RunnerOptions,
  job: BuildJob,
  inputs: ReadonlyMap<string, Definition>,
): Promise<ReadonlyMap<string, ContextSource>> {
  const images = new Map<string, ContextSource>();
  for (const [name, definition] of inputs) {
    const id = resultOfDefinition(definition);
    const found = id === undefined ? undefined : options.jobs.findResult(id);
    if (found === undefined) {
      throw new EngineError(
        "not-implemented",
        `input ${JSON.stringify(name)} is a definition of low-level operations: not supported`,
      );
    }
    job.signal.throwIfAborted();
    images.set(name, { kind: "image", reference: await imageOf(options, found) });
  }
  return images;
}

async function imageOf(
  options: RunnerOptions,
  found: { readonly job: BuildJob; readonly result: PendingResult },
): Promise<string> {
  const { job, result } = found;
  const output: BuildOutput = { kind: "image", names: [], isPushed: false };
  result.image ??= runCall(options, job, callOfGateway(result.request, [output])).then(
    ({ imageId }) => {
      if (imageId !== undefined) return imageId;
      throw new EngineError("internal", "the build that another one needs has no image");
    },
  );
  return await result.image;
}

/** The context that the client has on its stdin, unpacked; undefined when it has another. */
async function openUpload(
  options: RunnerOptions,
  build: { readonly job: BuildJob; readonly part: FrontendPart; readonly client: SessionClient },
): Promise<ContextFolder | undefined> {
  const { main } = build.part;
  if (main.kind !== "http") return undefined;
  const url = URL.canParse(main.url) ? new URL(main.url) : undefined;
  if (url?.host !== uploadHost) return undefined;
  const { signal } = build.job;
  const tar = toReadableStream(build.client.pullUpload(url));
  return await options.service.unpackContext(tar, { signal });
}

/** Keeps the Dockerfile when its folder passes by: a failure is shown with its lines. */
function watchDockerfile(
  job: BuildJob,
  build: { readonly part: FrontendPart; readonly client: SessionClient },
): (request: LocalRequest) => Promise<ContextFolder> {
  const { dockerfileFrom, dockerfileName = "Dockerfile" } = build.part;
  return async (request) => {
    const folder = await build.client.folder(request);
    if (dockerfileFrom?.kind === "local" && dockerfileFrom.name === request.name) {
      const data = readDockerfileSource(folder.path, dockerfileName);
      if (data !== undefined) {
        const info = { filename: dockerfileName, data, language: "Dockerfile" };
        job.source = fillMessage(sourceInfoType, info);
      }
    }
    return folder;
  };
}
