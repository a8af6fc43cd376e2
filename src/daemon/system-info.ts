/**
 * What `GET /info` answers.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { SystemInfo } from "../api/system.ts";
import type { ContainerService } from "../container/container-service.ts";
import type { EventBus } from "../event/event-bus.ts";
import type { ImageService } from "../image/image-service.ts";
import { redactText } from "../lib/redact.ts";
import type { Metadata } from "../metadata/metadata.ts";
import { splitMirror } from "../remote/session/endpoints.ts";
import { cgroupVersion, controllers } from "../sys/cgroup.ts";
import { backingFileSystemName } from "../sys/fs/fs.ts";
import { hostInfo } from "../sys/host.ts";
import type { DaemonConfig } from "./config.ts";
import { tugVersion } from "./version.ts";

/** What the answer is made from. */
export interface SystemInfoSources {
  readonly id: string;
  readonly config: () => DaemonConfig;
  readonly containers: Pick<ContainerService, "counts">;
  readonly images: Pick<ImageService, "count">;
  readonly events: Pick<EventBus, "listenerCount">;
  readonly metadata: Pick<Metadata, "damages">;
  readonly storageDriver: string;
  readonly seccompProfile: string;
}

const networkDrivers = ["bridge", "host", "null"];
const logDrivers = ["json-file", "none"];

/** Gathers the facts as they are now. */
export function systemInfo(sources: SystemInfoSources): SystemInfo {
  const config = sources.config();
  const counts = sources.containers.counts();
  const host = hostInfo();
  const has = new Set(controllers());
  const version = cgroupVersion();
  return {
    ID: sources.id,
    Containers: counts.running + counts.paused + counts.stopped,
    ContainersRunning: counts.running,
    ContainersPaused: counts.paused,
    ContainersStopped: counts.stopped,
    Images: sources.images.count,
    Driver: sources.storageDriver,
    DriverStatus: driverStatus(sources.storageDriver, config.dataRoot),
    Plugins: { Volume: ["local"], Network: networkDrivers, Authorization: null, Log: logDrivers },
    MemoryLimit: has.has("memory"),
    SwapLimit: has.has("memory"),
    CpuCfsPeriod: has.has("cpu"),
    CpuCfsQuota: has.has("cpu"),
    CPUShares: has.has("cpu"),
    CPUSet: has.has("cpuset"),
    PidsLimit: has.has("pids"),
    IPv4Forwarding: readNumber("/proc/sys/net/ipv4/ip_forward") === 1,
    Debug: config.isDebug,
    NFd: readdirSync("/proc/self/fd").length,
    OomKillDisable: version === 1 && has.has("memory"),
    NGoroutines: readdirSync("/proc/self/task").length,
    SystemTime: new Date().toISOString(),
    LoggingDriver: config.logDriver,
    CgroupDriver: "cgroupfs",
    CgroupVersion: String(version),
    NEventsListener: sources.events.listenerCount,
    KernelVersion: host.kernelVersion,
    OperatingSystem: host.operatingSystem,
    OSVersion: host.operatingSystemVersion,
    OSType: "linux",
    Architecture: host.machine,
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: describeRegistries(config.registry),
    NCPU: host.cpuCount,
    MemTotal: host.memorySizeBytes,
    GenericResources: null,
    DockerRootDir: config.dataRoot,
    HttpProxy: redactText(config.registry.httpProxy ?? ""),
    HttpsProxy: redactText(config.registry.httpsProxy ?? ""),
    NoProxy: config.registry.noProxy ?? "",
    Name: host.hostname,
    Labels: config.labels,
    ExperimentalBuild: false,
    ServerVersion: tugVersion,
    Runtimes: Object.fromEntries(
      Object.entries(config.runtimes).map(([name, { path, args }]) => [
        name,
        args.length === 0 ? { path } : { path, runtimeArgs: args },
      ]),
    ),
    DefaultRuntime: config.defaultRuntime,
    Swarm: {
      NodeID: "",
      NodeAddr: "",
      LocalNodeState: "inactive",
      ControlAvailable: false,
      Error: "",
      RemoteManagers: null,
    },
    LiveRestoreEnabled: config.isLiveRestore,
    Isolation: "",
    InitBinary: config.initPath ?? "tini-static",
    ContainerdCommit: { ID: "" },
    RuncCommit: { ID: "" },
    InitCommit: { ID: "" },
    SecurityOptions: securityOptions(sources.seccompProfile, version),
    FirewallBackend: { Driver: "nftables" },
    CDISpecDirs: [],
    Warnings: warnings(sources),
  };
}

/** Docker: blocks of addresses apart from hosts, loopback always insecure, seen in 28.5. */
function describeRegistries(config: DaemonConfig["registry"]): SystemInfo["RegistryConfig"] {
  const isBlock = (text: string): boolean => text.includes("/");
  const hosts = config.insecureRegistries.filter((text) => !isBlock(text));
  const mirrors = config.mirrors.map(splitMirror);
  const mirrorsOf = (name: string): readonly string[] =>
    mirrors.filter(({ host }) => host === name).map(({ mirror }) => mirror);
  const names = new Set(["docker.io", ...hosts, ...mirrors.map(({ host }) => host)]);
  const index = (name: string) => ({
    Name: name,
    Mirrors: mirrorsOf(name),
    Secure: !hosts.includes(name),
    Official: name === "docker.io",
  });
  return {
    InsecureRegistryCIDRs: [
      ...new Set(["::1/128", "127.0.0.0/8", ...config.insecureRegistries.filter(isBlock)]),
    ],
    IndexConfigs: Object.fromEntries([...names].map((name) => [name, index(name)])),
    Mirrors: mirrorsOf("docker.io").length === 0 ? null : mirrorsOf("docker.io"),
  };
}

function driverStatus(driver: string, dataRoot: string): SystemInfo["DriverStatus"] {
  const backing = ["Backing Filesystem", backingFileSystemName(dataRoot)] as const;
  return driver === "overlay2" ? [backing, ["Native Overlay Diff", "true"]] : [backing];
}

function securityOptions(profile: string, version: 1 | 2): readonly string[] {
  const seccomp = `name=seccomp,profile=${profile}`;
  return version === 2 ? [seccomp, "name=cgroupns"] : [seccomp];
}

function warnings({ config, metadata }: SystemInfoSources): readonly string[] | null {
  const open = config().isUnauthenticatedTcpAllowed
    ? [
        "WARNING: the API is served on tcp without client certificates: whoever reaches it is root here",
      ]
    : [];
  const all = [...open, ...metadata.damages.map((damage) => `WARNING: ${damage}`)];
  return all.length === 0 ? null : all;
}

function readNumber(path: string): number {
  return Number(readFileSync(path, "utf8"));
}
