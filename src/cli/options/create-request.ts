/** The create request that the flags of `run` and `create` stand for, as Docker's client makes it. */
import type { ContainerCreateRequest } from "../../api/container.ts";
import type {
  ContainerConfig,
  HealthConfig,
  HostConfig,
  Resources,
  RestartPolicy,
  StringMap,
} from "../../api/container-config.ts";
import type { FlagReader } from "../flag/flag-reader.ts";
import * as devices from "./devices.ts";
import { parseEnv, parseLabel, readEnvFile, readLabelFile } from "./env.ts";
import { fault } from "./fault.ts";
import { keyValues, splitPair } from "./key-values.ts";
import {
  parseAddress,
  parseCpus,
  parseDomain,
  parseExtraHost,
  parseLink,
  parseSysctl,
} from "./host-values.ts";
import { parseMount } from "./mount.ts";
import { networkRequest } from "./network.ts";
import { parsePorts } from "./ports.ts";
import { checkMode, normaliseCapability, parseSecurity } from "./security.ts";
import { parseVolume } from "./volume.ts";

/** What surrounds the flags. */
export interface CreateSurroundings {
  readonly image: string;
  readonly argv: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** Makes the request. @throws invalid-argument with Docker's sentence */
export function createRequest(
  flags: FlagReader,
  around: CreateSurroundings,
): ContainerCreateRequest {
  const streams = attached(flags);
  const volumes = flags.list("volume").map(parseVolume);
  const ports = parsePorts(flags.list("publish"), flags.list("expose"));
  const network = networkRequest(flags);
  const security = parseSecurity(flags.list("security-opt"));
  const config: Partial<ContainerConfig> = {
    Hostname: flags.text("hostname"),
    Domainname: flags.text("domainname"),
    User: flags.text("user"),
    ...streams,
    ...(Object.keys(ports.exposed).length === 0 ? {} : { ExposedPorts: ports.exposed }),
    Tty: flags.isOn("tty"),
    Env: orNull(envOf(flags, around.variables)),
    Cmd: orNull(around.argv),
    ...healthcheck(flags),
    Image: around.image,
    Volumes: Object.fromEntries(
      volumes.flatMap((one) => (one.kind === "anonymous" ? [[one.target, {}]] : [])),
    ),
    WorkingDir: flags.text("workdir"),
    Entrypoint: flags.isGiven("entrypoint") ? [flags.text("entrypoint")] : null,
    OnBuild: null,
    Labels: keyValues([
      ...flags.list("label-file").flatMap(readLabelFile),
      ...flags.readAll("label", parseLabel),
    ]),
    ...(flags.text("stop-signal") === "" ? {} : { StopSignal: flags.text("stop-signal") }),
    ...(flags.isGiven("stop-timeout") ? { StopTimeout: flags.number("stop-timeout") } : {}),
  };
  const restart = restartPolicy(flags.isGiven("restart") ? flags.text("restart") : "no");
  if (flags.isOn("rm") && restart.Name !== "no" && restart.Name !== "") {
    throw fault("conflicting options: cannot specify both --restart and --rm");
  }
  const host: Partial<HostConfig> = {
    ...resources(flags),
    Binds: orNull(volumes.flatMap((one) => (one.kind === "bind" ? [one.bind] : []))),
    ContainerIDFile: flags.text("cidfile"),
    LogConfig: logConfig(flags),
    NetworkMode: network.mode,
    PortBindings: ports.bindings,
    RestartPolicy: restart,
    AutoRemove: flags.isOn("rm"),
    VolumeDriver: flags.text("volume-driver"),
    VolumesFrom: orNull(flags.list("volumes-from")),
    ConsoleSize: [0, 0],
    ...(flags.isGiven("annotation") ? { Annotations: annotations(flags) } : {}),
    CapAdd: capabilities(flags, "cap-add"),
    CapDrop: capabilities(flags, "cap-drop"),
    CgroupnsMode: checkMode("cgroupns", flags.text("cgroupns")),
    Dns: flags.readAll("dns", parseAddress),
    DnsOptions: flags.list("dns-option"),
    DnsSearch: flags.readAll("dns-search", parseDomain),
    ExtraHosts: orNull(flags.readAll("add-host", parseExtraHost)),
    GroupAdd: orNull(flags.list("group-add")),
    IpcMode: flags.text("ipc"),
    Cgroup: "",
    Links: orNull(flags.readAll("link", parseLink)),
    OomScoreAdj: flags.number("oom-score-adj"),
    PidMode: checkMode("pid", flags.text("pid")),
    Privileged: flags.isOn("privileged"),
    PublishAllPorts: flags.isOn("publish-all"),
    ReadonlyRootfs: flags.isOn("read-only"),
    SecurityOpt: security.options,
    ...(flags.isGiven("storage-opt") ? { StorageOpt: storageOptions(flags) } : {}),
    ...(flags.isGiven("tmpfs") ? { Tmpfs: tmpfsMounts(flags.list("tmpfs")) } : {}),
    UTSMode: checkMode("uts", flags.text("uts")),
    UsernsMode: checkMode("userns", flags.text("userns")),
    ShmSize: flags.sizeBytes("shm-size"),
    ...(flags.isGiven("sysctl")
      ? { Sysctls: keyValues(flags.readAll("sysctl", parseSysctl)) }
      : {}),
    ...(flags.text("runtime") === "" ? {} : { Runtime: flags.text("runtime") }),
    Isolation: flags.text("isolation"),
    ...(flags.isGiven("mount") ? { Mounts: flags.readAll("mount", parseMount) } : {}),
    MaskedPaths: security.exposesSystemPaths ? [] : null,
    ReadonlyPaths: security.exposesSystemPaths ? [] : null,
    ...(flags.isGiven("init") ? { Init: flags.isOn("init") } : {}),
  };
  return { ...config, HostConfig: host, NetworkingConfig: { EndpointsConfig: network.endpoints } };
}

function attached(flags: FlagReader): Partial<ContainerConfig> {
  const named = flags.readAll("attach", parseStream);
  const isInteractive = flags.isOn("interactive");
  const isDefault = named.length === 0;
  const stdin = isDefault ? isInteractive : named.includes("stdin");
  return {
    AttachStdin: stdin,
    AttachStdout: isDefault || named.includes("stdout"),
    AttachStderr: isDefault || named.includes("stderr"),
    OpenStdin: isInteractive,
    StdinOnce: isInteractive && stdin,
  };
}

function parseStream(text: string): string {
  const stream = text.toLowerCase();
  if (!["stdin", "stdout", "stderr"].includes(stream)) {
    throw fault("valid streams are STDIN, STDOUT and STDERR");
  }
  return stream;
}

function envOf(flags: FlagReader, variables: CreateSurroundings["variables"]): readonly string[] {
  const files = flags.list("env-file").flatMap((path) => readEnvFile(path, variables));
  return [...files, ...flags.readAll("env", (text) => parseEnv(text, variables))];
}

function resources(flags: FlagReader): Partial<Resources> {
  const swappiness = flags.number("memory-swappiness", -1);
  if (swappiness !== -1 && (swappiness < 0 || swappiness > 100)) {
    throw fault(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  }
  const weight = flags.number("blkio-weight");
  if (weight < 0 || weight > 65_535) {
    throw flags.refusal(
      "blkio-weight",
      String(weight),
      `strconv.ParseUint: parsing "${weight}": value out of range`,
    );
  }
  const named = flags.list("device");
  const cdi = named.filter(devices.isCdiDevice);
  const requests = [
    ...flags.readAll("gpus", devices.parseGpus),
    ...(cdi.length === 0
      ? []
      : [{ Driver: "cdi", Count: 0, DeviceIDs: cdi, Capabilities: null, Options: null }]),
  ];
  return {
    CpuShares: flags.number("cpu-shares"),
    Memory: flags.sizeBytes("memory"),
    NanoCpus: flags.read("cpus", parseCpus) ?? 0,
    CgroupParent: flags.text("cgroup-parent"),
    BlkioWeight: weight,
    BlkioWeightDevice: flags.readAll("blkio-weight-device", devices.parseWeight),
    BlkioDeviceReadBps: flags.readAll("device-read-bps", devices.parseBytesLimit),
    BlkioDeviceWriteBps: flags.readAll("device-write-bps", devices.parseBytesLimit),
    BlkioDeviceReadIOps: flags.readAll("device-read-iops", devices.parseRateLimit),
    BlkioDeviceWriteIOps: flags.readAll("device-write-iops", devices.parseRateLimit),
    CpuPeriod: flags.number("cpu-period"),
    CpuQuota: flags.number("cpu-quota"),
    CpuRealtimePeriod: flags.number("cpu-rt-period"),
    CpuRealtimeRuntime: flags.number("cpu-rt-runtime"),
    CpusetCpus: flags.text("cpuset-cpus"),
    CpusetMems: flags.text("cpuset-mems"),
    Devices: flags
      .readAll("device", devices.checkDeviceOrCdi)
      .filter((one) => !devices.isCdiDevice(one))
      .map(devices.parseDevice),
    DeviceCgroupRules: orNull(flags.readAll("device-cgroup-rule", devices.parseDeviceRule)),
    DeviceRequests: orNull(requests),
    MemoryReservation: flags.sizeBytes("memory-reservation"),
    MemorySwap: flags.text("memory-swap") === "-1" ? -1 : flags.sizeBytes("memory-swap"),
    MemorySwappiness: swappiness,
    OomKillDisable: flags.isOn("oom-kill-disable"),
    PidsLimit: flags.number("pids-limit"),
    Ulimits: flags
      .readAll("ulimit", devices.parseUlimit)
      .toSorted((left, right) => (left.Name < right.Name ? -1 : 1)),
    CpuCount: flags.number("cpu-count"),
    CpuPercent: flags.number("cpu-percent"),
    IOMaximumIOps: flags.number("io-maxiops"),
    IOMaximumBandwidth: flags.sizeBytes("io-maxbandwidth"),
  };
}

function healthcheck(flags: FlagReader): { readonly Healthcheck?: HealthConfig } {
  const command = flags.text("health-cmd");
  const names = [
    "health-interval",
    "health-timeout",
    "health-start-period",
    "health-start-interval",
  ];
  const [interval = 0, timeout = 0, startPeriod = 0, startInterval = 0] = names.map((name) =>
    flags.durationNs(name),
  );
  const retries = flags.number("health-retries");
  const hasSettings =
    command !== "" ||
    [interval, timeout, startPeriod, startInterval, retries].some((one) => one !== 0);
  if (flags.isOn("no-healthcheck")) {
    if (hasSettings) throw fault("--no-healthcheck conflicts with --health-* options");
    return { Healthcheck: { Test: ["NONE"] } };
  }
  if (!hasSettings) return {};
  for (const name of [...names, "health-retries"]) {
    const value = name === "health-retries" ? retries : flags.durationNs(name);
    if (value < 0) throw fault(`--${name} cannot be negative`);
  }
  return {
    Healthcheck: {
      ...(command === "" ? {} : { Test: ["CMD-SHELL", command] }),
      ...(interval === 0 ? {} : { Interval: interval }),
      ...(timeout === 0 ? {} : { Timeout: timeout }),
      ...(startPeriod === 0 ? {} : { StartPeriod: startPeriod }),
      ...(startInterval === 0 ? {} : { StartInterval: startInterval }),
      ...(retries === 0 ? {} : { Retries: retries }),
    },
  };
}

function restartPolicy(text: string): RestartPolicy {
  const split = text.indexOf(":");
  const name = split < 0 ? text : text.slice(0, split);
  if (split === 0) throw fault("invalid restart policy format: no policy provided before colon");
  const count = split < 0 ? "0" : text.slice(split + 1);
  if (!/^[+-]?\d{1,9}$/.test(count)) {
    throw fault("invalid restart policy format: maximum retry count must be an integer");
  }
  return { Name: name, MaximumRetryCount: Number(count) };
}

function logConfig(flags: FlagReader): HostConfig["LogConfig"] {
  const type = flags.text("log-driver");
  const options = flags.list("log-opt");
  if (type === "none" && options.length > 0) throw fault(`invalid logging opts for driver ${type}`);
  return { Type: type, Config: keyValues(options) };
}

function storageOptions(flags: FlagReader): StringMap {
  return Object.fromEntries(
    flags.list("storage-opt").map((text) => {
      if (!text.includes("=")) throw fault("invalid storage option");
      return splitPair(text);
    }),
  );
}

function tmpfsMounts(values: readonly string[]): StringMap {
  return Object.fromEntries(
    values.map((text) => {
      const split = text.indexOf(":");
      return split < 0 ? [text, ""] : [text.slice(0, split), text.slice(split + 1)];
    }),
  );
}

function annotations(flags: FlagReader): StringMap {
  return keyValues(flags.list("annotation"));
}

function capabilities(flags: FlagReader, name: string): readonly string[] | null {
  const all = [...new Set(flags.list(name).map(normaliseCapability))].sort();
  return all.includes("ALL") ? ["ALL"] : orNull(all);
}

function orNull<T>(values: readonly T[]): readonly T[] | null {
  return values.length === 0 ? null : values;
}
