/**
 * From the attributes of BuildKit's Dockerfile frontend to a build request.
 *
 * Attributes nobody knows are ignored, as BuildKit does; a value that is not understood is refused.
 *
 * @see BuildKit, frontend/dockerui/config.go and context.go
 */
import type { TypedAttrs } from "../../api/buildkit/control.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Platform, parsePlatform } from "../../oci/platform.ts";
import type { BuildRequest, CachePlace, ContextSource } from "../build-service.ts";
import { readBool, readPairs, splitCsv } from "./_csv.ts";
import { refuseUnserved } from "./_unserved.ts";

/** Attributes by name, as a client sends them. */
export type FrontendAttrs = ReadonlyMap<string, string>;

/** The part of a request that the frontend's attributes tell. */
export type FrontendPart = Pick<
  BuildRequest,
  | "main"
  | "contexts"
  | "args"
  | "labels"
  | "platforms"
  | "hasNoCache"
  | "noCacheStages"
  | "isPulled"
  | "network"
  | "extraHosts"
  | "ulimits"
> &
  Partial<
    Pick<
      BuildRequest,
      | "dockerfileFrom"
      | "dockerfileName"
      | "contextSubdir"
      | "target"
      | "shmSizeBytes"
      | "cgroupParent"
      | "sourceDateEpoch"
      | "subrequest"
      | "explains"
      | "listsSteps"
    >
  >;

/** The host in the URL of a context that the client sends from its stdin. */
export const uploadHost = "buildkit-session";

const subrequests: ReadonlyMap<string, NonNullable<BuildRequest["subrequest"]>> = new Map([
  ["frontend.lint", "check"],
  ["frontend.outline", "outline"],
  ["frontend.targets", "targets"],
]);

/**
 * Reads the frontend's attributes.
 *
 * @param resolveInput what a named context `input:<name>` stands for
 * @throws invalid-argument for a value that is not understood
 */
export function readFrontendAttrs(
  attrs: FrontendAttrs,
  resolveInput: (name: string) => ContextSource | undefined,
): FrontendPart {
  const requestId = attrs.get("requestid") ?? "";
  const subrequest = subrequests.get(requestId);
  if (requestId !== "" && subrequest === undefined) {
    throw new EngineError("not-implemented", `unsupported request ${requestId}`);
  }
  refuseUnserved(attrs);
  return {
    ...readSources(attrs, resolveInput),
    args: withPrefix(attrs, "build-arg:"),
    labels: withPrefix(attrs, "label:"),
    platforms: readPlatforms(attrs.get("platform") ?? ""),
    ...readNoCache(attrs.get("no-cache")),
    isPulled: attrs.get("image-resolve-mode") === "pull",
    network: readNetwork(attrs.get("force-network-mode") ?? ""),
    extraHosts: readHosts(attrs.get("add-hosts") ?? ""),
    ulimits: readUlimits(attrs.get("ulimit") ?? ""),
    ...optional("target", attrs.get("target")),
    ...optional("shmSizeBytes", readCount(attrs.get("shm-size"), "shm size")),
    ...optional("cgroupParent", attrs.get("cgroup-parent")),
    ...optional("sourceDateEpoch", readEpoch(attrs.get("build-arg:SOURCE_DATE_EPOCH"))),
    ...optional("subrequest", subrequest),
    ...optional("explains", readBool(attrs.get("explain"))),
    ...optional("listsSteps", readBool(attrs.get("list-steps"))),
  };
}

type Sources = Pick<FrontendPart, "main" | "contexts"> &
  Partial<Pick<FrontendPart, "dockerfileFrom" | "dockerfileName" | "contextSubdir">>;

function readSources(
  attrs: FrontendAttrs,
  resolveInput: (name: string) => ContextSource | undefined,
): Sources {
  const contextKey = attrs.get("contextkey") ?? "context";
  const main = resolveInput(contextKey) ?? readMain(attrs.get(contextKey) ?? "", contextKey);
  const key = attrs.get("dockerfilekey");
  const isLocalDockerfile = main.kind === "local" || key !== undefined;
  const dockerfileFrom: ContextSource | undefined = isLocalDockerfile
    ? { kind: "local", name: key ?? "dockerfile" }
    : undefined;
  return {
    main,
    contexts: readContexts(attrs, resolveInput),
    ...optional("dockerfileFrom", dockerfileFrom),
    ...optional("dockerfileName", attrs.get("filename")),
    ...optional("contextSubdir", attrs.get("contextsubdir")),
  };
}

