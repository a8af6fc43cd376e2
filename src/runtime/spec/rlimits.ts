import { EngineError } from "../../lib/errors.ts";
import type { RuntimeRlimit, RuntimeSpec } from "../../oci/runtime-spec.ts";

/** Each limit's line in /proc/<pid>/limits. @see man 5 proc */
const procNames: readonly (readonly [line: string, type: string])[] = [
  ["Max cpu time", "RLIMIT_CPU"],
  ["Max file size", "RLIMIT_FSIZE"],
  ["Max data size", "RLIMIT_DATA"],
  ["Max stack size", "RLIMIT_STACK"],
  ["Max core file size", "RLIMIT_CORE"],
  ["Max resident set", "RLIMIT_RSS"],
  ["Max processes", "RLIMIT_NPROC"],
  ["Max open files", "RLIMIT_NOFILE"],
  ["Max locked memory", "RLIMIT_MEMLOCK"],
  ["Max file locks", "RLIMIT_LOCKS"],
  ["Max pending signals", "RLIMIT_SIGPENDING"],
  ["Max msgqueue size", "RLIMIT_MSGQUEUE"],
  ["Max nice priority", "RLIMIT_NICE"],
  ["Max realtime priority", "RLIMIT_RTPRIO"],
  ["Max realtime timeout", "RLIMIT_RTTIME"],
];

/** The limits that `--ulimit` knows. @see man 2 getrlimit */
export const ulimitNames: readonly string[] = [
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
];

/** A limit as somebody asks for it; −1 is no limit. */
export interface UlimitRequest {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

/** RLIM_INFINITY as near as a number comes; `formatRuntimeSpec` writes it exactly. */
const unlimited = 2 ** 64;

/**
 * The limits of a process: those of the host, replaced by those asked for.
 *
 * @param options.hardLimits what the engine itself has, by type
 * @param options.canRaise whether the engine may give more than it has (CAP_SYS_RESOURCE)
 * @throws invalid-argument for an unknown name, a soft limit above the hard one, or more than the
 * engine may give
 */
export function planRlimits(
  asked: readonly UlimitRequest[],
  options: {
    readonly inherited: readonly RuntimeRlimit[];
    readonly hardLimits: Readonly<Record<string, number>>;
    readonly canRaise: boolean;
  },
): readonly RuntimeRlimit[] {
  const limits = new Map(options.inherited.map((limit) => [limit.type, limit]));
  for (const { name, soft, hard } of asked) {
    if (!ulimitNames.includes(name)) throw invalid(`invalid ulimit type: ${name}`);
    const limit = { type: `RLIMIT_${name.toUpperCase()}`, soft: amount(soft), hard: amount(hard) };
    if (limit.soft > limit.hard) {
      throw invalid(
        `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
      );
    }
    const most = options.hardLimits[limit.type];
    if (!options.canRaise && most !== undefined && limit.hard > most) {
      throw invalid(`error setting rlimit ${name} to ${hard}: the engine may give at most ${most}`);
    }
    limits.set(limit.type, limit);
  }
  return [...limits.values()].sort((a, b) => (a.type < b.type ? -1 : 1));
}

/** The hard limits told by the text of /proc/<pid>/limits, by type. */
export function parseHardLimits(text: string): Readonly<Record<string, number>> {
  return Object.fromEntries(
    procNames.flatMap(([name, type]) => {
      const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
      const hard = line?.slice(name.length).trim().split(/\s+/)[1];
      if (hard === undefined) return [];
      return [[type, hard === "unlimited" ? unlimited : Number(hard)]];
    }),
  );
}

/** The text of a `config.json`, with limits that JavaScript's numbers cannot hold written exactly. */
export function formatRuntimeSpec(spec: RuntimeSpec): string {
  return JSON.stringify(spec).replaceAll(
    /"(soft|hard)":18446744073709552000\b/g,
    '"$1":18446744073709551615',
  );
}

function amount(value: number): number {
  return value === -1 ? unlimited : value;
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
