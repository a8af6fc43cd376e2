/**
 * The composition root: builds the engine's objects in order, and takes them down in reverse. The
 * only place that names implementations.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openCopier } from "../build/copy/copier.ts";
import { openBuildService } from "../build/local-build-service.ts";
import { removeLabelled } from "./labelled-containers.ts";
import { withContextFolders } from "../build/session/context-cache.ts";
import { ContextFolders } from "../build/session/context-folders.ts";
import { openSources } from "../build/source/sources.ts";
import { type ContainerDefaults, openContainers } from "../container/local-containers.ts";
import { openContentStore } from "../content/local-content-store.ts";
import { createEventBus } from "../event/journal-event-bus.ts";
import { openImageService } from "../image/local-image-service.ts";
import { createManifestService } from "../image/distribution/manifests.ts";
import { createSignaturePolicy } from "../image/trust/signature-policy.ts";
import { openSignatureStore } from "../image/trust/signatures.ts";
import { createTrustService } from "../image/trust/trust-service.ts";
import { EngineError, messageOf } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import type { Logger } from "../lib/log.ts";
import { openDiskReserve } from "../metadata/disk-reserve.ts";
import { createLeases } from "../metadata/leases.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { openNetworkService } from "../network/local-network-service.ts";
import type { NetworkService } from "../network/network-service.ts";
import { hostPlatform } from "../oci/platform.ts";
import { openRegistryClient } from "../remote/http-registry-client.ts";
import { openSeccompPrograms } from "../runtime/seccomp/seccomp-programs.ts";
import { openSealedPrograms, type SealedPrograms } from "../runtime/sealed-program.ts";
import { openShimPool } from "../runtime/shim-pool.ts";
import { readHostFacts } from "../runtime/spec/host-facts.ts";
import { replayDuplex } from "../lib/grpc/replay-duplex.ts";
import { createHttpFront } from "../server/http-front.ts";
import { createRequestHandler } from "../server/server.ts";
import { openDiffHasher } from "../snapshot/diff/diff-hasher.ts";
import { openSnapshotter } from "../snapshot/choose-snapshotter.ts";
import { openUnpacker } from "../snapshot/unpack/unpack-client.ts";
import { ensureCgroupMounts, removeUnusedCgroup } from "../sys/cgroup.ts";
import { lockFile, writeFileAtomic } from "../sys/fs/fs.ts";
import { releaseFilePages, releaseMemory } from "../sys/memory.ts";
import { unreadBytes } from "../sys/net/socket.ts";
import { selfExecutable } from "../sys/process/process.ts";
import { openVolumes } from "../volume/local-volumes.ts";
import { createBuildkitLoader } from "./buildkit-loader.ts";
import type { DaemonConfig } from "./config.ts";
import { createDiskUsage } from "./disk-usage.ts";
import { openListeners } from "./listeners.ts";
import { watchRest } from "./rest.ts";
import { systemInfo } from "./system-info.ts";
import { systemVersion, tugVersion } from "./version.ts";

/** A running daemon. */
export interface Daemon {
  /** Takes a new configuration; tells which options need a restart instead. */
  reload(config: DaemonConfig): void;
  /** Stops: no new requests, containers stopped unless they are kept, everything closed. */
  stop(): Promise<void>;
}

/** What a daemon is made with. */
export interface DaemonOptions {
  readonly config: DaemonConfig;
  readonly logger: Logger;
}

/** The bridge of the daemon that has the packet filter's table `tug`. */
const defaultBridge = "tug0";
/** Mode of the folders that hold everybody's data. */
const rootMode = 0o710;

/**
 * Starts the engine: locks the data root, recovers what an earlier daemon left, serves.
 *
 * @throws conflict when another daemon has the data root, naming its pid
 */
