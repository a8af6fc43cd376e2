/**
 * Seccomp profiles: rules with conditions on capabilities, machine and kernel, resolved for one
 * container into the filter of its runtime spec.
 *
 * @see moby's profile format: `archMap`, `includes`, `excludes`
 */
import { EngineError } from "../../lib/errors.ts";
import type {
  RuntimeSeccomp,
  RuntimeSyscall,
  SeccompAction,
  SeccompOperator,
} from "../../oci/runtime-spec.ts";
import { dockerAnswers } from "./_seccomp-differences.ts";

/** A condition on one argument of a system call. */
export type SeccompArgument = NonNullable<RuntimeSyscall["args"]>[number];

/** When a rule counts. */
export interface SeccompCondition {
  readonly caps?: readonly string[];
  readonly arches?: readonly string[];
  /** `4.8`: this kernel or a newer one. */
  readonly minKernel?: string;
}

/** A rule of a profile. It counts when all of `includes` hold and none of `excludes`. */
export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: SeccompAction;
  readonly errnoRet?: number;
  readonly args?: readonly SeccompArgument[];
  readonly includes?: SeccompCondition;
  readonly excludes?: SeccompCondition;
}

/** A profile as read. */
export interface SeccompProfile {
  readonly defaultAction: SeccompAction;
  readonly defaultErrnoRet?: number;
  readonly architectures: readonly string[];
  readonly archMap: readonly {
    readonly architecture: string;
    readonly subArchitectures: readonly string[];
  }[];
  readonly flags: readonly string[];
  readonly rules: readonly SeccompRule[];
}

/** What the conditions of a profile are about. */
export interface SeccompSubject {
  /** The container's bounding set. */
  readonly capabilities: readonly string[];
  readonly architecture: string;
  readonly kernelVersion: { readonly major: number; readonly minor: number };
}

const profileSizeMaxChars = 4 * 1024 * 1024;
// SCMP_ACT_NOTIFY needs a supervisor of its own and is refused.
const actions: readonly SeccompAction[] = [
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
];
const operators: readonly SeccompOperator[] = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
];
const architectureNames: Readonly<Record<string, string>> = {
  amd64: "SCMP_ARCH_X86_64",
  arm64: "SCMP_ARCH_AARCH64",
};

/**
 * Decodes the JSON text of a profile; keys match without case, as Go reads them.
 *
 * @throws invalid-argument with Docker's first words when it is no profile
 */
export function decodeSeccompProfile(text: string): SeccompProfile {
  if (text.length > profileSizeMaxChars) throw undecodable("larger than 4 MiB");
  const document = record(parseJson(text), "profile");
  const architectures = strings(document["architectures"], "architectures");
  const archMap = list(document["archmap"], "archMap").map((item) => {
    const entry = record(item, "archMap");
    return {
      architecture: string(entry["architecture"], "architecture"),
      subArchitectures: strings(entry["subarchitectures"], "subArchitectures"),
    };
  });
  if (architectures.length > 0 && archMap.length > 0) {
    throw undecodable("'architectures' and 'archMap' were specified in the seccomp profile");
  }
  const errnoRet = optionalNumber(document["defaulterrnoret"], "defaultErrnoRet");
  return {
    defaultAction: action(document["defaultaction"]),
    ...(errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }),
    architectures,
    archMap,
    flags: strings(document["flags"], "flags"),
    rules: list(document["syscalls"], "syscalls").map(decodeRule),
  };
}

/** The profile with Docker's answers where it has others; see `_seccomp-differences.ts`. */
export function withDockerAnswers(profile: SeccompProfile): SeccompProfile {
  const replaced = new Set(dockerAnswers.flatMap((rule) => rule.names));
  const kept = profile.rules
    .map((rule) => ({ ...rule, names: rule.names.filter((name) => !replaced.has(name)) }))
    .filter((rule) => rule.names.length > 0);
  return { ...profile, rules: [...kept, ...dockerAnswers] };
}

