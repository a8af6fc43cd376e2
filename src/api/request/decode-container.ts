/**
 * Decoders of the bodies about containers.
 *
 * They check shape alone. What a value means (a known policy, an existing device) is the engine's.
 */
import { emptyConfig } from "../../lib/docker-messages.ts";
import type { ContainerCreateOptions, ContainerUpdateRequest } from "../container.ts";
import type {
  BindOptions,
  ImageOptions,
  MountDriver,
  TmpfsOptions,
  VolumeOptions,
  ContainerConfig,
  HealthConfig,
  HostConfig,
  Mount,
  Resources,
} from "../container-config.ts";
import {
  command,
  type Decoder,
  decodeBody,
  decodeJson,
  type Fields,
  flag,
  integer,
  invalidJson,
  isObject,
  list,
  map,
  omitEmpty,
  optional,
  pointer,
  struct,
  text,
  textMap,
  textSet,
  texts,
  wrongType,
} from "./decode.ts";
import { decodeNetworkingConfig } from "./decode-network.ts";

const int64 = integer("int64");
const duration = integer("time.Duration");

/** Rows and columns: missing ones are 0, further ones are dropped, as Go reads `[2]uint`. */
export const consoleSize: Decoder<readonly [height: number, width: number]> = (value, place) => {
  if (value !== undefined && value !== null && !Array.isArray(value)) {
    throw wrongType(value, place, "[2]uint");
  }
  const size = list(integer("uint"), "[2]uint")(value?.slice(0, 2), place) ?? [];
  return [size[0] ?? 0, size[1] ?? 0];
};

/** The probe of a container or an image. */
export const decodeHealthConfig: Decoder<HealthConfig> = struct<HealthConfig>(
  {
    Test: omitEmpty(texts),
    Interval: omitEmpty(duration),
    Timeout: omitEmpty(duration),
    StartPeriod: omitEmpty(duration),
    StartInterval: omitEmpty(duration),
    Retries: omitEmpty(integer("int")),
  },
  "container.HealthConfig",
);

const configFields: Fields<ContainerConfig> = {
  Hostname: text(),
  Domainname: text(),
  User: text(),
  AttachStdin: flag,
  AttachStdout: flag,
  AttachStderr: flag,
  ExposedPorts: omitEmpty(textSet("nat.PortSet")),
  Tty: flag,
  OpenStdin: flag,
  StdinOnce: flag,
  Env: texts,
  Cmd: command,
  Healthcheck: optional(decodeHealthConfig),
  ArgsEscaped: omitEmpty(flag),
  Image: text(),
  Volumes: textSet("map[string]struct {}"),
  WorkingDir: text(),
  Entrypoint: command,
  NetworkDisabled: omitEmpty(flag),
  MacAddress: omitEmpty(text()),
  OnBuild: texts,
  Labels: textMap,
  StopSignal: omitEmpty(text()),
  StopTimeout: optional(integer("int")),
  Shell: omitEmpty(command),
};

const configNames = new Set(Object.keys(configFields).map((name) => name.toLowerCase()));

const throttleDevices = list(
  struct({ Path: text(), Rate: integer("uint64") }, "blkiodev.ThrottleDevice"),
  "[]*blkiodev.ThrottleDevice",
);

