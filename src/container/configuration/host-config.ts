/**
 * The host's half of a request: checked, and filled in as inspect shows it.
 */
import type { ContainerConfig, HostConfig } from "../../api/container-config.ts";
import {
  autoRemoveWithRestart,
  invalidNamespaceMode,
  invalidRetryCount,
  unknownRestartPolicy,
  unknownRuntime,
} from "../../lib/docker-messages.ts";
import { EngineError } from "../../lib/errors.ts";
import { resolveCapabilities } from "../../runtime/spec/capabilities.ts";
import { parseDeviceCgroupRule } from "../../runtime/spec/devices.ts";
import type { HostFacts } from "../../runtime/spec/host-facts.ts";
import { defaultMaskedPaths, defaultReadonlyPaths } from "../../runtime/spec/masked-paths.ts";
import { checkResources } from "../../runtime/spec/resources.ts";
import { planRlimits } from "../../runtime/spec/rlimits.ts";
import { parseSecurityOptions } from "../../runtime/spec/security-options.ts";
import { parseExtraHost } from "../../runtime/sandbox/hosts-files.ts";
import { checkLogConfig } from "./log-config.ts";
import { resourcesOf } from "./resources.ts";

/** `/dev/shm` unless asked otherwise. */
export const shmSizeDefaultBytes: number = 64 * 1024 * 1024;
const oomScoreAdjMax = 1000;
/** Stands for the gateway while nothing but the form of an extra host is checked. */
const loopback = "127.0.0.1";

/** An OCI runtime that a container may ask for by name. */
export interface RuntimeChoice {
  readonly path: string;
  readonly args: readonly string[];
}

/** What the engine decides where a request says nothing. */
export interface HostConfigDefaults {
  readonly runtimes: Readonly<Record<string, RuntimeChoice>>;
  readonly defaultRuntime: string;
  /** `max-size` and the like for containers with the default log driver. */
  readonly logOptions: Readonly<Record<string, string>>;
  /** Driver of logs that ask for none; `json-file` when absent. */
  readonly logDriver?: string;
  readonly shmSizeBytes?: number;
}

/**
 * Checks and completes a host configuration. What the engine cannot do is refused by name.
 *
 * @returns the completed one, and warnings for the client
 * @throws invalid-argument in Docker's words; not-implemented "Tug does not support HostConfig.X yet"
 */
export function completeHostConfig(
  asked: HostConfig,
  options: { readonly host: HostFacts; readonly defaults: HostConfigDefaults },
): { readonly hostConfig: HostConfig; readonly warnings: readonly string[] } {
  const { host, defaults } = options;
  refuseUnsupported(asked);
  checkRestartPolicy(asked);
  checkModes(asked);
  checkPlain(asked);
  const hostConfig = fillIn(asked, { host, defaults });
  if (!Object.hasOwn(defaults.runtimes, hostConfig.Runtime ?? "")) {
    throw unknownRuntime(hostConfig.Runtime ?? "");
  }
  const { resources, warnings } = checkResources(resourcesOf(hostConfig), host);
  checkSecurity(hostConfig, host);
  checkLogConfig(hostConfig.LogConfig);
  const kept = { ...hostConfig, BlkioWeight: resources.blkioWeight ?? 0 };
  return { hostConfig: kept, warnings: [...warnings, ...warningsAbout(hostConfig)] };
}