/** Resolves the conditions of a profile for one container. */
export function resolveSeccomp(profile: SeccompProfile, subject: SeccompSubject): RuntimeSeccomp {
  const native = architectureNames[subject.architecture];
  const mapped = profile.archMap.find((entry) => entry.architecture === native);
  const architectures =
    mapped === undefined
      ? profile.architectures
      : [mapped.architecture, ...mapped.subArchitectures];
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures.length === 0 ? {} : { architectures }),
    ...(profile.flags.length === 0 ? {} : { flags: profile.flags }),
    syscalls: profile.rules
      .filter((rule) => isIncluded(rule, subject) && !isExcluded(rule, subject))
      .map((rule) => ({
        names: rule.names,
        action: rule.action,
        ...(rule.errnoRet === undefined ? {} : { errnoRet: rule.errnoRet }),
        ...(rule.args === undefined || rule.args.length === 0 ? {} : { args: rule.args }),
      })),
  };
}

function isIncluded(rule: SeccompRule, subject: SeccompSubject): boolean {
  const { caps = [], arches = [], minKernel } = rule.includes ?? {};
  if (arches.length > 0 && !arches.includes(subject.architecture)) return false;
  if (!caps.every((cap) => subject.capabilities.includes(cap))) return false;
  return minKernel === undefined || isKernelAtLeast(minKernel, subject);
}

function isExcluded(rule: SeccompRule, subject: SeccompSubject): boolean {
  const { caps = [], arches = [], minKernel } = rule.excludes ?? {};
  if (arches.includes(subject.architecture)) return true;
  if (caps.some((cap) => subject.capabilities.includes(cap))) return true;
  return minKernel !== undefined && isKernelAtLeast(minKernel, subject);
}

function isKernelAtLeast(version: string, subject: SeccompSubject): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const kernel = subject.kernelVersion;
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor);
}

function decodeRule(item: unknown): SeccompRule {
  const rule = record(item, "syscalls");
  const single = rule["name"];
  const names =
    typeof single === "string" && single !== "" ? [single] : strings(rule["names"], "names");
  if (names.length === 0) throw undecodable("a rule of syscalls has no names");
  const errnoRet = optionalNumber(rule["errnoret"], "errnoRet");
  return {
    names,
    action: action(rule["action"]),
    ...(errnoRet === undefined ? {} : { errnoRet }),
    args: list(rule["args"], "args").map(decodeArgument),
    includes: decodeCondition(rule["includes"], "includes"),
    excludes: decodeCondition(rule["excludes"], "excludes"),
  };
}

function decodeArgument(item: unknown): SeccompArgument {
  const argument = record(item, "args");
  const valueTwo = optionalNumber(argument["valuetwo"], "valueTwo");
  return {
    index: optionalNumber(argument["index"], "index") ?? 0,
    value: optionalNumber(argument["value"], "value") ?? 0,
    ...(valueTwo === undefined ? {} : { valueTwo }),
    op: operator(argument["op"]),
  };
}

function decodeCondition(item: unknown, name: string): SeccompCondition {
  if (item === undefined || item === null) return {};
  const condition = record(item, name);
  const minKernel = condition["minkernel"];
  if (typeof minKernel === "string" && !/^\d+\.\d+$/.test(minKernel)) {
    throw undecodable(`invalid kernel version: ${JSON.stringify(minKernel)}`);
  }
  return {
    caps: strings(condition["caps"], "caps"),
    arches: strings(condition["arches"], "arches"),
    ...(typeof minKernel === "string" ? { minKernel } : {}),
  };
}

function action(value: unknown): SeccompAction {
  const found = actions.find((name) => name === value);
  if (found === undefined) throw undecodable(`unknown action ${JSON.stringify(value)}`);
  return found;
}

function operator(value: unknown): SeccompOperator {
  const found = operators.find((name) => name === value);
  if (found === undefined) throw undecodable(`unknown operator ${JSON.stringify(value)}`);
  return found;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw undecodable("not JSON", cause);
  }
}

function record(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw undecodable(`${name} is not an object`);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key.toLowerCase(), item]));
}

function list(value: unknown, name: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw undecodable(`${name} is not a list`);
  return value;
}

function strings(value: unknown, name: string): readonly string[] {
  return list(value, name).map((item) => string(item, name));
}

function string(value: unknown, name: string): string {
  if (typeof value !== "string") throw undecodable(`${name} is not a string`);
  return value;
}

function optionalNumber(value: unknown, name: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw undecodable(`${name} is not a whole number`);
  }
  return value;
}

function undecodable(reason: string, cause?: unknown): EngineError {
  return new EngineError("invalid-argument", `Decoding seccomp profile failed: ${reason}`, {
    cause,
  });
}