const resourcesFields: Fields<Resources> = {
  CpuShares: int64,
  Memory: int64,
  NanoCpus: int64,
  CgroupParent: text(),
  BlkioWeight: integer("uint16"),
  BlkioWeightDevice: list(
    struct({ Path: text(), Weight: integer("uint16") }, "blkiodev.WeightDevice"),
    "[]*blkiodev.WeightDevice",
  ),
  BlkioDeviceReadBps: throttleDevices,
  BlkioDeviceWriteBps: throttleDevices,
  BlkioDeviceReadIOps: throttleDevices,
  BlkioDeviceWriteIOps: throttleDevices,
  CpuPeriod: int64,
  CpuQuota: int64,
  CpuRealtimePeriod: int64,
  CpuRealtimeRuntime: int64,
  CpusetCpus: text(),
  CpusetMems: text(),
  Devices: list(
    struct(
      { PathOnHost: text(), PathInContainer: text(), CgroupPermissions: text() },
      "container.DeviceMapping",
    ),
    "[]container.DeviceMapping",
  ),
  DeviceCgroupRules: texts,
  DeviceRequests: list(
    struct(
      {
        Driver: text(),
        Count: integer("int"),
        DeviceIDs: texts,
        Capabilities: list((value, place) => texts(value, place) ?? [], "[][]string"),
        Options: textMap,
      },
      "container.DeviceRequest",
    ),
    "[]container.DeviceRequest",
  ),
  KernelMemory: omitEmpty(int64),
  KernelMemoryTCP: omitEmpty(int64),
  MemoryReservation: int64,
  MemorySwap: int64,
  MemorySwappiness: pointer(int64),
  OomKillDisable: pointer(flag),
  PidsLimit: pointer(int64),
  Ulimits: list(
    struct({ Name: text(), Hard: int64, Soft: int64 }, "units.Ulimit"),
    "[]*units.Ulimit",
  ),
  CpuCount: int64,
  CpuPercent: int64,
  IOMaximumIOps: integer("uint64"),
  IOMaximumBandwidth: integer("uint64"),
};

const decodeMount: Decoder<Mount> = struct<Mount>(
  {
    Type: omitEmpty(text("mount.Type")),
    Source: omitEmpty(text()),
    Target: omitEmpty(text()),
    ReadOnly: omitEmpty(flag),
    Consistency: omitEmpty(text("mount.Consistency")),
    BindOptions: optional(
      struct<BindOptions>(
        {
          Propagation: omitEmpty(text("mount.Propagation")),
          NonRecursive: omitEmpty(flag),
          CreateMountpoint: omitEmpty(flag),
          ReadOnlyNonRecursive: omitEmpty(flag),
          ReadOnlyForceRecursive: omitEmpty(flag),
        },
        "mount.BindOptions",
      ),
    ),
    VolumeOptions: optional(
      struct<VolumeOptions>(
        {
          NoCopy: omitEmpty(flag),
          Labels: omitEmpty(textMap),
          Subpath: omitEmpty(text()),
          DriverConfig: optional(
            struct<MountDriver>(
              { Name: omitEmpty(text()), Options: omitEmpty(textMap) },
              "mount.Driver",
            ),
          ),
        },
        "mount.VolumeOptions",
      ),
    ),
    ImageOptions: optional(
      struct<ImageOptions>({ Subpath: omitEmpty(text()) }, "mount.ImageOptions"),
    ),
    TmpfsOptions: optional(
      struct<TmpfsOptions>(
        {
          SizeBytes: omitEmpty(int64),
          Mode: omitEmpty(integer("uint32")),
          Options: omitEmpty(list((value, place) => texts(value, place) ?? [], "[][]string")),
        },
        "mount.TmpfsOptions",
      ),
    ),
  },
  "mount.Mount",
);

const decodeRestartPolicy = struct(
  { Name: text("container.RestartPolicyMode"), MaximumRetryCount: integer("int") },
  "container.RestartPolicy",
);

