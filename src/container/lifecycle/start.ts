/**
 * Starting a container, under its lock.
 *
 * What the start takes (shim, address, volumes) is stored once the container runs. A start that a
 * crash cuts short leaves the old record, and what no record names is taken back by the next daemon.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { cannotStartPaused, markedForRemoval } from "../../lib/docker-messages.ts";
import { EngineError, isKind, messageOf } from "../../lib/errors.ts";
import type { AttachRequest, Endpoint, PublishedPort } from "../../network/network-service.ts";
import { parsePublishRequests } from "../../network/ports.ts";
import { generateSpec } from "../../runtime/spec/generate-spec.ts";
import type { SpecInput } from "../../runtime/spec/spec-input.ts";
import type { SandboxWishes } from "../../runtime/sandbox/sandbox-plan.ts";
import type { Shim } from "../../runtime/shim.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import type { StartRequest, StartResult } from "../../runtime/shim-protocol.ts";
import type { SnapshotMount } from "../../snapshot/snapshotter.ts";
import { bundleFolder, type Context, logPath, publish } from "../context.ts";
import { checkImage } from "./check-image.ts";
import { giveBack } from "./_give-back.ts";
import { writeEtcFiles } from "../bundle/etc-files.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { joinPendingStreams } from "../stream/attach.ts";
import { listenTo } from "./exit.ts";
import { planLog } from "../configuration/log-config.ts";
import { mountVolumes, type MountedSource } from "../bundle/volume-use.ts";
import { openSharedMemory, resolveNamespaces } from "../bundle/namespaces.ts";
import { planSpecInput } from "../bundle/spec-plan.ts";
import { removeContainer } from "./remove.ts";

const exitCodeUnknown = 128;
/** Shims that may be lost before they are asked to start the container. */
const launchCountMax = 5;

/**
 * Starts a container that does not run.
 *
 * @throws not-modified when it runs; conflict when it is paused or being removed; permission-denied where
 * the policy refuses its image; what hindered it else: the container is then as before, its record
 * tells the reason
 */
export async function startContainer(context: Context, container: LiveContainer): Promise<void> {
  refuseStart(container);
  await checkImage(context, container);
  const taken: Taken = {};
  try {
    const { shim, result, ports } = await launch(context, container, taken);
    context.store.update(container, {
      phase: "running",
      exitCode: 0,
      error: "",
      isOomKilled: false,
      startedNs: String(context.now()),
      task: {
        shimName: shim.name,
        pid: result.pid,
        pidStartTime: result.pidStartTime,
        ...(taken.endpoint === undefined ? {} : { endpoint: taken.endpoint }),
        ports,
      },
    });
    await context.store.flush();
  } catch (error) {
    await startFailed(context, container, { taken, error });
    throw error;
  }
  publish(context, container, { action: "start" });
}

function refuseStart(container: LiveContainer): void {
  const { phase, id } = container.record;
  if (container.isRemoving || phase === "removing" || phase === "dead") throw markedForRemoval();
  if (phase === "paused") throw cannotStartPaused();
  if (phase === "running") {
    throw new EngineError("not-modified", `container ${id} is already running`);
  }
}

/** What has been taken so far. */
interface Taken {
  shim?: Shim;
  endpoint?: Endpoint;
  sources?: readonly MountedSource[];
  /** Clients are attached to the shim: they would see its end. */
  hasClients?: boolean;
  /** The container runs. */
  result?: StartResult;
}

/** What runs, and where it is reached. */
interface Launched {
  readonly shim: Shim;
  readonly result: StartResult;
  readonly ports: readonly PublishedPort[];
}

/** A shim that is lost before it was asked to start has cost nothing but time: another is taken. */
async function launch(context: Context, container: LiveContainer, taken: Taken): Promise<Launched> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launchOnce(context, container, taken);
    } catch (error) {
      const { shim, hasClients } = taken;
      if (shim === undefined || hasClients === true || attempt === launchCountMax) throw error;
      if (!(await shim.isLostUnstarted())) throw error;
      context.logger.warn("the shim of a start is lost, taking another", {
        container: container.id,
        reason: messageOf(error),
      });
      await giveBackTaken(context, container, taken);
    }
  }
}

/** Gives back what a start has taken, and forgets it. */
async function giveBackTaken(
  context: Context,
  container: LiveContainer,
  taken: Taken,
): Promise<void> {
  const { shim, endpoint, sources } = taken;
  await giveBack(context, container, {
    ...(shim === undefined ? {} : { shim }),
    ...(endpoint === undefined ? {} : { endpoint }),
    hasVolumes: sources !== undefined,
  });
  container.shim = undefined;
  container.specInput = undefined;
  delete taken.shim;
  delete taken.endpoint;
  delete taken.sources;
}

