/** A whole engine below containers, in a folder of its own; for tests. Needs root. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContainerConfig, HostConfig } from "../api/container-config.ts";
import type { ContainerCreateOptions } from "../api/container.ts";
import type { EventMessage } from "../api/system.ts";
import type { EventBus } from "../event/event-bus.ts";
import { createEventBus } from "../event/journal-event-bus.ts";
import type { ResolvedImage } from "../image/image-service.ts";
import { noSuchImage } from "../lib/docker-messages.ts";
import { EngineError } from "../lib/errors.ts";
import { createLogger } from "../lib/log.ts";
import type { Metadata, Table, TableDefinition } from "../metadata/metadata.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { openNetworkService } from "../network/local-network-service.ts";
import { parseDigest } from "../oci/digest.ts";
import type { ImageRunConfig } from "../oci/image-config.ts";
import { readHostFacts } from "../runtime/spec/host-facts.ts";
import { openShimPool } from "../runtime/shim-pool.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import { openSnapshotter } from "../snapshot/choose-snapshotter.ts";
import { ensureCgroupMounts, removeUnusedCgroup } from "../sys/cgroup.ts";
import { run, selfExecutable } from "../sys/process/process.ts";
import { openVolumes } from "../volume/local-volumes.ts";
import type { ContainerRecord } from "./record/record.ts";
import { type Containers, openContainers } from "./local-containers.ts";

/** The image that every stack has. */
export const imageName = "busybox:latest";
const imageId = parseDigest(`sha256:${"ab".repeat(32)}`);
const layerName = `sha256:${"cd".repeat(32)}`;

/** What a test plays with. */
export interface TestStack extends AsyncDisposable {
  readonly root: string;
  readonly containers: Containers;
  readonly snapshots: Snapshotter;
  /** Lets every write of a container's record fail, as on a full disk, until `repair`. */
  readonly breakDisk: () => {
    readonly repair: () => void;
    readonly stored: (id: string) => ContainerRecord | undefined;
  };
  readonly events: () => readonly EventMessage[];
  /** Ends this daemon; the containers and their folder stay. */
  readonly halt: () => Promise<void>;
  /** Ends this daemon without a word, as a kill does, and starts the next on the same roots. */
  readonly restart: (options: { readonly meanwhileMs: number }) => Promise<TestStack>;
}

/** How a stack is made. */
export interface TestStackOptions {
  readonly root?: string;
  readonly image?: ImageRunConfig;
}

