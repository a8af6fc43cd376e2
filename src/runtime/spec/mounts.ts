/**
 * The mounts of a container in the order they are made: what every container has, what somebody
 * asked for, and the files of its network.
 */
import { statSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import type { RuntimeMount } from "../../oci/runtime-spec.ts";
import { checkPropagation } from "./_mount-table.ts";
import { cleanTarget } from "./_mount-targets.ts";
import type { HostFacts } from "./host-facts.ts";
import type { MountInput, SpecInput } from "./spec-input.ts";
import { mergeTmpfsOptions } from "./tmpfs-options.ts";

/** What of a container its mounts depend on. */
export type MountPlanInput = Pick<
  SpecInput,
  | "mounts"
  | "etcFiles"
  | "initPath"
  | "isPrivileged"
  | "isRootReadOnly"
  | "namespaces"
  | "shmPath"
  | "shmSizeBytes"
> & { readonly hasWritableCgroups: boolean };

/** Mounts, and the propagation that the root needs for them. */
export interface MountPlan {
  readonly mounts: readonly RuntimeMount[];
  readonly rootfsPropagation?: "shared" | "slave";
}

/** Where the init helper is seen inside. */
export const initTarget = "/sbin/docker-init";

const shmSizeDefaultBytes = 64 * 1024 * 1024;
const readOnlyRecursiveKernel = { major: 5, minor: 12 };
/**
 * Plans the mounts of a container.
 *
 * A mount that was asked for takes the place of a default one with the same target, and one on
 * /dev of all below it. Parents come before children.
 *
 * @throws invalid-argument for a target that no container may cover, two mounts on one target, or
 * an option that the source cannot have
 */
export function planMounts(
  input: MountPlanInput,
  host: Pick<HostFacts, "kernelVersion">,
): MountPlan {
  const asked = [...input.mounts]
    .map((mount) => ({ ...mount, target: cleanTarget(mount) }))
    .sort((a, b) => depth(a.target) - depth(b.target));
  const targets = new Set(asked.map((mount) => mount.target));
  if (targets.size < asked.length) throw duplicate(asked);
  const defaults = defaultMounts(input).filter(
    ({ destination }) =>
      !targets.has(destination) && !(destination.startsWith("/dev/") && targets.has("/dev")),
  );
  const supportsRecursive = isAtLeast(host.kernelVersion, readOnlyRecursiveKernel);
  const encoded = asked.map((mount) => encodeMount(mount, supportsRecursive));
  const etc = etcMounts(input).filter((mount) => !targets.has(mount.destination));
  const propagations = asked.map((mount) => mount.propagation ?? "rprivate");
  const rootfsPropagation = propagations.some((name) => /^r?shared$/.test(name))
    ? "shared"
    : propagations.some((name) => /^r?slave$/.test(name))
      ? "slave"
      : undefined;
  return {
    mounts: [...defaults, ...encoded, ...etc],
    ...(rootfsPropagation === undefined ? {} : { rootfsPropagation }),
  };
}

function defaultMounts(input: MountPlanInput): readonly RuntimeMount[] {
  const closed = ["nosuid", "noexec", "nodev"];
  const sysOptions = input.isPrivileged && !input.isRootReadOnly ? closed : [...closed, "ro"];
  const cgroupOptions = input.isPrivileged || input.hasWritableCgroups ? closed : ["ro", ...closed];
  return [
    mount("/proc", { type: "proc", options: closed }),
    mount("/dev", {
      type: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    }),
    mount("/dev/pts", {
      type: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    }),
    mount("/sys", { type: "sysfs", options: sysOptions }),
    mount("/sys/fs/cgroup", { type: "cgroup", options: cgroupOptions }),
    mount("/dev/mqueue", { type: "mqueue", options: closed }),
    ...shmMount(input),
  ];
}

function shmMount(input: MountPlanInput): readonly RuntimeMount[] {
  const destination = "/dev/shm";
  if (input.namespaces.ipc.kind === "none") return [];
  if (input.shmPath !== undefined) {
    return [{ destination, type: "bind", source: input.shmPath, options: ["rbind", "rprivate"] }];
  }
  const size = input.shmSizeBytes > 0 ? input.shmSizeBytes : shmSizeDefaultBytes;
  return [
    {
      destination,
      type: "tmpfs",
      source: "shm",
      options: ["nosuid", "noexec", "nodev", "mode=1777", `size=${size}`],
    },
  ];
}

function etcMounts(input: MountPlanInput): readonly RuntimeMount[] {
  const isReadOnly = input.isRootReadOnly || input.etcFiles.areReadOnly === true;
  const readOnly = isReadOnly ? ["ro"] : [];
  const options = ["rbind", ...readOnly, "rprivate"];
  const { resolvConf, hostname, hosts } = input.etcFiles;
  const files: readonly (readonly [string, string | undefined])[] = [
    ["/etc/resolv.conf", resolvConf],
    ["/etc/hostname", hostname],
    ["/etc/hosts", hosts],
  ];
  const binds = files.flatMap(([destination, source]) =>
    source === undefined ? [] : [{ destination, type: "bind", source, options }],
  );
  if (input.initPath === undefined) return binds;
  return [
    ...binds,
    {
      destination: initTarget,
      type: "bind",
      source: input.initPath,
      options: ["bind", "ro", "rprivate"],
    },
  ];
}

function encodeMount(input: MountInput, supportsRecursive: boolean): RuntimeMount {
  if (input.type === "tmpfs") {
    const options = mergeTmpfsOptions([
      ...(input.options ?? []),
      ...(input.isReadOnly ? ["ro"] : []),
    ]);
    return { destination: input.target, type: "tmpfs", source: "tmpfs", options };
  }
  const { source } = input;
  if (source === undefined || !source.startsWith("/")) {
    throw invalid(`mount ${quoted(input.target)}: its source is no absolute path`);
  }
  const propagation = input.propagation ?? "rprivate";
  checkPropagation(source, propagation);
  return {
    destination: input.target,
    type: "bind",
    source,
    options: [
      input.isRecursive ? "rbind" : "bind",
      ...(input.isReadOnly ? [readOnlyOption(input, supportsRecursive)] : []),
      propagation,
    ],
  };
}

function readOnlyOption(input: MountInput, supportsRecursive: boolean): "ro" | "rro" {
  const wanted = input.readOnlyDepth ?? "recursive";
  // Nothing is mounted below a file, and crun 1.8 fails on `rro` for one.
  if (wanted === "top" || isFile(input.source)) return "ro";
  if (supportsRecursive) return "rro";
  if (wanted === "recursive") return "ro";
  throw invalid(`mount ${quoted(input.target)}: recursively read-only needs Linux 5.12 or newer`);
}

function isFile(path: string | undefined): boolean {
  if (path === undefined) return false;
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false;
}

function duplicate(mounts: readonly MountInput[]): EngineError {
  const seen = new Set<string>();
  const twice = mounts.find((input) => seen.has(input.target) || !seen.add(input.target));
  return invalid(`Duplicate mount point: ${twice?.target}`);
}

function mount(
  destination: string,
  fields: { readonly type: string; readonly options: readonly string[] },
): RuntimeMount {
  return { destination, type: fields.type, source: fields.type, options: fields.options };
}

function depth(path: string): number {
  return path.split("/").length;
}

function isAtLeast(
  version: { readonly major: number; readonly minor: number },
  least: { readonly major: number; readonly minor: number },
): boolean {
  return (
    version.major > least.major || (version.major === least.major && version.minor >= least.minor)
  );
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