function fillIn(
  asked: HostConfig,
  options: { readonly host: HostFacts; readonly defaults: HostConfigDefaults },
): HostConfig {
  const { host, defaults } = options;
  const { KernelMemory: _kernel, KernelMemoryTCP: _tcp, ...kept } = asked;
  const isUnmasked = asked.Privileged;
  const hasMemory = asked.Memory > 0;
  return {
    ...kept,
    LogConfig: {
      Type: asked.LogConfig.Type || (options.defaults.logDriver ?? "json-file"),
      Config: asked.LogConfig.Config ?? {},
    },
    NetworkMode: ["", "default"].includes(asked.NetworkMode) ? "bridge" : asked.NetworkMode,
    RestartPolicy: { ...asked.RestartPolicy, Name: "no" },
    CgroupnsMode: asked.CgroupnsMode || cgroupnsDefault(asked, host),
    IpcMode: asked.IpcMode || "private",
    ShmSize: asked.ShmSize || (defaults.shmSizeBytes ?? shmSizeDefaultBytes),
    Runtime: asked.Runtime || defaults.defaultRuntime,
    SecurityOpt: securityOptionsOf(asked),
    // Docker: as much swap as memory unless told, seen in 28.5
    MemorySwap: hasMemory && asked.MemorySwap === 0 ? asked.Memory * 2 : asked.MemorySwap,
    OomKillDisable: asked.OomKillDisable ?? false,
    MemorySwappiness: asked.MemorySwappiness === -1 ? null : asked.MemorySwappiness,
    PidsLimit: (asked.PidsLimit ?? 0) > 0 ? asked.PidsLimit : null,
    MaskedPaths: asked.MaskedPaths ?? (isUnmasked ? null : defaultMaskedPaths),
    ReadonlyPaths: asked.ReadonlyPaths ?? (isUnmasked ? null : defaultReadonlyPaths),
  };
}

/** Docker: who shares the host's processes has no label of its own, seen in 28.5. */
function securityOptionsOf(asked: HostConfig): readonly string[] | null {
  const given = asked.SecurityOpt;
  const isUnlabelled = asked.Privileged || asked.PidMode === "host" || asked.IpcMode === "host";
  const hasLabel = given?.some((option) => /^label[=:]/.test(option)) ?? false;
  return isUnlabelled && !hasLabel ? [...(given ?? []), "label=disable"] : given;
}

function cgroupnsDefault(asked: HostConfig, host: HostFacts): string {
  return host.cgroupVersion === 2 && !asked.Privileged ? "private" : "host";
}

function refuseUnsupported(asked: HostConfig): void {
  const isThere: Readonly<Record<string, boolean>> = {
    "HostConfig.Links": hasAny(asked.Links),
    "HostConfig.DeviceRequests": hasAny(asked.DeviceRequests),
    "HostConfig.StorageOpt": Object.keys(asked.StorageOpt ?? {}).length > 0,
    "HostConfig.Cgroup": asked.Cgroup !== "",
    "HostConfig.UsernsMode": !["", "host"].includes(asked.UsernsMode),
  };
  for (const [name, there] of Object.entries(isThere)) if (there) throw unsupported(name);
  if (!["", "default"].includes(asked.Isolation)) {
    throw invalid(`invalid isolation (${asked.Isolation}): linux only supports 'default'`);
  }
  if (asked.CpuCount > 0) throw windowsOnly("CPU count");
  if (asked.CpuPercent > 0) throw windowsOnly("CPU percent");
  if (asked.IOMaximumIOps > 0) throw windowsOnly("maximum IOPs");
  if (asked.IOMaximumBandwidth > 0) throw windowsOnly("maximum bandwidth");
}

/** A request for something that comes later. */
export function unsupported(name: string): EngineError {
  return new EngineError("not-implemented", `Tug does not support ${name} yet`);
}

function checkRestartPolicy(asked: HostConfig): void {
  const { Name: name, MaximumRetryCount: count } = asked.RestartPolicy;
  if (!["", "no", "always", "unless-stopped", "on-failure"].includes(name)) {
    throw unknownRestartPolicy(name);
  }
  if (count !== 0 && name !== "on-failure") throw invalidRetryCount("without-on-failure");
  if (count < 0) throw invalidRetryCount("negative");
  if (name === "" || name === "no") return;
  if (asked.AutoRemove) throw autoRemoveWithRestart();
  throw unsupported(`HostConfig.RestartPolicy "${name}"`);
}

function checkModes(asked: HostConfig): void {
  const isContainer = (mode: string): boolean => /^container:.+$/.test(mode);
  const { IpcMode: ipc, PidMode: pid, UTSMode: uts, CgroupnsMode: cgroupns } = asked;
  if (!["", "none", "private", "shareable", "host"].includes(ipc) && !isContainer(ipc)) {
    throw invalidNamespaceMode("IPC", ipc);
  }
  if (!["", "host"].includes(pid) && !isContainer(pid)) throw invalidNamespaceMode("PID", pid);
  if (!["", "host"].includes(uts)) throw invalidNamespaceMode("UTS", uts);
  if (!["", "private", "host"].includes(cgroupns)) {
    throw invalidNamespaceMode("cgroup namespace", cgroupns);
  }
  if (asked.NetworkMode.startsWith("container:") && !isContainer(asked.NetworkMode)) {
    throw invalid("invalid network mode: invalid container format container:<name|id>");
  }
}

