import { join, posix } from "node:path";
import type { MountInput, ResourceInput, SpecInput } from "../../runtime/spec/spec-input.ts";
import { defaultMaskedPaths } from "../../runtime/spec/masked-paths.ts";
import type { SnapshotMount } from "../../snapshot/snapshotter.ts";
import { bundleFolder, type Context } from "../context.ts";
import type { ResolvedNamespaces } from "./namespaces.ts";
import type { MountedSource } from "./volume-use.ts";
import type { ContainerRecord, StoredMount } from "../record/record.ts";
import { resourcesOf } from "../configuration/resources.ts";

/** What the start has found out. */
export interface SpecPlan {
  readonly namespaces: ResolvedNamespaces;
  readonly sources: readonly MountedSource[];
  readonly etcFiles: SpecInput["etcFiles"];
  readonly rootfs: SnapshotMount;
  readonly shmPath: string | undefined;
}

/** The cgroup of a container, as a path below the root of the hierarchies. */
export function cgroupPathOf(context: Pick<Context, "defaults">, record: ContainerRecord): string {
  const asked = record.hostConfig.CgroupParent;
  return posix.join("/", asked === "" ? context.defaults.cgroupParent : asked, record.id);
}

/** Everything about a container that its spec depends on. */
export function planSpecInput(
  context: Context,
  record: ContainerRecord,
  plan: SpecPlan,
): SpecInput {
  const { config, hostConfig } = record;
  const { networkOf, memoryOf: _, ...namespaces } = plan.namespaces;
  const initPath = initPathOf(context, record);
  const [height, width] = hostConfig.ConsoleSize;
  return {
    containerId: record.id,
    hostname: networkOf?.record.config.Hostname ?? config.Hostname,
    ...(config.Domainname === "" ? {} : { domainname: config.Domainname }),
    rootfs: join(bundleFolder(context, record.id), "rootfs"),
    layerDirs: layersOf(plan.rootfs),
    isRootReadOnly: hostConfig.ReadonlyRootfs,
    args: record.args,
    env: config.Env ?? [],
    workingDir: config.WorkingDir,
    user: config.User,
    groupAdd: hostConfig.GroupAdd ?? [],
    hasTty: config.Tty,
    ...(height > 0 && width > 0 ? { consoleSize: { height, width } } : {}),
    ...(initPath === undefined ? {} : { initPath }),
    isPrivileged: hostConfig.Privileged,
    capAdd: hostConfig.CapAdd ?? [],
    capDrop: hostConfig.CapDrop ?? [],
    securityOpt: hostConfig.SecurityOpt ?? [],
    ...pathsOf(hostConfig),
    devices: (hostConfig.Devices ?? []).map((device) => ({
      pathOnHost: device.PathOnHost,
      pathInContainer: device.PathInContainer,
      permissions: device.CgroupPermissions,
    })),
    mounts: record.mounts.map((mount, index) => mountInputOf(mount, plan.sources[index])),
    etcFiles: plan.etcFiles,
    shmSizeBytes: hostConfig.ShmSize,
    namespaces,
    ...(plan.shmPath === undefined ? {} : { shmPath: plan.shmPath }),
    sysctls: hostConfig.Sysctls ?? {},
    resources: resourcesWithDefaults(context, record),
    cgroupsPath: cgroupPathOf(context, record),
    oomScoreAdj: hostConfig.OomScoreAdj,
    annotations: hostConfig.Annotations ?? {},
    ...(context.defaults.hasNoNewPrivileges === true ? { hasDefaultNoNewPrivileges: true } : {}),
  };
}

/** Directories that make up a root file system, uppermost first. */
function layersOf(rootfs: SnapshotMount): readonly string[] {
  if (rootfs.type === "bind") return rootfs.source === undefined ? [] : [rootfs.source];
  const upper = rootfs.upperDir === undefined ? [] : [rootfs.upperDir];
  return [...upper, ...(rootfs.lowerDirs ?? [])];
}

function initPathOf(context: Context, record: ContainerRecord): string | undefined {
  const { initPath, hasInit } = context.defaults;
  return (record.hostConfig.Init ?? hasInit ?? false) ? initPath : undefined;
}

function pathsOf(
  hostConfig: ContainerRecord["hostConfig"],
): Pick<SpecInput, "maskedPaths" | "readonlyPaths"> {
  const { MaskedPaths: masked, ReadonlyPaths: readonly } = hostConfig;
  // The default list is completed with what this host has to be masked.
  const isDefault = masked?.join("\n") === defaultMaskedPaths.join("\n");
  return {
    ...(masked === null || isDefault ? {} : { maskedPaths: masked }),
    ...(readonly === null ? {} : { readonlyPaths: readonly }),
  };
}

function mountInputOf(mount: StoredMount, found: MountedSource | undefined): MountInput {
  const source = found?.path;
  return {
    type: mount.type,
    ...(source === undefined ? {} : { source }),
    target: mount.target,
    isReadOnly: mount.isReadOnly,
    ...(mount.propagation === "" ? {} : { propagation: mount.propagation }),
    isRecursive: mount.isRecursive,
    ...(mount.readOnlyDepth === undefined ? {} : { readOnlyDepth: mount.readOnlyDepth }),
    ...(mount.options === undefined ? {} : { options: mount.options }),
  };
}

function resourcesWithDefaults(context: Context, record: ContainerRecord): ResourceInput {
  const resources = resourcesOf(record.hostConfig);
  const asked = resources.ulimits ?? [];
  const missing = context.defaults.ulimits.filter(
    ({ name }) => !asked.some((one) => one.name === name),
  );
  return { ...resources, ulimits: [...asked, ...missing] };
}
