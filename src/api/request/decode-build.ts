/** Decodes what `POST /build` is asked: query parameters, some of which are JSON, and a header. */
import { EngineError } from "../../lib/errors.ts";
import { decodeBody, integer, list, map, pointer, struct, text, texts, textMap } from "./decode.ts";
import type { AuthConfig } from "../image.ts";
import { boolValue, integerValue, type Query, textValue, textValues } from "./query.ts";

/** The parameters of a classic build. @see Engine API v1.51, ImageBuild */
export interface BuildParameters {
  readonly dockerfile: string;
  readonly tags: readonly string[];
  readonly extraHosts: readonly string[];
  readonly remote: string;
  readonly isQuiet: boolean;
  readonly hasNoCache: boolean;
  readonly cacheFrom: readonly string[];
  readonly isPulled: boolean;
  readonly memoryBytes: number;
  readonly memorySwapBytes: number;
  readonly cpuShares: number;
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  readonly cgroupParent: string;
  /** A value of null is that of the client's environment: it sent none. */
  readonly buildArgs: Readonly<Record<string, string | null>>;
  readonly shmSizeBytes: number;
  readonly ulimits: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly isSquashed: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly networkMode: string;
  readonly platform: string;
  readonly target: string;
  /** "2" for BuildKit. */
  readonly version: string;
  /** With BuildKit: the client's session; "" when it has none. */
  readonly session: string;
  /** With BuildKit: what becomes of the result, as JSON; "" for an image. */
  readonly outputs: string;
  readonly buildId: string;
}

const ulimit = struct(
  {
    Name: text(),
    Soft: integer("int64"),
    Hard: integer("int64"),
  },
  "container.Ulimit",
);
const ulimits = list(ulimit, "[]*container.Ulimit");
const argMap = map(pointer(text()), "map[string]*string");

/** Decodes the query of a build. @throws invalid-argument */
export function decodeBuildQuery(query: Query): BuildParameters {
  const number = (name: string): number => integerValue(query, name) ?? 0;
  return {
    dockerfile: textValue(query, "dockerfile"),
    tags: textValues(query, "t").filter((tag) => tag !== ""),
    extraHosts: textValues(query, "extrahosts").filter((host) => host !== ""),
    remote: textValue(query, "remote"),
    isQuiet: boolValue(query, "q"),
    hasNoCache: boolValue(query, "nocache"),
    cacheFrom:
      json(query, "cachefrom", (bytes) =>
        decodeBody(bytes, { goType: "[]string", decoder: texts }),
      ) ?? [],
    isPulled: boolValue(query, "pull"),
    memoryBytes: number("memory"),
    memorySwapBytes: number("memswap"),
    cpuShares: number("cpushares"),
    cpuPeriod: number("cpuperiod"),
    cpuQuota: number("cpuquota"),
    cpusetCpus: textValue(query, "cpusetcpus"),
    cpusetMems: textValue(query, "cpusetmems"),
    cgroupParent: textValue(query, "cgroupparent"),
    buildArgs:
      json(query, "buildargs", (bytes) =>
        decodeBody(bytes, { goType: "map[string]*string", decoder: argMap }),
      ) ?? {},
    shmSizeBytes: number("shmsize"),
    ulimits: decodeUlimits(query),
    isSquashed: boolValue(query, "squash"),
    labels:
      json(query, "labels", (bytes) =>
        decodeBody(bytes, { goType: "map[string]string", decoder: textMap }),
      ) ?? {},
    networkMode: textValue(query, "networkmode"),
    platform: textValue(query, "platform"),
    target: textValue(query, "target"),
    version: textValue(query, "version"),
    session: textValue(query, "session"),
    outputs: textValue(query, "outputs"),
    buildId: textValue(query, "buildid"),
  };
}

function decodeUlimits(query: Query): BuildParameters["ulimits"] {
  const found = json(query, "ulimits", (bytes) =>
    decodeBody(bytes, { goType: "[]*container.Ulimit", decoder: ulimits }),
  );
  return (found ?? []).map(({ Name: name, Soft: soft, Hard: hard }) => ({ name, soft, hard }));
}

function json<T>(query: Query, name: string, decode: (bytes: Uint8Array) => T): T | undefined {
  const value = textValue(query, name);
  if (value === "" || value === "null") return undefined;
  try {
    return decode(new TextEncoder().encode(value));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError("invalid-argument", `error reading ${name}: ${error.message}`, {
      cause: error,
    });
  }
}

const registryAuths = map(
  struct(
    {
      username: text(),
      password: text(),
      auth: text(),
      identitytoken: text(),
      registrytoken: text(),
    },
    "registry.AuthConfig",
  ),
  "map[string]registry.AuthConfig",
);

/**
 * Decodes the header `X-Registry-Config`: credentials by registry. What is malformed counts as none,
 * as with Docker.
 */
export function decodeRegistryConfig(
  header: string | undefined,
): Readonly<Record<string, AuthConfig>> {
  if (header === undefined || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(header)) return {};
  try {
    const bytes = Buffer.from(header, "base64url");
    const decoder = registryAuths;
    return decodeBody(bytes, { goType: "map[string]registry.AuthConfig", decoder }) ?? {};
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return {};
  }
}