export async function startDaemon({ config, logger }: DaemonOptions): Promise<Daemon> {
  await using undo = new AsyncDisposableStack();
  makeRoots(config);
  const lock = lockRoot(config.dataRoot);
  undo.defer(() => lock.close());
  const pidFile = writePidFile(config.pidFile);
  undo.defer(pidFile.remove);
  for (const mounted of ensureCgroupMounts())
    logger.info("mounted a cgroup controller", { mounted });
  // Those of containers and steps that live on are below it.
  undo.defer(() => removeUnusedCgroup(cgroupParentOf(config)));

  let current = config;
  const reserve = openDiskReserve({ root: config.dataRoot, logger });
  const metadata = openMetadata({ path: join(config.dataRoot, "metadata.db"), logger, reserve });
  undo.defer(() => metadata[Symbol.dispose]());
  const events = createEventBus();
  const leases = createLeases();
  const content = await openContentStore({ root: join(config.dataRoot, "content"), logger });
  const snapshots = openSnapshotter({
    dataRoot: config.dataRoot,
    metadata,
    logger,
    ...(config.storageDriver === undefined ? {} : { driver: config.storageDriver }),
  });
  undo.use(snapshots);
  const volumes = openVolumes({
    root: join(config.dataRoot, "volumes"),
    metadata,
    events,
    logger,
  });
  const networks = openNetworkService({
    metadata,
    events,
    logger,
    bridgeName: config.bridge,
    // Daemons side by side have a bridge each, and so a table each.
    tableName: config.bridge === defaultBridge ? "tug" : `tug_${config.bridge}`,
    mtu: config.mtu,
    ...(config.bip === undefined ? {} : { bip: config.bip }),
  });
  undo.use(networks);
  const shims = openShimPool({
    execRoot: config.execRoot,
    logger,
    command: [...selfExecutable(), "shim"],
  });
  undo.use(shims);
  const registry = openRegistryClient({ config: config.registry, logger, durable: false });
  undo.use(registry);
  const signatures = openSignatureStore({ metadata, content, registries: registry, logger });
  const unpacker = openUnpacker();
  undo.use(unpacker);
  const hasher = openDiffHasher();
  undo.use(hasher);
  const images = openImageService({
    content,
    snapshots,
    unpacker,
    hasher,
    metadata,
    leases,
    events,
    logger,
    registry,
    policy: createSignaturePolicy({ policy: () => current.imagePolicy, signatures }),
    signatures,
  });
  const host = readHostFacts(
    config.seccompProfile === undefined ? {} : { seccompPath: config.seccompProfile },
  );
  const programs = openSealedPrograms({
    folder: join(config.execRoot, "programs"),
    onFailure: (program, error) => logger.debug("program stays unsealed", { program, error }),
  });
  undo.defer(() => {
    if (!current.isLiveRestore) programs.close();
  });
  const defaults = containerDefaults(() => current, programs);
  const seccompPrograms = openSeccompPrograms({
    command: [...selfExecutable(), "seccomp"],
    logger,
  });
  const containers = openContainers({
    dataRoot: config.dataRoot,
    execRoot: config.execRoot,
    metadata,
    events,
    images,
    snapshots,
    shims,
    networks,
    volumes,
    host,
    seccompPrograms,
    defaults,
    logger,
  });
  const copier = openCopier({ hashesRoot: join(config.dataRoot, "build", "hashes") });
  undo.use(copier);
  const sources = await openSources({
    root: join(config.dataRoot, "build", "sources"),
    copier,
    proxies: config.registry,
  });
  undo.use(sources);
  const builds = openBuildService({
    dataRoot: config.dataRoot,
    execRoot: config.execRoot,
    metadata,
    leases,
    content,
    snapshots,
    images,
    shims,
    networks,
    host,
    seccompPrograms,
    defaults,
    copier,
    hasher,
    sources,
    registry,
    unpacker,
    removeContainers: async (label, value) =>
      await removeLabelled(containers, { label, ...(value === undefined ? {} : { value }) }),
    logger,
  });
  undo.use(builds);
  images.useUsers(containers);
  images.useMaker(async (reference) => await builds.makeStepImage(reference));
  await containers.recover();
  await builds.recover();
  await images.recover();
  await builds.sweep();

  const id = daemonId(config.dataRoot);
  const seccompProfile = config.seccompProfile ?? "builtin";
  const info = () =>
    systemInfo({
      id,
      config: () => current,
      containers,
      images,
      events,
      metadata,
      storageDriver: snapshots.driverName,
      seccompProfile,
    });
  const folders = new ContextFolders({ root: join(config.dataRoot, "build", "clients"), logger });
  const builder = withContextFolders(builds, folders);
  const buildkit = createBuildkitLoader({
    service: builder,
    folders,
    socketRoot: join(config.execRoot, "buildkit"),
    engineId: id,
    engineVersion: tugVersion,
    platforms: [hostPlatform()],
    snapshotter: snapshots.driverName,
    hostGatewayIp: () => gatewayOf(networks),
    entitlements: config.builderEntitlements,
    logger,
  });
  undo.defer(() => buildkit.close());
  const rest = watchRest({ release: releaseMemory, releaseLate: releaseFilePages });
  undo.defer(() => rest.close());
  const handle = createRequestHandler({
    backend: {
      containers,
      images,
      builds: builder,
      buildkit: buildkit.load,
      trust: createTrustService({ images, signatures, content }),
      manifests: createManifestService(registry),
      volumes,
      networks,
      events,
      system: {
        info: () => Promise.resolve(info()),
        version: systemVersion,
        diskUsage: createDiskUsage({ images, containers, volumes, build: builder }),
      },
    },
    logger,
    product: `Tug/${tugVersion} (linux)`,
    unreadBytes,
  });
  const front = createHttpFront(
    (request, response) => {
      rest.disturb();
      response.once("close", () => rest.disturb());
      handle(request, response);
    },
    {
      // Builders of the kind `remote` speak BuildKit's protocol and nothing else.
      acceptHttp2: ({ socket, early }) => {
        rest.disturb();
        socket.once("close", () => rest.disturb());
        const connection = replayDuplex(socket, { early });
        void buildkit
          .load()
          .then(async (protocol) => await protocol.acceptCalls(connection))
          .catch((error: unknown) => {
            logger.warn("serve BuildKit's protocol", { error });
            connection.destroy();
          });
      },
    },
  );
  undo.defer(() => front.close());
  undo.defer(() =>
    containers.shutdown({
      timeoutMs: current.shutdownTimeoutS * 1000,
      keepRunning: current.isLiveRestore,
    }),
  );
  const listeners = await openListeners(config, {
    accept: (socket) => front.accept(socket),
    logger,
  });
  undo.defer(() => listeners.close());
  logger.info("daemon is ready", { version: tugVersion, pid: process.pid });
  const close = undo.move();
  return {
    reload: (next) => {
      current = next;
      registry.configure(next.registry);
      events.publish({ type: "daemon", action: "reload", id, attributes: { name: "tug" } });
    },
    stop: async () => await close.disposeAsync(),
  };
}