/** Opens a stack; its folder goes with it. */
export async function openTestStack(options: TestStackOptions = {}): Promise<TestStack> {
  const root = options.root ?? mkdtempSync(join(tmpdir(), "ctr-"));
  const dataRoot = join(root, "data");
  const execRoot = join(root, "run");
  for (const folder of [dataRoot, execRoot]) mkdirSync(folder, { recursive: true });
  ensureCgroupMounts();
  const lines: string[] = [];
  const logger = createLogger({
    level: () => "debug",
    format: "text",
    write: (line) => {
      lines.push(line);
      if (process.env["TUG_TEST_LOG"] !== undefined) process.stderr.write(`${line}\n`);
    },
  });
  const metadata = openMetadata({ path: join(dataRoot, "metadata.db"), logger });
  const events = createEventBus();
  const snapshots = openSnapshotter({ dataRoot, metadata, logger });
  const tag = root
    .slice(-6)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, "x");
  const networks = openNetworkService({
    metadata,
    events,
    logger,
    bridgeName: `tugt${tag}`,
    tableName: `tugt${tag}`,
  });
  const volumes = openVolumes({ root: join(dataRoot, "volumes"), metadata, events, logger });
  const shims = openShimPool({ execRoot, logger, command: [...selfExecutable(), "shim"] });
  await prepareLayer(snapshots);
  const image = resolvedImage(options.image);
  const breakable = breakableMetadata(metadata);
  const containers = openContainers({
    dataRoot,
    execRoot,
    metadata: breakable,
    events,
    snapshots,
    networks,
    volumes,
    shims,
    logger,
    host: readHostFacts(),
    images: {
      async resolve(reference) {
        if (["busybox", imageName].includes(reference)) return image;
        throw noSuchImage(reference);
      },
      checkUse: () => Promise.resolve(),
      isCalled: () => true,
      commit: () => Promise.reject(new EngineError("not-implemented", "no images here")),
    },
    defaults: {
      runtimes: { crun: { path: "/usr/bin/crun", args: [] } },
      defaultRuntime: "crun",
      logOptions: {},
      cgroupParent: `/tugt${tag}`,
      ulimits: [],
      shutdownTimeoutS: 1,
    },
  });
  await containers.recover();
  const seen: EventMessage[] = [];
  const stop = new AbortController();
  const listening = listen(events, { seen, signal: stop.signal });
  const close = async (): Promise<void> => {
    stop.abort();
    await listening;
    await shims[Symbol.asyncDispose]();
    await networks[Symbol.asyncDispose]();
    await snapshots[Symbol.asyncDispose]();
    metadata[Symbol.dispose]();
  };
  const removeBridge = async (): Promise<void> => {
    await run({ argv: ["ip", "link", "delete", `tugt${tag}`] });
    for (const family of ["inet", "ip", "bridge"]) {
      await run({ argv: ["nft", "delete", "table", family, `tugt${tag}`] });
    }
  };
  const halt = async (): Promise<void> => {
    await containers.shutdown({ timeoutMs: 0, keepRunning: true });
    await close();
  };
  return {
    root,
    containers,
    snapshots,
    breakDisk: () => {
      breakable.isBroken = true;
      return {
        repair: () => {
          breakable.isBroken = false;
        },
        stored: (id) => breakable.stored(id),
      };
    },
    halt,
    events: () => seen,
    async restart({ meanwhileMs }) {
      await halt();
      await Bun.sleep(meanwhileMs);
      return await openTestStack({ ...options, root });
    },
    async [Symbol.asyncDispose]() {
      for (const { Id } of await containers.list({ all: true, size: false, filters: new Map() })) {
        await containers.remove(Id, { force: true, volumes: true, link: false });
      }
      await containers.shutdown({ timeoutMs: 1000, keepRunning: false });
      await close();
      removeUnusedCgroup(`/tugt${tag}`);
      await removeBridge();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** Metadata whose table of containers can be made to fail. */
function breakableMetadata(metadata: Metadata): Metadata & {
  isBroken: boolean;
  readonly stored: (id: string) => ContainerRecord | undefined;
} {
  let find: (id: string) => unknown = () => undefined;
  const broken = {
    isBroken: false,
    damages: metadata.damages,
    stored: (id: string) => find(id) as ContainerRecord | undefined,
    transaction: <T>(work: () => T): T => metadata.transaction(work),
    commit: async <T>(work: () => T): Promise<T> => await metadata.commit(work),
    flush: async () => await metadata.flush(),
    table<T>(definition: TableDefinition<T>): Table<T> {
      const table = metadata.table(definition);
      find = (id) => table.find(id);
      return {
        find: (key) => table.find(key),
        list: () => table.list(),
        remove: (key) => table.remove(key),
        put(key, record) {
          if (broken.isBroken) throw new EngineError("unavailable", "no space left on device");
          table.put(key, record);
        },
      };
    },
    [Symbol.dispose]: () => undefined,
  };
  return broken;
}

async function listen(
  events: EventBus,
  options: { readonly seen: EventMessage[]; readonly signal: AbortSignal },
): Promise<void> {
  for await (const event of events.subscribe({ signal: options.signal })) options.seen.push(event);
}

async function prepareLayer(snapshots: ReturnType<typeof openSnapshotter>): Promise<void> {
  if (snapshots.find(layerName) !== undefined) return;
  const mount = await snapshots.prepare("unpack");
  const root = mount.upperDir ?? mount.source ?? "";
  for (const folder of ["bin", "etc", "tmp", "proc", "sys", "dev", "data"]) {
    mkdirSync(join(root, folder));
  }
  cpSync("/bin/busybox", join(root, "bin/busybox"));
  for (const name of [
    "sh",
    "cat",
    "echo",
    "sleep",
    "true",
    "false",
    "ls",
    "id",
    "env",
    "kill",
    "seq",
    "hostname",
    "wget",
    "httpd",
    "nc",
    "stty",
    "head",
  ]) {
    symlinkSync("busybox", join(root, "bin", name));
  }
  writeFileSync(
    join(root, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n",
  );
  writeFileSync(join(root, "etc/group"), "root:x:0:\nbob:x:1000:\n");
  writeFileSync(join(root, "data/seed"), "seed\n");
  await snapshots.commit("unpack", { name: layerName, sizeBytes: 1_000_000 });
}

function resolvedImage(config: ImageRunConfig = {}): ResolvedImage {
  return {
    id: imageId,
    config: {
      architecture: "amd64",
      os: "linux",
      config,
      rootfs: { type: "layers", diff_ids: [] },
    },
    platform: { os: "linux", architecture: "amd64" },
    chainId: layerName,
    names: [imageName],
  };
}

/** A request as the decoder fills it up. */
export function createRequest(
  config: Partial<ContainerConfig>,
  hostConfig: Partial<HostConfig> = {},
): ContainerCreateOptions {
  return {
    config: { ...emptyConfig, ...config },
    hostConfig: { ...emptyHostConfig, ...hostConfig },
    networkingConfig: { EndpointsConfig: null },
  };
}

const emptyConfig: ContainerConfig = {
  Hostname: "",
  Domainname: "",
  User: "",
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: null,
  Cmd: null,
  Image: "busybox",
  Volumes: null,
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
};

/** A host configuration that asks for nothing. */
export const emptyHostConfig: HostConfig = {
  Binds: null,
  ContainerIDFile: "",
  LogConfig: { Type: "", Config: null },
  NetworkMode: "",
  PortBindings: null,
  RestartPolicy: { Name: "", MaximumRetryCount: 0 },
  AutoRemove: false,
  VolumeDriver: "",
  VolumesFrom: null,
  ConsoleSize: [0, 0],
  CapAdd: null,
  CapDrop: null,
  CgroupnsMode: "",
  Dns: null,
  DnsOptions: null,
  DnsSearch: null,
  ExtraHosts: null,
  GroupAdd: null,
  IpcMode: "",
  Cgroup: "",
  Links: null,
  OomScoreAdj: 0,
  PidMode: "",
  Privileged: false,
  PublishAllPorts: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  UTSMode: "",
  UsernsMode: "",
  ShmSize: 0,
  Isolation: "",
  CpuShares: 0,
  Memory: 0,
  NanoCpus: 0,
  CgroupParent: "",
  BlkioWeight: 0,
  BlkioWeightDevice: null,
  BlkioDeviceReadBps: null,
  BlkioDeviceWriteBps: null,
  BlkioDeviceReadIOps: null,
  BlkioDeviceWriteIOps: null,
  CpuPeriod: 0,
  CpuQuota: 0,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpusetCpus: "",
  CpusetMems: "",
  Devices: null,
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  OomKillDisable: null,
  PidsLimit: null,
  Ulimits: null,
  CpuCount: 0,
  CpuPercent: 0,
  IOMaximumIOps: 0,
  IOMaximumBandwidth: 0,
  MaskedPaths: null,
  ReadonlyPaths: null,
};
