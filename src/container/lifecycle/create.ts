/**
 * Creating a container: check everything, then make its file system, then its record. A container
 * that has no record does not exist; what was made for it is swept.
 */
import { expectStart } from "../../runtime/cgroup-warmth.ts";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname as hostHostname } from "node:os";
import { join } from "node:path";
import type { ContainerCreateOptions } from "../../api/container.ts";
import type { ContainerConfig, HostConfig } from "../../api/container-config.ts";
import type { EndpointSettings, NetworkingConfig } from "../../api/network.ts";
import { emptyConfig } from "../../lib/docker-messages.ts";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { createId, shortId } from "../../lib/id.ts";
import type { ResolvedImage } from "../../image/image-service.ts";
import { parsePublishRequests } from "../../network/ports.ts";
import { parsePlatform } from "../../oci/platform.ts";
import { checkSysctl } from "../../runtime/spec/sysctls.ts";
import { mergeTmpfsOptions } from "../../runtime/spec/tmpfs-options.ts";
import { type Context, containerFolder, publish } from "../context.ts";
import { checkTogether, completeHostConfig, unsupported } from "../configuration/host-config.ts";
import { applyImageDefaults, argumentsOf } from "../configuration/image-defaults.ts";
import { type MountWish, planMountWishes } from "../configuration/mounts.ts";
import { parseName } from "../record/names.ts";
import type { ContainerRecord, StoredImage, StoredMount } from "../record/record.ts";
import {
  createVolumes,
  nameVolumes,
  populateVolumes,
  releaseVolumes,
  storedMounts,
} from "../bundle/volume-use.ts";

/** How a container is to be called, and which of an image's platforms it is made of. */
export interface CreateOptions {
  readonly name?: string;
  readonly platform?: string;
}

/**
 * Creates a container. Durable when it returns; a failure leaves nothing behind.
 *
 * @throws invalid-argument, not-found, conflict, not-implemented; in Docker's words where it has some
 */
export async function createContainer(
  context: Context,
  request: ContainerCreateOptions,
  options: CreateOptions,
): Promise<{ readonly Id: string; readonly Warnings: readonly string[] }> {
  const name = options.name === undefined ? undefined : parseName(options.name);
  if (request.config.Image === "") throw emptyConfig();
  const image = await resolveImage(context, request.config.Image, options.platform);
  const plan = planContainer(context, request, image);
  // A start follows a creation, as a rule at once.
  expectStart();
  const id = createId();
  const taken = takeName(context, id, name);
  const wishes = nameVolumes(plan.wishes);
  const record = recordOf(context, { id, name: taken, image, plan, mounts: storedMounts(wishes) });
  try {
    // What is made for this container alone is known before it exists.
    if (wishes.some((wish) => wish.isAnonymous === true)) context.store.announce(record);
    await settleAll([
      context.snapshots.prepare(id, image.chainId === undefined ? {} : { parent: image.chainId }),
      createVolumes(context, { id, wishes }),
    ]);
    markRootfs(context, id);
    mkdirSync(containerFolder(context, id), { recursive: true, mode: 0o710 });
    await populateVolumes(context, record);
    const container = await context.store.add(record);
    publish(context, container, { action: "create" });
    return { Id: id, Warnings: plan.warnings };
  } catch (error) {
    await undo(context, record);
    throw error;
  }
}

