/** Where mounts may be put. */
import { posix } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { fileSystemStats } from "../../sys/fs/fs.ts";
import { resolveImagePaths } from "./_image-file.ts";
import type { MountInput } from "./spec-input.ts";

// linux/magic.h
const procMagic = 0x9fa0;
/** Files of /proc that may be covered: what lxcfs serves. Runc has the same list. */
const coverable: ReadonlySet<string> = new Set([
  "/proc/cpuinfo",
  "/proc/diskstats",
  "/proc/loadavg",
  "/proc/meminfo",
  "/proc/net/dev",
  "/proc/slabinfo",
  "/proc/stat",
  "/proc/swaps",
  "/proc/sys/crypto/fips_enabled",
  "/proc/sys/kernel/ns_last_pid",
  "/proc/uptime",
]);
/** File systems of the kernel that what an image says is relied on not to be. */
const kernelFolders = ["/proc", "/sys"] as const;

/** The target of a mount, cleaned. @throws invalid-argument for one that no container may cover */
export function cleanTarget(input: MountInput): string {
  if (!input.target.startsWith("/")) {
    throw invalid(`invalid mount path: '${input.target}' mount path must be absolute`);
  }
  const target = posix.normalize(input.target).replace(/(.)\/$/, "$1");
  refuseCovering(input, target);
  return target;
}

/**
 * Checks where mounts come to lie, with the links of the image followed.
 *
 * An image that has a link to /proc would else have something of its own put there, which the runtime
 * takes for the kernel's.
 *
 * @param layerDirs directories of the layers, uppermost first
 * @throws invalid-argument for a target that no container may cover, also through links
 */
export function checkMountTargets(
  mounts: readonly MountInput[],
  layerDirs: readonly string[],
): void {
  const paths = [...kernelFolders, ...mounts.map(cleanTarget)];
  const resolved = resolveImagePaths(layerDirs, paths);
  for (const folder of kernelFolders) {
    if (resolved.get(folder) === folder) continue;
    throw invalid(`filesystem ${quoted(folder.slice(1))} must be mounted on ordinary directory`);
  }
  for (const mount of mounts) {
    refuseCovering(mount, resolved.get(cleanTarget(mount)) ?? mount.target);
  }
}

function refuseCovering(input: MountInput, target: string): void {
  if (target === "/") throw invalid("invalid specification: destination can't be '/'");
  if (target === "/proc" && !isProc(input)) throw uncoverable(input, "it is not of type proc");
  if (target.startsWith("/proc/") && !coverable.has(target)) {
    throw uncoverable(input, "it is inside /proc");
  }
  // The runtime makes devices and links there, and must not make them in somebody's folder.
  const isUntrusted = input.isUntrusted === true || input.type === "volume";
  if (isUntrusted && (target === "/dev" || target === "/sys")) {
    throw uncoverable(input, `${target} is the engine's`);
  }
}

/** The host's own /proc may be bound over the container's, as every OCI runtime allows. */
function isProc(input: MountInput): boolean {
  return input.source !== undefined && fileSystemStats(input.source).type === procMagic;
}

function uncoverable(input: MountInput, reason: string): EngineError {
  const source = quoted(input.source ?? "tmpfs");
  return invalid(
    `error mounting ${source} to rootfs at ${quoted(input.target)}: it cannot be mounted because ${reason}`,
  );
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