function checkPlain(asked: HostConfig): void {
  if (asked.ShmSize < 0) throw invalid("SHM size can not be less than 0");
  if (Math.abs(asked.OomScoreAdj) > oomScoreAdjMax) {
    throw invalid(`Invalid value ${asked.OomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  if (Object.hasOwn(asked.Annotations ?? {}, "")) {
    throw invalid("invalid Annotations: the empty string is not permitted as an annotation key");
  }
  for (const entry of asked.ExtraHosts ?? []) parseExtraHost(entry, loopback);
  for (const path of [...(asked.MaskedPaths ?? []), ...(asked.ReadonlyPaths ?? [])]) {
    if (!path.startsWith("/")) throw invalid(`invalid masked or read-only path: '${path}'`);
  }
}

function checkSecurity(hostConfig: HostConfig, host: HostFacts): void {
  parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  resolveCapabilities(
    {
      add: hostConfig.CapAdd ?? [],
      drop: hostConfig.CapDrop ?? [],
      isPrivileged: hostConfig.Privileged,
    },
    host.boundingCapabilities,
  );
  for (const rule of hostConfig.DeviceCgroupRules ?? []) parseDeviceCgroupRule(rule);
  planRlimits(resourcesOf(hostConfig).ulimits ?? [], {
    inherited: host.rlimits,
    hardLimits: host.hardLimits,
    canRaise: host.boundingCapabilities.includes("CAP_SYS_RESOURCE"),
  });
}

function warningsAbout(hostConfig: HostConfig): readonly string[] {
  const warnings: string[] = [];
  const publishes = Object.keys(hostConfig.PortBindings ?? {}).length > 0;
  if (hostConfig.NetworkMode === "host" && publishes) {
    warnings.push("Published ports are discarded when using host network mode");
  }
  return warnings;
}

/** Checks what both halves say together. @throws not-implemented, invalid-argument */
export function checkTogether(config: ContainerConfig, hostConfig: HostConfig): void {
  const probe = config.Healthcheck?.Test ?? [];
  if (probe.length > 0 && probe[0] !== "NONE") throw unsupported("Config.Healthcheck");
  const isForeign = /^(host|container:)/.test(hostConfig.NetworkMode);
  if (hostConfig.NetworkMode.startsWith("container:") && config.Hostname !== "") {
    throw invalid("conflicting options: hostname and the network mode");
  }
  if (hostConfig.NetworkMode.startsWith("container:")) checkSharedNetwork(config, hostConfig);
  if (isForeign && config.MacAddress !== undefined && config.MacAddress !== "") {
    throw invalid("conflicting options: mac-address and the network mode");
  }
  if (hostConfig.UTSMode === "host" && (config.Hostname !== "" || config.Domainname !== "")) {
    throw invalid("conflicting options: hostname and the UTS mode");
  }
}

/** What belongs to the container whose network it is. Sentences seen in Docker 28.5. */
function checkSharedNetwork(config: ContainerConfig, hostConfig: HostConfig): void {
  const has = (value: object | null | undefined): boolean => Object.keys(value ?? {}).length > 0;
  if (hostConfig.PublishAllPorts || has(hostConfig.PortBindings)) {
    throw invalid("conflicting options: port publishing and the container type network mode");
  }
  if (has(config.ExposedPorts)) {
    throw invalid("conflicting options: port exposing and the container type network mode");
  }
  if (has(hostConfig.Dns)) throw invalid("conflicting options: dns and the network mode");
  if (has(hostConfig.ExtraHosts)) {
    throw invalid("conflicting options: custom host-to-IP mapping and the network mode");
  }
}

function hasAny(list: readonly unknown[] | null): boolean {
  return list !== null && list.length > 0;
}

function windowsOnly(what: string): EngineError {
  return invalid(`invalid option: QoS ${what} configuration is not supported on linux`);
}

function invalid(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