/** Puts the file there by which programs tell that they are in a container. Docker: empty, too. */
function markRootfs(context: Context, id: string): void {
  const path = join(context.snapshots.layersOf(id).dir, ".dockerenv");
  try {
    writeFileSync(path, "", { flag: "wx", mode: 0o755 });
  } catch (error) {
    // Where layers are copied the image may have brought one.
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

/** Waits for all to end, then throws the first failure. */
async function settleAll(works: readonly Promise<unknown>[]): Promise<void> {
  for (const work of await Promise.allSettled(works)) {
    if (work.status === "rejected") throw work.reason;
  }
}

function takeName(context: Context, id: string, name: string | undefined): string {
  if (name === undefined) return context.store.names.reserveAny(id);
  context.store.names.reserve(name, id);
  return name;
}

async function undo(context: Context, record: ContainerRecord): Promise<void> {
  const { id, name } = record;
  context.store.names.release(name, id);
  try {
    await releaseVolumes(context, record, { remove: true });
    await context.snapshots.remove(id);
    rmSync(containerFolder(context, id), { recursive: true, force: true });
    context.store.unannounce(id);
  } catch (error) {
    // Swept at the next start of the daemon.
    context.logger.warn("undo creation of container", { container: id, error });
  }
}

async function resolveImage(
  context: Context,
  reference: string,
  platform: string | undefined,
): Promise<ResolvedImage> {
  return await context.images.resolve(reference, {
    use: "run",
    ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
  });
}

/** What was asked, checked and completed. */
interface ContainerPlan {
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  readonly endpointSettings: Readonly<Record<string, EndpointSettings>>;
  readonly wishes: readonly MountWish[];
  readonly warnings: readonly string[];
}

function planContainer(
  context: Context,
  request: ContainerCreateOptions,
  image: ResolvedImage,
): ContainerPlan {
  const { host, defaults } = context;
  checkTogether(request.config, request.hostConfig);
  const { hostConfig, warnings } = completeHostConfig(request.hostConfig, { host, defaults });
  const config = applyImageDefaults(request.config, image.config.config);
  refuseInit(context, hostConfig);
  checkSysctls(hostConfig);
  checkLenders(context, hostConfig);
  parsePublishRequests({
    portBindings: hostConfig.PortBindings,
    exposedPorts: config.ExposedPorts ?? {},
    publishAllPorts: hostConfig.PublishAllPorts,
  });
  const wishes = planMountWishes({
    config,
    hostConfig,
    mountsOf: (reference) => mountsOf(context, reference),
  });
  for (const wish of wishes) if (wish.type === "tmpfs") mergeTmpfsOptions(wish.options ?? []);
  const endpointSettings = planEndpoints(request.networkingConfig, {
    config: request.config,
    hostConfig,
  });
  const macAddress = endpointSettings[hostConfig.NetworkMode]?.MacAddress ?? "";
  return {
    config: macAddress === "" ? config : { ...config, MacAddress: macAddress },
    hostConfig,
    endpointSettings,
    wishes,
    warnings,
  };
}

function mountsOf(context: Context, reference: string): readonly StoredMount[] {
  try {
    return context.store.get(reference).record.mounts;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    // Docker: a bad parameter, not a missing object, seen in 28.5
    throw new EngineError("invalid-argument", error.message, { cause: error });
  }
}

function refuseInit(context: Context, hostConfig: HostConfig): void {
  const { initPath, hasInit } = context.defaults;
  if (!(hostConfig.Init ?? hasInit ?? false) || initPath !== undefined) return;
  throw new EngineError(
    "not-implemented",
    "HostConfig.Init needs an init helper: none is installed",
  );
}

function checkSysctls(hostConfig: HostConfig): void {
  for (const name of Object.keys(hostConfig.Sysctls ?? {})) {
    checkSysctl(name, {
      network: !/^(host|container:)/.test(hostConfig.NetworkMode),
      ipc: hostConfig.IpcMode !== "host",
      uts: hostConfig.UTSMode !== "host",
      user: false,
    });
  }
}

/** Who is to lend a namespace must be there; that it runs is seen at the start. */
function checkLenders(context: Context, hostConfig: HostConfig): void {
  for (const mode of [hostConfig.PidMode, hostConfig.IpcMode]) {
    if (mode.startsWith("container:")) mountsOf(context, mode.slice("container:".length));
  }
}

/** Settings of the one network that a container can be in. */
function planEndpoints(
  asked: NetworkingConfig,
  request: { readonly config: ContainerConfig; readonly hostConfig: HostConfig },
): Readonly<Record<string, EndpointSettings>> {
  const mode = request.hostConfig.NetworkMode;
  const given = new Map(
    Object.entries(asked.EndpointsConfig ?? {}).map(([name, settings]) => [
      name === "default" ? "bridge" : name,
      settings,
    ]),
  );
  if (mode.startsWith("container:")) return {};
  for (const name of given.keys()) {
    if (name === mode) continue;
    throw unsupported(`NetworkingConfig.EndpointsConfig of more networks than "${mode}"`);
  }
  const settings = given.get(mode) ?? noSettings;
  const macAddress = settings.MacAddress || (request.config.MacAddress ?? "");
  checkEndpoint(mode, { ...settings, MacAddress: macAddress });
  return { [mode]: { ...noSettings, ...settings, MacAddress: macAddress } };
}

function checkEndpoint(network: string, settings: EndpointSettings): void {
  const problems: string[] = [];
  const { IPAMConfig: ipam, Aliases: aliases, MacAddress: mac } = settings;
  if ((ipam?.IPv4Address ?? "") !== "" || (ipam?.IPv6Address ?? "") !== "") {
    problems.push(
      "user specified IP address is supported on user defined networks only",
      "user specified IP address is supported only when connecting to networks with user configured subnets",
    );
  }
  const refuse = (problem: string): never => {
    throw new EngineError("invalid-argument", `invalid config for network ${network}: ${problem}`);
  };
  if (problems.length > 0) {
    refuse(`invalid endpoint settings:\n${problems.map((line) => `* ${line}`).join("\n")}`);
  }
  if ((aliases ?? []).length > 0) {
    refuse(
      "invalid endpoint settings:\n" +
        "network-scoped alias is supported only for containers in user defined networks",
    );
  }
  if (mac !== "" && !/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(mac)) {
    refuse(`invalid MAC address ${mac}`);
  }
  if ((settings.Links ?? []).length > 0) {
    throw unsupported("NetworkingConfig.EndpointsConfig.Links");
  }
}

const noSettings: EndpointSettings = {
  IPAMConfig: null,
  Links: null,
  Aliases: null,
  MacAddress: "",
  DriverOpts: null,
  GwPriority: 0,
  NetworkID: "",
  EndpointID: "",
  Gateway: "",
  IPAddress: "",
  IPPrefixLen: 0,
  IPv6Gateway: "",
  GlobalIPv6Address: "",
  GlobalIPv6PrefixLen: 0,
  DNSNames: null,
};

function recordOf(
  context: Context,
  made: {
    readonly id: string;
    readonly name: string;
    readonly image: ResolvedImage;
    readonly plan: ContainerPlan;
    readonly mounts: readonly StoredMount[];
  },
): ContainerRecord {
  const { id, name, image, plan, mounts } = made;
  const { hostConfig } = plan;
  const usesHostName = hostConfig.NetworkMode === "host" || hostConfig.UTSMode === "host";
  const hostname = plan.config.Hostname || (usesHostName ? hostHostname() : shortId(id));
  return {
    version: 1,
    id,
    name,
    createdNs: String(context.now()),
    image: storedImage(image),
    config: { ...plan.config, Hostname: hostname },
    hostConfig,
    endpointSettings: plan.endpointSettings,
    args: argumentsOf(plan.config),
    mounts,
    phase: "created",
    exitCode: 0,
    error: "",
    isOomKilled: false,
  };
}

function storedImage(image: ResolvedImage): StoredImage {
  return {
    id: image.id,
    ...(image.chainId === undefined ? {} : { chainId: image.chainId }),
    ...(image.manifestDigest === undefined ? {} : { manifestDigest: image.manifestDigest }),
  };
}