/** The host's address on the default bridge. */
function gatewayOf(networks: Pick<NetworkService, "inspect">): string | undefined {
  return networks.inspect("bridge").IPAM.Config?.find(({ Gateway }) => Gateway !== undefined)
    ?.Gateway;
}

function makeRoots(config: DaemonConfig): void {
  for (const root of [config.dataRoot, config.execRoot]) {
    mkdirSync(root, { recursive: true, mode: rootMode });
    chmodSync(root, rootMode);
  }
}

function lockRoot(dataRoot: string): { close(): void } {
  const lock = lockFile(join(dataRoot, "lock"));
  if ("close" in lock) return lock;
  throw new EngineError(
    "conflict",
    `the data root ${dataRoot} is in use by another daemon, pid ${lock.heldByPid ?? "unknown"}: ` +
      "stop that one, or give this one its own --data-root",
  );
}

/** Writes the pid file, unless it names a daemon that lives. */
function writePidFile(path: string): { remove(): void } {
  mkdirSync(dirname(path), { recursive: true });
  const lock = lockFile(path);
  if (!("close" in lock)) {
    throw new EngineError(
      "conflict",
      `the pid file ${path} belongs to another daemon, pid ${lock.heldByPid ?? "unknown"}: ` +
        "stop that one, or give this one its own --pidfile",
    );
  }
  writeFileSync(path, `${process.pid}\n`);
  return {
    remove: () => {
      rmSync(path, { force: true });
      lock.close();
    },
  };
}

/** The daemon's ID, made at its first start. */
function daemonId(dataRoot: string): string {
  const path = join(dataRoot, "engine-id");
  try {
    const known = readFileSync(path, "utf8").trim();
    if (/^[0-9a-f]{64}$/.test(known)) return known;
  } catch (error) {
    if (!messageOf(error).includes("ENOENT")) throw error;
  }
  const id = createId();
  writeFileAtomic(path, `${id}\n`);
  return id;
}

/** Where init helpers are, best first, unless one is named. */
const initPaths = ["/usr/bin/tini-static", "/usr/bin/docker-init", "/usr/bin/tini"];

/** What containers are made with where they do not say it; asked anew each time, for reloads. */
function containerDefaults(
  config: () => DaemonConfig,
  programs: SealedPrograms,
): ContainerDefaults {
  const initPath = config().initPath ?? initPaths.find((path) => existsSync(path));
  return {
    get runtimes() {
      return Object.fromEntries(
        Object.entries(config().runtimes).map(([name, { path, args }]) => [
          name,
          { path: programs.seal(findProgram(path)), args },
        ]),
      );
    },
    get defaultRuntime() {
      return config().defaultRuntime;
    },
    get logOptions() {
      return config().logOpts;
    },
    get logDriver() {
      return config().logDriver;
    },
    get shutdownTimeoutS() {
      return config().shutdownTimeoutS;
    },
    shmSizeBytes: config().shmSizeBytes,
    hasNoNewPrivileges: config().hasNoNewPrivileges,
    hasInit: config().hasInit,
    cgroupParent: cgroupParentOf(config()),
    ulimits: [],
    ...(initPath === undefined ? {} : { initPath }),
  };
}

/** Daemons side by side keep their control groups apart. */
function cgroupParentOf({ bridge }: DaemonConfig): string {
  return bridge === defaultBridge ? "/tug" : `/tug-${bridge}`;
}

/** The absolute path of a program that is named without one. */
function findProgram(program: string): string {
  if (program.includes("/")) return program;
  const folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  const paths = folders.map((folder) => join(folder, program));
  return paths.find((path) => existsSync(path)) ?? program;
}
