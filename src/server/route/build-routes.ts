import { Readable } from "node:stream";
import {
  decodeBuildQuery,
  decodeRegistryConfig,
  type BuildParameters,
} from "../../api/request/decode-build.ts";
import type { AuthConfig } from "../../api/image.ts";
import { boolValue, filtersValue, integerValue, textValue } from "../../api/request/query.ts";
import type {
  BuildClient,
  BuildEvent,
  BuildRequest,
  BuildResult,
  ContextSource,
} from "../../build/build-service.ts";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { parsePlatform } from "../../oci/platform.ts";
import {
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../../oci/reference.ts";
import {
  beginJsonLines,
  type Exchange,
  type Handler,
  readBody,
  sendEmpty,
  sendJson,
} from "../exchange.ts";
import { credentialsOf } from "./registry-routes.ts";

const shownIdLength = 12;
/** Docker Hub's names in clients' lists of credentials. */
const hubNames = ["docker.io", "index.docker.io", "https://index.docker.io/v1/"];

/** Handlers of the build operations, by operation name. */
export const buildRoutes: Readonly<Record<string, Handler>> = {
  ImageBuild: async (exchange) => {
    const parameters = decodeBuildQuery(exchange.query);
    if (parameters.version === "2") {
      throw new EngineError(
        "invalid-argument",
        "BuildKit builds are served at /grpc: update the client, or ask for builder version 1",
      );
    }
    const tags = parameters.tags.map(tagOf);
    const main = await contextOf(exchange, parameters);
    try {
      await runBuild(exchange, {
        parameters,
        main: main.source,
        names: tags.map(familiarString),
      });
    } finally {
      await main.close();
    }
  },

  BuildCancel: async (exchange) => {
    await readBody(exchange);
    const id = textValue(exchange.query, "id");
    if (id === "") throw new EngineError("invalid-argument", "build ID not provided");
    exchange.backend.builds.cancel(id);
    sendEmpty(exchange, 204);
  },

  BuildPrune: async (exchange) => {
    await readBody(exchange);
    const { query } = exchange;
    const space = (name: string): number => integerValue(query, name) ?? 0;
    const bounds = {
      maxUsedBytes: space("max-used-space"),
      minFreeBytes: space("min-free-space"),
      // Called keep-storage before version 1.48.
      reservedBytes: space("reserved-space") || space("keep-storage"),
    };
    const { removed, spaceReclaimedBytes } = await exchange.backend.builds.prune({
      all: boolValue(query, "all"),
      bounds,
      filters: filtersValue(query),
    });
    sendJson(exchange, {
      CachesDeleted: removed.length === 0 ? null : removed,
      SpaceReclaimed: spaceReclaimedBytes,
    });
  },
};

function tagOf(text: string): Reference {
  const reference = parseReference(text);
  if (reference.digest === undefined) return withDefaultTag(reference);
  throw new EngineError("invalid-argument", "build tag cannot contain a digest");
}

interface OpenContext {
  readonly source: ContextSource;
  readonly close: () => Promise<void>;
}

/** The context of a build: the body's tar, or what `remote` names. */
async function contextOf(exchange: Exchange, parameters: BuildParameters): Promise<OpenContext> {
  const { remote } = parameters;
  const isStream = remote === "" || remote === "client-session";
  if (!isStream) {
    await readBody(exchange);
    const kind = isGitUrl(remote) ? "git" : "http";
    return { source: { kind, url: remote }, close: async () => await Promise.resolve() };
  }
  const folder = await exchange.backend.builds.unpackContext(
    Readable.toWeb(exchange.request) as unknown as ReadableStream<Uint8Array>,
    { signal: exchange.signal },
  );
  return {
    source: { kind: "folder", path: folder.path },
    close: async () => await folder[Symbol.asyncDispose](),
  };
}

/** Docker's rule for what is a repository and not a file. @see moby/build/urlutil */
function isGitUrl(url: string): boolean {
  if (/^https?:\/\//.test(url)) return /\.git(?:#.+)?$/.test(url);
  return ["git://", "github.com/", "git@"].some((start) => url.startsWith(start));
}

async function runBuild(
  exchange: Exchange,
  build: {
    readonly parameters: BuildParameters;
    readonly main: ContextSource;
    readonly names: readonly string[];
  },
): Promise<void> {
  const { parameters } = build;
  let send: ((value: unknown) => void) | undefined;
  const say = (value: unknown): void => {
    send ??= beginJsonLines(exchange);
    send(value);
  };
  const progress = (event: BuildEvent): void => {
    if (event.kind === "classic" && !parameters.isQuiet) say({ stream: event.text });
  };
  try {
    const request = requestOf(exchange, { ...build, progress });
    const result = await exchange.backend.builds.build(request);
    conclude(result, { parameters, names: build.names, say });
  } catch (error) {
    // Docker: that a base image cannot be had is told as the failure of a step, seen in 28.5. By that
    // its SDKs tell a build that failed from a request that was wrong.
    const isOfStep = error instanceof EngineError && error.details["isOfStep"] === true;
    if (send === undefined && !parameters.isQuiet && !isOfStep) throw error;
    say(failureOf(error));
  }
  exchange.response.end();
}

function conclude(
  result: BuildResult,
  how: {
    readonly parameters: BuildParameters;
    readonly names: readonly string[];
    readonly say: (value: unknown) => void;
  },
): void {
  const { imageId } = result;
  if (imageId === undefined) return;
  if (how.parameters.isQuiet) {
    how.say({ stream: `${imageId}\n` });
    return;
  }
  how.say({ aux: { ID: imageId } });
  const shown = imageId.replace(/^sha256:/, "").slice(0, shownIdLength);
  how.say({ stream: `Successfully built ${shown}\n` });
  for (const name of how.names) how.say({ stream: `Successfully tagged ${name}\n` });
}

/** A failure as the classic builder tells it. */
function failureOf(error: unknown): object {
  const details = error instanceof EngineError ? error.details : {};
  const { exitCode: code, command } = details;
  if (typeof code !== "number" || typeof command !== "string") {
    const message = messageOf(error);
    return { errorDetail: { message }, error: message };
  }
  const message = `The command '${command}' returned a non-zero code: ${code}`;
  return { errorDetail: { code, message }, error: message };
}

function requestOf(
  exchange: Exchange,
  build: {
    readonly parameters: BuildParameters;
    readonly main: ContextSource;
    readonly names: readonly string[];
    readonly progress: (event: BuildEvent) => void;
  },
): BuildRequest {
  const { parameters, main } = build;
  const args = Object.entries(parameters.buildArgs).flatMap(([name, value]) =>
    value === null ? [] : [[name, value] as const],
  );
  const { platform, target, dockerfile, shmSizeBytes, cgroupParent } = parameters;
  const network = networkOf(parameters.networkMode);
  return {
    id: parameters.buildId === "" ? createId() : parameters.buildId,
    client: clientOf(exchange),
    main,
    ...(dockerfile === "" ? {} : { dockerfileName: dockerfile }),
    contexts: new Map(),
    args: new Map(args),
    labels: new Map(Object.entries(parameters.labels)),
    ...(target === "" ? {} : { target }),
    platforms: platform === "" ? [] : [parsePlatform(platform)],
    hasNoCache: parameters.hasNoCache,
    noCacheStages: [],
    isPulled: parameters.isPulled,
    network,
    extraHosts: parameters.extraHosts,
    ...(shmSizeBytes === 0 ? {} : { shmSizeBytes }),
    ...(cgroupParent === "" ? {} : { cgroupParent }),
    ulimits: parameters.ulimits,
    resources: resourcesOf(parameters),
    isSquashed: parameters.isSquashed,
    keepsSteps: true,
    // Who asks may run any container, but the Dockerfile may be somebody else's.
    allows: new Set(network === "host" ? ["network.host"] : []),
    // Docker: images that are not here are left out, seen in 28.5
    cacheFrom: parameters.cacheFrom.map((ref) => ({
      type: "registry",
      mode: "min",
      attributes: { ref },
      isLocalOnly: true,
    })),
    cacheTo: [],
    outputs: [{ kind: "image", names: build.names, isPushed: false }],
    attestations: { sbom: false },
    progress: build.progress,
    signal: exchange.signal,
  };
}

function networkOf(mode: string): BuildRequest["network"] {
  if (mode === "" || mode === "default" || mode === "bridge") return "default";
  if (mode === "none" || mode === "host") return mode;
  throw new EngineError(
    "not-implemented",
    `network mode ${JSON.stringify(mode)} is not served for builds: use default, none or host`,
  );
}

function resourcesOf(parameters: BuildParameters): NonNullable<BuildRequest["resources"]> {
  const { memoryBytes, memorySwapBytes, cpuShares, cpuPeriod, cpuQuota } = parameters;
  const { cpusetCpus, cpusetMems } = parameters;
  return {
    memoryBytes,
    memorySwapBytes,
    cpuShares,
    cpuPeriod,
    cpuQuota,
    ...(cpusetCpus === "" ? {} : { cpusetCpus }),
    ...(cpusetMems === "" ? {} : { cpusetMems }),
  };
}

/** The client's side of a classic build: credentials, and nothing else. */
function clientOf(exchange: Exchange): BuildClient {
  const header = exchange.request.headers["x-registry-config"];
  const auths = decodeRegistryConfig(Array.isArray(header) ? header[0] : header);
  const refuse = async (): Promise<never> =>
    await Promise.reject(
      new EngineError("not-found", "a classic build has no session with its client"),
    );
  return {
    folder: refuse,
    secret: async () => await Promise.resolve(undefined),
    sshAgent: async () => await Promise.resolve(undefined),
    credentials: async (host) => {
      const auth = findAuth(auths, host);
      return await Promise.resolve(auth === undefined ? undefined : credentialsOf(auth));
    },
    sendTar: refuse,
    sendFolder: refuse,
  };
}

function findAuth(
  auths: Readonly<Record<string, AuthConfig>>,
  host: string,
): AuthConfig | undefined {
  const names = hubNames.includes(host) ? hubNames : [host, `https://${host}`, `http://${host}`];
  for (const name of names) {
    const auth = Object.hasOwn(auths, name) ? auths[name] : undefined;
    if (auth !== undefined) return auth;
  }
  return undefined;
}
