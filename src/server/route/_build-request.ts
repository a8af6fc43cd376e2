/** What `POST /build` asks for, in the words of the build service. */
import { type BuildParameters, decodeRegistryConfig } from "../../api/request/decode-build.ts";
import type { AuthConfig } from "../../api/image.ts";
import type {
  BuildClient,
  BuildEvent,
  BuildRequest,
  ContextSource,
} from "../../build/build-service.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { parsePlatform } from "../../oci/platform.ts";
import type { Exchange } from "../exchange.ts";
import { credentialsOf } from "./registry-routes.ts";

/** Docker Hub's names in clients' lists of credentials. */
const hubNames = ["docker.io", "index.docker.io", "https://index.docker.io/v1/"];

/** A build that was asked for. */
export interface AskedBuild {
  readonly parameters: BuildParameters;
  readonly main: ContextSource;
  /** What the image is to be called. */
  readonly names: readonly string[];
}

/** A build as the build service takes it; steps are kept as the classic builder does. */
export function requestOf(
  exchange: Exchange,
  build: AskedBuild & {
    readonly progress: (event: BuildEvent) => void;
    /** Who has opened a session. */
    readonly client?: BuildClient;
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
    client: clientOf(exchange, build.client),
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
    keepsSteps: parameters.version !== "2",
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

/** The client's side of a build: credentials, and without a session nothing else. */
function clientOf(exchange: Exchange, client: BuildClient | undefined): BuildClient {
  const header = exchange.request.headers["x-registry-config"];
  const auths = decodeRegistryConfig(Array.isArray(header) ? header[0] : header);
  const refuse = async (): Promise<never> =>
    await Promise.reject(
      new EngineError(
        "not-found",
        "the client of this build has no session: it serves no folders, secrets or outputs",
      ),
    );
  const credentials = async (host: string): ReturnType<BuildClient["credentials"]> => {
    const auth = findAuth(auths, host);
    return auth === undefined ? await client?.credentials(host) : credentialsOf(auth);
  };
  if (client !== undefined) return { ...client, credentials };
  return {
    folder: refuse,
    secret: async () => await Promise.resolve(undefined),
    sshAgent: async () => await Promise.resolve(undefined),
    credentials,
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