const hostConfigFields: Fields<HostConfig> = {
  ...resourcesFields,
  Binds: texts,
  ContainerIDFile: text(),
  LogConfig: struct({ Type: text(), Config: textMap }, "container.LogConfig"),
  NetworkMode: text("container.NetworkMode"),
  PortBindings: map(
    list(struct({ HostIp: text(), HostPort: text() }, "nat.PortBinding"), "[]nat.PortBinding"),
    "nat.PortMap",
  ),
  RestartPolicy: decodeRestartPolicy,
  AutoRemove: flag,
  VolumeDriver: text(),
  VolumesFrom: texts,
  ConsoleSize: consoleSize,
  Annotations: omitEmpty(textMap),
  CapAdd: command,
  CapDrop: command,
  CgroupnsMode: text("container.CgroupnsMode"),
  Dns: texts,
  DnsOptions: texts,
  DnsSearch: texts,
  ExtraHosts: texts,
  GroupAdd: texts,
  IpcMode: text("container.IpcMode"),
  Cgroup: text("container.CgroupSpec"),
  Links: texts,
  OomScoreAdj: integer("int"),
  PidMode: text("container.PidMode"),
  Privileged: flag,
  PublishAllPorts: flag,
  ReadonlyRootfs: flag,
  SecurityOpt: texts,
  StorageOpt: omitEmpty(textMap),
  Tmpfs: omitEmpty(textMap),
  UTSMode: text("container.UTSMode"),
  UsernsMode: text("container.UsernsMode"),
  ShmSize: int64,
  Sysctls: omitEmpty(textMap),
  Runtime: omitEmpty(text()),
  Isolation: text("container.Isolation"),
  Mounts: omitEmpty(list(decodeMount, "[]mount.Mount")),
  MaskedPaths: texts,
  ReadonlyPaths: texts,
  Init: optional(flag),
};

const createRequestType = "container.CreateRequest";
const decodeConfig = struct(configFields, createRequestType);
const decodeHostConfig = struct(hostConfigFields, "container.HostConfig");
const decodeHalves = struct(
  { HostConfig: decodeHostConfig, NetworkingConfig: decodeNetworkingConfig },
  createRequestType,
);

/**
 * Decodes the body of `POST /containers/create`.
 *
 * @throws invalid-argument also for a body without any field of the container configuration
 * @see Engine API v1.51, ContainerCreate
 */
export function decodeContainerCreate(bytes: Uint8Array): ContainerCreateOptions {
  const body = decodeJson(bytes);
  if (body === undefined) throw invalidJson("got EOF while reading request body");
  const place = { root: createRequestType, path: "" };
  const config = decodeConfig(body, place);
  const halves = decodeHalves(body, place);
  if (!isObject(body) || !Object.keys(body).some((key) => configNames.has(key.toLowerCase()))) {
    throw emptyConfig();
  }
  return {
    config,
    hostConfig: halves.HostConfig,
    networkingConfig: halves.NetworkingConfig,
  };
}

/**
 * Decodes the body of `POST /commit`: none, or `null`, asks for the container's own configuration.
 *
 * @see Engine API v1.51, ImageCommit
 */
export function decodeCommitConfig(bytes: Uint8Array): ContainerConfig | undefined {
  const body = decodeJson(bytes);
  if (body === undefined || body === null) return undefined;
  return decodeConfig(body, { root: createRequestType, path: "" });
}

/**
 * Decodes the body of `POST /containers/{id}/update`: only what was given is in the answer.
 *
 * @see Engine API v1.51, ContainerUpdate
 */
export function decodeContainerUpdate(bytes: Uint8Array): ContainerUpdateRequest {
  const fields = { ...resourcesFields, RestartPolicy: decodeRestartPolicy };
  const present = Object.fromEntries(
    Object.entries(fields).map(([name, decoder]) => [name, optional(decoder as Decoder<unknown>)]),
  ) as unknown as Fields<ContainerUpdateRequest>;
  return decodeBody(bytes, {
    goType: "container.UpdateConfig",
    decoder: struct<ContainerUpdateRequest>(present, "container.UpdateConfig"),
  });
}

/** The zero container configuration: what an empty request asks for. */
export function emptyContainerConfig(): ContainerConfig {
  return decodeConfig(undefined, { root: createRequestType, path: "" });
}

/** The zero host configuration. */
export function emptyHostConfig(): HostConfig {
  return decodeHostConfig(undefined, { root: createRequestType, path: "" });
}
