import { posix } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import type { RuntimeProcess, RuntimeSpec, RuntimeSeccomp } from "../../oci/runtime-spec.ts";
import { capabilitySets, resolveCapabilities } from "./capabilities.ts";
import { planDevices } from "./devices.ts";
import { completeEnvironment } from "./environment.ts";
import type { HostFacts } from "./host-facts.ts";
import { defaultReadonlyPaths, maskedPathsOf } from "./masked-paths.ts";
import { checkMountTargets } from "./_mount-targets.ts";
import { initTarget, planMounts } from "./mounts.ts";
import { ownNamespaces, planNamespaces } from "./namespaces.ts";
import { checkResources, encodeResources } from "./resources.ts";
import { planRlimits } from "./rlimits.ts";
import { decodeSeccompProfile, resolveSeccomp } from "../seccomp/seccomp.ts";
import { parseSecurityOptions, type SecurityOptions } from "./security-options.ts";
import type { SpecInput } from "./spec-input.ts";
import { planSysctls } from "./sysctls.ts";
import { readUserFiles, resolveUser } from "./users.ts";

const oomScoreAdjMax = 1000;
/** The youngest version that crun 1.8 takes; nothing newer is used. */
const specVersion = "1.0.2";

/**
 * Makes the runtime spec of a container.
 *
 * Reads the image's files of users and groups, and the devices that the container names; nothing is
 * written. Docker's defaults, or stricter.
 *
 * @throws invalid-argument for what cannot be done, in Docker's words where it has some
 * @throws unavailable when the host has no seccomp profile and the container did not refuse one
 */
export function generateSpec(input: SpecInput, host: HostFacts): RuntimeSpec {
  const security = parseSecurityOptions(input.securityOpt);
  const capabilities = resolveCapabilities(
    { add: input.capAdd, drop: input.capDrop, isPrivileged: input.isPrivileged },
    host.boundingCapabilities,
  );
  const hasInit = input.initPath !== undefined && input.namespaces.pid.kind === "private";
  const { initPath: _, ...withoutInit } = input;
  checkMountTargets(input.mounts, input.layerDirs);
  const { mounts, rootfsPropagation } = planMounts(
    {
      ...(hasInit ? input : withoutInit),
      hasWritableCgroups: security.hasWritableCgroups,
    },
    host,
  );
  const devices = planDevices({
    requests: input.devices,
    cgroupRules: input.resources.deviceCgroupRules ?? [],
    isPrivileged: input.isPrivileged,
    hostDevices: host.devices,
  });
  const own = ownNamespaces(input.namespaces);
  const sysctl = planSysctls(input.sysctls, {
    own,
    ...(input.domainname === undefined ? {} : { domainname: input.domainname }),
  });
  const seccomp = planSeccomp({ input, host, security, capabilities });
  const opensPaths = input.isPrivileged || security.isSystemPathsUnconfined;
  const { resources } = checkResources(input.resources, host);
  return {
    ociVersion: specVersion,
    process: planProcess(input, { host, security, capabilities, hasInit }),
    root: { path: input.rootfs, ...(input.isRootReadOnly ? { readonly: true } : {}) },
    ...(input.namespaces.uts.kind === "private" ? { hostname: input.hostname } : {}),
    mounts,
    ...(Object.keys(input.annotations).length === 0 ? {} : { annotations: input.annotations }),
    linux: {
      namespaces: planNamespaces(input.namespaces),
      cgroupsPath: input.cgroupsPath,
      devices: devices.nodes,
      resources: { devices: devices.rules, ...encodeResources(resources) },
      sysctl,
      ...(rootfsPropagation === undefined ? {} : { rootfsPropagation }),
      ...(seccomp === undefined ? {} : { seccomp }),
      maskedPaths: opensPaths ? [] : (input.maskedPaths ?? maskedPathsOf(host.possibleCpus)),
      readonlyPaths: opensPaths ? [] : (input.readonlyPaths ?? defaultReadonlyPaths),
    },
  };
}