function readMain(url: string, contextKey: string): ContextSource {
  if (url === "") return { kind: "local", name: contextKey };
  return readUrl(url) ?? { kind: "local", name: contextKey };
}

function readUrl(url: string): ContextSource | undefined {
  if (isGitUrl(url)) return { kind: "git", url };
  return /^https?:\/\//.test(url) ? { kind: "http", url } : undefined;
}

/** BuildKit, util/gitutil: a URL is git by its scheme, or by its path's end. */
function isGitUrl(url: string): boolean {
  if (/^(?:git|ssh):\/\//.test(url) || /^[\w.-]+@[\w.-]+:/.test(url)) return true;
  if (/^github\.com\//.test(url)) return true;
  return /^(?:https?|file):\/\/[^?#]*\.git(?:[?#]|$)/.test(url);
}

function readContexts(
  attrs: FrontendAttrs,
  resolveInput: (name: string) => ContextSource | undefined,
): ReadonlyMap<string, ContextSource> {
  const contexts = new Map<string, ContextSource>();
  for (const [key, value] of withPrefix(attrs, "context:")) {
    // `name::platform` is for one platform of several; the last is as good as any.
    const name = (key.split("::")[0] ?? key).replace(/:latest$/, "").toLowerCase();
    contexts.set(name, readNamed(value, { name, resolveInput }));
  }
  return contexts;
}

function readNamed(
  value: string,
  named: {
    readonly name: string;
    readonly resolveInput: (name: string) => ContextSource | undefined;
  },
): ContextSource {
  const [, scheme = "", rest = ""] = /^([\w-]+):(.*)$/s.exec(value) ?? [];
  const url = readUrl(value);
  if (url !== undefined) return url;
  switch (scheme) {
    case "docker-image":
      return { kind: "image", reference: rest.replace(/^\/\//, "") };
    case "local":
      return { kind: "local", name: rest };
    case "oci-layout": {
      const reference = rest.replace(/^\/\//, "");
      return { kind: "oci-layout", name: reference.split(/[:@]/)[0] ?? "", reference };
    }
    case "target":
      return { kind: "stage", name: rest };
    case "input": {
      const source = named.resolveInput(rest);
      if (source !== undefined) return source;
      throw invalid(`invalid input ${rest} for ${named.name}`);
    }
    default:
      throw invalid(`unsupported context source ${scheme} for ${named.name}`);
  }
}

function withPrefix(attrs: FrontendAttrs, prefix: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of attrs) {
    if (key.startsWith(prefix)) found.set(key.slice(prefix.length), value);
  }
  return found;
}

function readPlatforms(text: string): readonly Platform[] {
  return text === "" ? [] : splitCsv(text).map((part) => parsePlatform(part.trim()));
}

function readNoCache(text: string | undefined): Pick<FrontendPart, "hasNoCache" | "noCacheStages"> {
  if (text === undefined) return { hasNoCache: false, noCacheStages: [] };
  return text === ""
    ? { hasNoCache: true, noCacheStages: [] }
    : { hasNoCache: false, noCacheStages: splitCsv(text) };
}

function readNetwork(mode: string): FrontendPart["network"] {
  if (mode === "" || mode === "sandbox" || mode === "default") return "default";
  if (mode === "none" || mode === "host") return mode;
  throw invalid(`invalid netmode ${mode}`);
}

function readHosts(text: string): readonly string[] {
  if (text === "") return [];
  return splitCsv(text).map((part) => {
    const [, host, address] = /^([^=]+)=(.*)$/.exec(part) ?? [];
    if (host === undefined || address === undefined)
      throw invalid(`invalid key-value pair ${part}`);
    return `${host}:${address.replace(/^\[(.*)\]$/, "$1")}`;
  });
}

function readUlimits(text: string): FrontendPart["ulimits"] {
  if (text === "") return [];
  return splitCsv(text).map((part) => {
    const [, name = "", soft = "", hard] = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(part.trim()) ?? [];
    if (name === "") throw invalid(`invalid ulimit ${part}`);
    return { name, soft: Number(soft), hard: Number(hard ?? soft) };
  });
}

function readCount(text: string | undefined, what: string): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw invalid(`failed to parse ${what}: "${text}" is no number`);
  return Number(text);
}

function readEpoch(text: string | undefined): number | undefined {
  if (text === undefined || text === "" || text === "context") return undefined;
  if (!/^\d{1,12}$/.test(text)) throw invalid(`invalid SOURCE_DATE_EPOCH: ${text}`);
  return Number(text);
}

/**
 * The caches that a build names, in all the places where clients name them.
 *
 * @throws invalid-argument `unknown cache exporter: "x"` for a kind that is not served
 */
export function readCaches(options: {
  readonly attrs: FrontendAttrs;
  readonly imports: readonly TypedAttrs[];
  readonly exports: readonly TypedAttrs[];
}): Pick<BuildRequest, "cacheFrom" | "cacheTo"> {
  const imports = [...options.imports, ...readCacheImports(options.attrs)];
  const seen = new Set<string>();
  const cacheFrom: CachePlace[] = [];
  for (const entry of imports) {
    const pairs = [...entry.attrs].map((pair) => JSON.stringify(pair));
    const key = JSON.stringify([entry.type, pairs.toSorted()]);
    if (seen.has(key)) continue;
    seen.add(key);
    cacheFrom.push(readCachePlace(entry, "importer"));
  }
  const cacheTo = options.exports.map((entry) => readCachePlace(entry, "exporter"));
  const isInline = readBool(options.attrs.get("build-arg:BUILDKIT_INLINE_CACHE")) === true;
  if (isInline && !cacheTo.some(({ type }) => type === "inline")) {
    cacheTo.push({ type: "inline", mode: "min", attributes: {} });
  }
  return { cacheFrom, cacheTo };
}

function readCachePlace(entry: TypedAttrs, role: string): CachePlace {
  const { type } = entry;
  if (type !== "local" && type !== "registry" && type !== "inline") {
    throw invalid(`unknown cache ${role}: ${JSON.stringify(type)}`);
  }
  return {
    type,
    mode: entry.attrs.get("mode") === "max" ? "max" : "min",
    attributes: Object.fromEntries(entry.attrs),
  };
}

function readCacheImports(attrs: FrontendAttrs): readonly TypedAttrs[] {
  const registries = splitCsv(attrs.get("cache-from") ?? "").filter((ref) => ref !== "");
  return [
    ...decodeCacheImports(attrs.get("cache-imports") ?? ""),
    ...registries.map((ref) => ({ type: "registry", attrs: new Map([["ref", ref]]) })),
  ];
}

/** The JSON form in which clients hand caches to a frontend. */
function decodeCacheImports(text: string): readonly TypedAttrs[] {
  if (text === "") return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EngineError("invalid-argument", "failed to unmarshal cache-imports", { cause });
  }
  if (!Array.isArray(value)) throw invalid("failed to unmarshal cache-imports: no list");
  return value.map((each: unknown) => {
    const entry = (typeof each === "object" && each !== null ? each : {}) as Record<
      string,
      unknown
    >;
    const pairs = Object.entries((entry["Attrs"] ?? {}) as Record<string, unknown>);
    return {
      type: String(entry["Type"] ?? ""),
      attrs: new Map(pairs.map(([key, item]): [string, string] => [key, String(item)])),
    };
  });
}

/**
 * The attestations that are asked for.
 *
 * @throws invalid-argument for values that are none, not-implemented for a form that is not written
 */
export function readAttestations(attrs: FrontendAttrs): BuildRequest["attestations"] {
  const sbom = attrs.get("attest:sbom");
  const provenance = attrs.get("attest:provenance");
  const hasSbom = sbom !== undefined && readBool(readPairs(sbom).get("disabled")) !== true;
  const pairs = readPairs(provenance ?? "");
  const isInlineOnly = readBool(pairs.get("inline-only")) === true;
  if (provenance === undefined || readBool(pairs.get("disabled")) === true) {
    return { sbom: hasSbom };
  }
  const mode = pairs.get("mode") ?? "min";
  if (mode !== "min" && mode !== "max") throw invalid(`invalid mode ${JSON.stringify(mode)}`);
  const version = pairs.get("version") ?? "";
  if (version !== "" && version !== "v0.2") {
    throw new EngineError("not-implemented", `provenance of version ${version} is not written`);
  }
  const builderId = pairs.get("builder-id") ?? "";
  return {
    sbom: hasSbom,
    provenance: mode,
    ...(builderId === "" ? {} : { builderId }),
    ...(readBool(pairs.get("reproducible")) === true ? { isReproducible: true } : {}),
    ...(isInlineOnly ? { isInlineOnly } : {}),
  };
}

/** How a client wants a failed step kept: `shell`, `image`. */
export function readDebug(attrs: FrontendAttrs): "shell" | "image" | undefined {
  const kind = attrs.get("debug-on-fail");
  if (kind === undefined || kind === "") return undefined;
  if (kind === "shell" || kind === "image") return kind;
  throw invalid(`invalid debug-on-fail: ${kind}`);
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return (value === undefined ? {} : { [key]: value }) as Partial<Record<K, V>>;
}

function invalid(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
