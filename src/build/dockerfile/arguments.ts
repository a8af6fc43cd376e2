/** Build arguments: which there are without ARG, and what an ARG is worth. */
import { formatPlatform, normalizePlatform, type Platform } from "../../oci/platform.ts";
import { expandWord, type Scope } from "./expand.ts";
import type { Dockerfile } from "./instruction.ts";

/** Arguments that reach RUN's environment without ARG and are in no cache key and no history. */
export const proxyArgs: readonly string[] = ["HTTP", "HTTPS", "FTP", "NO", "ALL"].flatMap(
  (name) => [`${name}_PROXY`, `${name.toLowerCase()}_proxy`],
);

/** Arguments that speak to the builder. @see Dockerfile reference, BuildKit built-in build args */
export const builderArgs: readonly string[] = [
  "BUILDKIT_BUILD_NAME",
  "BUILDKIT_CACHE_MOUNT_NS",
  "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
  "BUILDKIT_DOCKERFILE_CHECK",
  "BUILDKIT_HISTORY_PROVENANCE_V1",
  "BUILDKIT_INLINE_CACHE",
  "BUILDKIT_MULTI_PLATFORM",
  "BUILDKIT_SANDBOX_HOSTNAME",
  "BUILDKIT_SBOM_SCAN_CONTEXT",
  "BUILDKIT_SBOM_SCAN_STAGE",
  "BUILDKIT_SYNTAX",
  "SOURCE_DATE_EPOCH",
];

/** Whether an argument may be given that no ARG names. */
export function isPredefinedArg(name: string): boolean {
  return proxyArgs.includes(name) || builderArgs.includes(name);
}

/** What a build is for and where it runs. */
export interface PlatformFacts {
  readonly platform: Platform;
  readonly buildPlatform: Platform;
  /** `--target`. */
  readonly target?: string;
}

/**
 * TARGETPLATFORM, BUILDARCH and the like: known to FROM, and to a stage by an ARG without value.
 *
 * @param given `--build-arg`, which wins
 */
export function platformArgs(
  facts: PlatformFacts,
  given: ReadonlyMap<string, string> = new Map(),
): Map<string, string> {
  const values = new Map([
    ...ofPlatform("BUILD", facts.buildPlatform),
    ...ofPlatform("TARGET", facts.platform),
    ["TARGETSTAGE", facts.target === undefined || facts.target === "" ? "default" : facts.target],
  ] as const);
  for (const name of values.keys()) {
    const value = given.get(name);
    if (value !== undefined) values.set(name, value);
  }
  return values;
}

function ofPlatform(prefix: string, platform: Platform): readonly (readonly [string, string])[] {
  const normal = normalizePlatform(platform);
  return [
    [`${prefix}PLATFORM`, formatPlatform(normal)],
    [`${prefix}OS`, normal.os],
    [`${prefix}OSVERSION`, ""],
    [`${prefix}ARCH`, normal.architecture],
    [`${prefix}VARIANT`, normal.variant ?? ""],
  ];
}

/** One name of an ARG with its default, a word. */
export interface ArgDefault {
  readonly name: string;
  readonly value?: string;
}

/**
 * What one name of an ARG is worth in a stage: the value given, else its default with `scope`
 * expanded, else that of the file's meta argument or the platform's. Undefined when nobody says.
 */
export function settleArg(
  arg: ArgDefault,
  options: {
    readonly scope: Scope;
    readonly given: ReadonlyMap<string, string>;
    /** What `settleMetaArgs` gave. */
    readonly meta: ReadonlyMap<string, string>;
  },
): string | undefined {
  const given = options.given.get(arg.name);
  if (given !== undefined) return given;
  if (arg.value !== undefined) return expandWord(arg.value, options.scope);
  return options.meta.get(arg.name);
}

/**
 * What FROM may use, and a stage by an ARG without value: the platform's arguments and the file's meta
 * arguments, each of which sees those before it.
 *
 * @throws invalid-argument for a default that cannot be expanded
 */
export function settleMetaArgs(
  dockerfile: Pick<Dockerfile, "metaArgs" | "directives">,
  options: {
    readonly given: ReadonlyMap<string, string>;
    /** What `platformArgs` gave. */
    readonly platform: ReadonlyMap<string, string>;
  },
): Map<string, string> {
  const values = new Map(options.platform);
  const scope = { env: values, escape: dockerfile.directives.escape };
  for (const instruction of dockerfile.metaArgs) {
    for (const { name, value } of instruction.args) {
      const given = options.given.get(name);
      if (given !== undefined) values.set(name, given);
      else if (value !== undefined) values.set(name, expandWord(value, scope));
    }
  }
  return values;
}