/** What of a container an added process depends on. */
export interface ExecInput {
  readonly args: readonly string[];
  /** Entries beside those of the container. */
  readonly env: readonly string[];
  /** "" is the container's. */
  readonly workingDir: string;
  /** "" is the container's. */
  readonly user: string;
  readonly hasTty: boolean;
  readonly isPrivileged: boolean;
}

/**
 * Makes the process of an exec from the container that it joins.
 *
 * Privileged gives every capability that the engine has; else the container's own.
 */
export function generateExecProcess(
  exec: ExecInput,
  container: SpecInput,
  host: HostFacts,
): RuntimeProcess {
  const security = parseSecurityOptions(container.securityOpt);
  const capabilities = resolveCapabilities(
    {
      add: container.capAdd,
      drop: container.capDrop,
      isPrivileged: container.isPrivileged || exec.isPrivileged,
    },
    host.boundingCapabilities,
  );
  const { consoleSize: _, ...inherited } = container;
  const input: SpecInput = {
    ...inherited,
    args: exec.args,
    env: [...container.env, ...exec.env],
    workingDir: exec.workingDir === "" ? container.workingDir : exec.workingDir,
    user: exec.user === "" ? container.user : exec.user,
    hasTty: exec.hasTty,
  };
  return planProcess(input, { host, security, capabilities, hasInit: false });
}

function planProcess(
  input: SpecInput,
  options: {
    readonly host: HostFacts;
    readonly security: SecurityOptions;
    readonly capabilities: readonly string[];
    readonly hasInit: boolean;
  },
): RuntimeProcess {
  const { host, security } = options;
  if (input.args.length === 0) throw invalid("no command specified");
  if (Math.abs(input.oomScoreAdj) > oomScoreAdjMax) {
    throw invalid(`Invalid value ${input.oomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  const { uid, gid, additionalGids, home } = resolveUser(input, readUserFiles(input.layerDirs));
  return {
    terminal: input.hasTty,
    ...(input.hasTty && input.consoleSize !== undefined ? { consoleSize: input.consoleSize } : {}),
    user: { uid, gid, umask: 0o022, additionalGids },
    args: options.hasInit ? [initTarget, "--", ...input.args] : input.args,
    env: completeEnvironment(input.env, {
      hostname: input.hostname,
      hasTty: input.hasTty,
      home,
    }),
    cwd: cleanWorkingDir(input.workingDir),
    capabilities: capabilitySets(options.capabilities, uid),
    rlimits: planRlimits(input.resources.ulimits ?? [], {
      inherited: host.rlimits,
      hardLimits: host.hardLimits,
      canRaise: host.boundingCapabilities.includes("CAP_SYS_RESOURCE"),
    }),
    noNewPrivileges: security.hasNoNewPrivileges ?? input.hasDefaultNoNewPrivileges ?? false,
    ...(host.hasAppArmor && security.apparmorProfile !== undefined
      ? { apparmorProfile: security.apparmorProfile }
      : {}),
    oomScoreAdj: input.oomScoreAdj,
  };
}

function planSeccomp(options: {
  readonly input: SpecInput;
  readonly host: HostFacts;
  readonly security: SecurityOptions;
  readonly capabilities: readonly string[];
}): RuntimeSeccomp | undefined {
  const { host, security } = options;
  const asked = security.seccomp;
  if (asked?.kind === "unconfined") return undefined;
  if (asked === undefined && options.input.isPrivileged) return undefined;
  const profile = asked?.kind === "custom" ? decodeSeccompProfile(asked.json) : host.seccompProfile;
  if (profile === undefined) {
    throw new EngineError(
      "unavailable",
      "no seccomp profile is installed: install golang-github-containers-common, or ask for seccomp=unconfined",
    );
  }
  return resolveSeccomp(profile, {
    capabilities: options.capabilities,
    architecture: host.architecture,
    kernelVersion: host.kernelVersion,
  });
}

function cleanWorkingDir(path: string): string {
  if (path === "") return "/";
  if (path.startsWith("/")) return posix.normalize(path);
  throw invalid(`the working directory '${path}' is invalid, it needs to be an absolute path`);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
