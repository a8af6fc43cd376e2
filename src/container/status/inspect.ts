import type {
  ContainerInspectResponse,
  ContainerState,
  ContainerStatus,
  MountPoint,
  NetworkSettings,
} from "../../api/container.ts";
import type { EndpointSettings } from "../../api/network.ts";
import { isKind } from "../../lib/errors.ts";
import { formatTime, zeroTime } from "../../lib/time.ts";
import { formatPorts } from "../../network/ports.ts";
import type { Context } from "../context.ts";
import { logPath } from "../context.ts";
import { etcFilesOf } from "../bundle/etc-files.ts";
import type { LiveContainer } from "../record/live-container.ts";
import type { ContainerRecord, StoredMount } from "../record/record.ts";
import { volumePath } from "../bundle/volume-use.ts";

/** A container as `inspect` tells it; no lock is waited for. */
export async function inspectContainer(
  context: Context,
  container: LiveContainer,
  options: { readonly size: boolean },
): Promise<ContainerInspectResponse> {
  const { record } = container;
  const hasStarted = record.startedNs !== undefined || record.phase === "starting";
  const files = etcFilesOf(context, record.id);
  const hasLog = hasStarted && record.hostConfig.LogConfig.Type === "json-file";
  const [path = "", ...args] = record.args;
  return {
    Id: record.id,
    Created: formatTime(BigInt(record.createdNs)),
    Path: path,
    Args: args,
    State: stateOf(record),
    Image: record.image.id,
    ResolvConfPath: hasStarted ? files.resolvConf : "",
    HostnamePath: hasStarted ? files.hostname : "",
    HostsPath: hasStarted ? files.hosts : "",
    LogPath: hasLog ? logPath(context, record.id) : "",
    Name: `/${record.name}`,
    RestartCount: 0,
    Driver: context.snapshots.driverName,
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: "",
    ExecIDs: container.execIds.size === 0 ? null : [...container.execIds],
    HostConfig: record.hostConfig,
    GraphDriver: graphDriverOf(context, record),
    ...(options.size ? await sizesOf(context, record) : {}),
    Mounts: mountPointsOf(context, record),
    Config: record.config,
    NetworkSettings: networkSettingsOf(context, record),
  };
}

/** The word for where a container stands. */
export function statusOf(record: ContainerRecord): ContainerStatus {
  if (record.phase !== "starting") return record.phase;
  return record.startedNs === undefined ? "created" : "exited";
}

function stateOf(record: ContainerRecord): ContainerState {
  const status = statusOf(record);
  const time = (ns: string | undefined): string =>
    ns === undefined ? zeroTime : formatTime(BigInt(ns));
  const isPaused = status === "paused";
  return {
    Status: status,
    Running: status === "running" || isPaused,
    Paused: isPaused,
    Restarting: false,
    OOMKilled: record.isOomKilled,
    Dead: status === "dead",
    Pid: status === "running" || isPaused ? (record.task?.pid ?? 0) : 0,
    ExitCode: record.exitCode,
    Error: record.error,
    StartedAt: time(record.startedNs),
    FinishedAt: time(record.finishedNs),
  };
}

function graphDriverOf(
  context: Context,
  record: ContainerRecord,
): ContainerInspectResponse["GraphDriver"] {
  const name = context.snapshots.driverName;
  if (context.snapshots.find(record.id) === undefined) return { Data: null, Name: name };
  return { Data: { ID: record.id, ...context.snapshots.describe(record.id) }, Name: name };
}

/** Bytes that a container has written, and with its image's. */
export async function sizesOf(
  context: Context,
  record: ContainerRecord,
): Promise<{ readonly SizeRw: number; readonly SizeRootFs: number }> {
  if (context.snapshots.find(record.id) === undefined) return { SizeRw: 0, SizeRootFs: 0 };
  const { sizeBytes } = await context.snapshots.usage(record.id);
  let imageBytes = 0;
  let parent = context.snapshots.find(record.id)?.parent;
  while (parent !== undefined) {
    const info = context.snapshots.find(parent);
    imageBytes += info?.sizeBytes ?? 0;
    parent = info?.parent;
  }
  return { SizeRw: sizeBytes, SizeRootFs: imageBytes + sizeBytes };
}

/** Mounts as inspect and list tell them. */
export function mountPointsOf(context: Context, record: ContainerRecord): readonly MountPoint[] {
  return record.mounts
    .filter((mount) => mount.isHidden !== true)
    .map((mount) => {
      const { type, target: destination, mode, propagation, driver } = mount;
      return {
        Type: type,
        ...(mount.volume === undefined ? {} : { Name: mount.volume }),
        Source: sourceOf(context, mount),
        Destination: destination,
        ...(type === "volume" && driver !== undefined ? { Driver: driver } : {}),
        Mode: mode,
        RW: !mount.isReadOnly,
        Propagation: propagation,
      };
    });
}

function sourceOf(context: Context, mount: StoredMount): string {
  if (mount.volume !== undefined) return volumePath(context, mount.volume);
  return mount.source ?? "";
}

/** Endpoints by network name, with what the network gave. */
export function endpointsOf(
  context: Context,
  record: ContainerRecord,
): Readonly<Record<string, EndpointSettings>> {
  const endpoint = record.task?.endpoint;
  const isUp = ["running", "paused"].includes(record.phase);
  return Object.fromEntries(
    Object.entries(record.endpointSettings).map(([name, settings]) => [
      name,
      endpoint !== undefined && isUp
        ? {
            ...settings,
            MacAddress: endpoint.macAddress,
            NetworkID: endpoint.networkId,
            EndpointID: endpoint.endpointId,
            Gateway: endpoint.gateway,
            IPAddress: endpoint.ipAddress,
            IPPrefixLen: endpoint.ipPrefixLength,
          }
        : { ...settings, NetworkID: networkIdOf(context, record, name) },
    ]),
  );
}

/** Docker tells the network's ID once the container has been started. */
function networkIdOf(context: Context, record: ContainerRecord, network: string): string {
  if (record.startedNs === undefined) return "";
  try {
    return context.networks.find(network).id;
  } catch (error) {
    if (isKind(error, "not-found")) return "";
    throw error;
  }
}

function networkSettingsOf(context: Context, record: ContainerRecord): NetworkSettings {
  const networks = endpointsOf(context, record);
  const isUp = ["running", "paused"].includes(record.phase);
  const bridge = networks["bridge"];
  const isOwn = !record.hostConfig.NetworkMode.startsWith("container:");
  const hasPorts = isUp && bridge !== undefined;
  return {
    Bridge: "",
    SandboxID: isUp && isOwn ? record.id : "",
    SandboxKey: isUp && isOwn ? `/proc/${record.task?.pid ?? 0}/ns/net` : "",
    Ports: hasPorts
      ? formatPorts(record.task?.ports ?? [], Object.keys(record.config.ExposedPorts ?? {}))
      : {},
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: bridge?.EndpointID ?? "",
    Gateway: bridge?.Gateway ?? "",
    GlobalIPv6Address: bridge?.GlobalIPv6Address ?? "",
    GlobalIPv6PrefixLen: bridge?.GlobalIPv6PrefixLen ?? 0,
    IPAddress: bridge?.IPAddress ?? "",
    IPPrefixLen: bridge?.IPPrefixLen ?? 0,
    IPv6Gateway: bridge?.IPv6Gateway ?? "",
    MacAddress: bridge?.MacAddress ?? "",
    Networks: networks,
  };
}