async function launchOnce(
  context: Context,
  container: LiveContainer,
  taken: Taken,
): Promise<Launched> {
  const { record } = container;
  const { shims, networks } = context;
  const namespaces = resolveNamespaces(context, record);
  const rootfs = rootfsOf(context, record.id);
  const attach = attachRequestOf(container);
  const allocated = attach === undefined ? undefined : allocateEndpoint(context, attach);
  let inside: SandboxWishes | undefined;
  const connect = async (sandboxPid: number): Promise<void> => {
    const free = await allocated;
    if (attach === undefined || free === undefined) return;
    inside = await networks.connect(free, { request: attach, sandboxPid });
  };
  const { shim, endpoint, sources } = await takeAll(taken, {
    shim: shims.acquire(record.id, { meanwhile: async ({ pid }) => await connect(pid) }),
    endpoint: allocated,
    sources: mountVolumes(context, record),
  });
  container.shim = shim;
  shim.listen(listenTo(context, container, shim));
  noteStart(context, container, { shim, endpoint });
  taken.hasClients = container.pendingStreams.size > 0;
  const joined = joinPendingStreams(container, shim);
  const opened = inside === undefined ? undefined : shim.openSandbox(inside);
  // The longest work of the daemon's own, while the shim is at its.
  const { specInput, request } = await settled([joined, opened], () => {
    const etcFiles = writeEtcFiles(context, container, {
      endpoint,
      lender: namespaces.networkOf,
    });
    const input = planSpecInput(context, record, {
      namespaces,
      sources,
      etcFiles,
      rootfs,
      shmPath: openSharedMemory(context, record, namespaces),
    });
    return { specInput: input, request: startRequestOf(context, container, { input, rootfs }) };
  });
  container.specInput = specInput;
  const ports = (await opened)?.ports ?? [];
  const isOwn = namespaces.network.kind === "inherited";
  const parted = isOwn ? takeNetworkSysctls(request.spec) : { networkSysctls: {} };
  const published =
    endpoint === undefined || ports.length === 0
      ? undefined
      : networks.publish(endpoint, { containerId: record.id, ports });
  const started = shim.start({ ...request, ...parted }).then((result) => (taken.result = result));
  await settled([published, started], () => undefined);
  return { shim, result: await started, ports };
}

/**
 * Takes the sysctls of the network out of a spec: the shim sets them, whose namespace it is. runc
 * takes the namespace that it inherits for the host's, and refuses them.
 */
function takeNetworkSysctls(spec: RuntimeSpec): Pick<StartRequest, "spec" | "networkSysctls"> {
  const { linux } = spec;
  if (linux?.sysctl === undefined) return { spec, networkSysctls: {} };
  const all = Object.entries(linux.sysctl);
  const isOfNetwork = ([name]: readonly [string, string]): boolean => name.startsWith("net.");
  const sysctl = Object.fromEntries(all.filter((entry) => !isOfNetwork(entry)));
  return {
    spec: { ...spec, linux: { ...linux, sysctl } },
    networkSysctls: Object.fromEntries(all.filter(isOfNetwork)),
  };
}

/** Runs `work` while `waits` go on, then waits for them; a failure of either leaves none behind. */
async function settled<T>(
  waits: readonly (Promise<unknown> | undefined)[],
  work: () => T,
): Promise<T> {
  const all = Promise.allSettled(waits.filter((wait) => wait !== undefined));
  let result: T;
  try {
    result = work();
  } finally {
    await all;
  }
  for (const wait of await all) if (wait.status === "rejected") throw wait.reason;
  return result;
}

/** Waits for all; what came of those that succeeded is noted even when one failed. */
async function takeAll(
  taken: Taken,
  wanted: {
    readonly shim: Promise<Shim>;
    readonly endpoint: Promise<Endpoint> | undefined;
    readonly sources: Promise<readonly MountedSource[]>;
  },
): Promise<{
  readonly shim: Shim;
  readonly endpoint: Endpoint | undefined;
  readonly sources: readonly MountedSource[];
}> {
  const [shim, endpoint, sources] = await Promise.allSettled([
    wanted.shim,
    wanted.endpoint,
    wanted.sources,
  ]);
  if (shim.status === "fulfilled") taken.shim = shim.value;
  if (endpoint.status === "fulfilled" && endpoint.value !== undefined) {
    taken.endpoint = endpoint.value;
  }
  if (sources.status === "fulfilled") taken.sources = sources.value;
  if (shim.status === "rejected") throw shim.reason;
  if (endpoint.status === "rejected") throw endpoint.reason;
  if (sources.status === "rejected") throw sources.reason;
  return { shim: shim.value, endpoint: endpoint.value, sources: sources.value };
}

function noteStart(
  context: Context,
  container: LiveContainer,
  taken: { readonly shim: Shim; readonly endpoint: Endpoint | undefined },
): void {
  const { shim, endpoint } = taken;
  // In memory alone: a start that is cut short is as if it had not been asked for, and the next
  // daemon ends a shim and takes back an address that no record names.
  context.store.keep(container, {
    phase: "starting",
    task: {
      shimName: shim.name,
      ...(endpoint === undefined ? {} : { endpoint }),
      ports: [],
    },
  });
}

async function allocateEndpoint(
  { networks }: Context,
  request: AttachRequest,
): ReturnType<Context["networks"]["allocate"]> {
  try {
    return await networks.allocate(request);
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
    const sentence = `failed to set up container networking: ${error.message}`;
    throw new EngineError("not-found", sentence, { cause: error });
  }
}

/** The request to the network; none for a container in another's namespace. */
function attachRequestOf(container: LiveContainer): AttachRequest | undefined {
  const { id, name, config, hostConfig, endpointSettings } = container.record;
  const mode = hostConfig.NetworkMode;
  if (mode.startsWith("container:")) return undefined;
  const settings = endpointSettings[mode];
  const isBridge = mode !== "host" && mode !== "none";
  return {
    containerId: id,
    containerName: name,
    hostname: config.Hostname,
    endpoint: {
      network: mode,
      aliases: settings?.Aliases ?? [],
      ...(settings === undefined || settings.MacAddress === ""
        ? {}
        : { macAddress: settings.MacAddress }),
    },
    publish: isBridge
      ? parsePublishRequests({
          portBindings: hostConfig.PortBindings,
          exposedPorts: config.ExposedPorts ?? {},
          publishAllPorts: hostConfig.PublishAllPorts,
        })
      : [],
    dnsServers: hostConfig.Dns ?? [],
  };
}

function rootfsOf(context: Context, id: string): SnapshotMount {
  try {
    return context.snapshots.mounts(id);
  } catch (error) {
    if (!isKind(error, "not-found", "data-loss")) throw error;
    throw new EngineError("data-loss", `start container ${id}: its file system is lost`, {
      cause: error,
    });
  }
}

function startRequestOf(
  context: Context,
  container: LiveContainer,
  plan: { readonly input: SpecInput; readonly rootfs: SnapshotMount },
): Omit<StartRequest, "op" | "networkSysctls"> {
  const { record } = container;
  const { config, hostConfig, id } = record;
  const runtimeName = hostConfig.Runtime ?? "";
  const runtime = context.defaults.runtimes[runtimeName];
  if (runtime === undefined) {
    throw new EngineError("invalid-argument", `unknown or invalid runtime name: ${runtimeName}`);
  }
  const [rows, columns] = hostConfig.ConsoleSize;
  const bundle = bundleFolder(context, id);
  mkdirSync(join(bundle, "rootfs"), { recursive: true, mode: 0o711 });
  const spec = generateSpec(plan.input, context.host);
  return {
    containerId: id,
    bundle,
    spec: context.seccompPrograms?.addTo(spec) ?? spec,
    rootfs: { ...plan.rootfs, target: plan.input.rootfs },
    stdio: {
      hasTty: config.Tty,
      openStdin: config.OpenStdin,
      stdinOnce: config.StdinOnce,
      ...(rows > 0 && columns > 0 ? { rows, columns } : {}),
    },
    log: planLog({
      config: hostConfig.LogConfig,
      defaults: hostConfig.LogConfig.Type === "json-file" ? context.defaults.logOptions : {},
      path: logPath(context, id),
      labels: config.Labels ?? {},
      env: config.Env ?? [],
    }),
    runtime: { ...runtime, root: join(context.execRoot, "runtime", runtimeName) },
  };
}

async function startFailed(
  context: Context,
  container: LiveContainer,
  failure: { readonly taken: Taken; readonly error: unknown },
): Promise<void> {
  const { taken, error } = failure;
  const { record } = container;
  await giveBackTaken(context, container, taken);
  const isLost = isKind(error, "data-loss");
  const exitCode = exitCodeOf(error);
  context.store.note(container, {
    phase: isLost ? "dead" : record.startedNs === undefined ? "created" : "exited",
    exitCode,
    error: messageOf(error),
    task: undefined,
  });
  await context.store.flushNotes();
  if (!record.hostConfig.AutoRemove) return;
  await removeContainer(context, container, { volumes: true });
}

function exitCodeOf(error: unknown): number {
  const code = isKind(error) ? error.details["exitCode"] : undefined;
  return typeof code === "number" ? code : exitCodeUnknown;
}
