/**
 * Device nodes of a container and the rules of its device cgroup.
 */
import { lstatSync, readdirSync, realpathSync, type BigIntStats } from "node:fs";
import { join } from "node:path";
import { codeOf, EngineError } from "../../lib/errors.ts";
import type { RuntimeDeviceRule, RuntimeDevice } from "../../oci/runtime-spec.ts";

/** A device node of the host. */
export interface HostDevice {
  readonly path: string;
  readonly type: "c" | "b";
  readonly major: number;
  readonly minor: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A device that somebody asked for. */
export interface DeviceRequest {
  readonly pathOnHost: string;
  readonly pathInContainer: string;
  /** Of `rwm`; "" is all. */
  readonly permissions: string;
}

/** The devices of a spec: nodes to make, and rules in the order they count. */
export interface DevicePlan {
  readonly nodes: readonly RuntimeDevice[];
  readonly rules: readonly RuntimeDeviceRule[];
}

/** Nothing but the harmless ones; fuse is said explicitly because runtimes would add it. */
export const defaultDeviceRules: readonly RuntimeDeviceRule[] = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", major: 1, minor: 5, access: "rwm" }, // zero
  { allow: true, type: "c", major: 1, minor: 3, access: "rwm" }, // null
  { allow: true, type: "c", major: 1, minor: 9, access: "rwm" }, // urandom
  { allow: true, type: "c", major: 1, minor: 8, access: "rwm" }, // random
  { allow: true, type: "c", major: 5, minor: 0, access: "rwm" }, // tty
  { allow: true, type: "c", major: 5, minor: 1, access: "rwm" }, // console
  { allow: false, type: "c", major: 10, minor: 229, access: "rwm" }, // fuse
];

const deviceCountMax = 10_000;
/** Folders and files under /dev that each container has of its own. */
const ownNames: ReadonlySet<string> = new Set([
  "pts",
  "shm",
  "fd",
  "mqueue",
  ".lxc",
  ".lxd-mounts",
  ".udev",
  "console",
]);

/** Lists the device nodes in a folder and below; symbolic links are not followed. */
export function listHostDevices(folder: string): readonly HostDevice[] {
  const found: HostDevice[] = [];
  collect(folder, found);
  return found;
}

/**
 * Plans the devices of a container.
 *
 * @param options.hostDevices called for a privileged container only, which gets all of them
 * @throws invalid-argument when a path is missing or no device, or a rule or permission is malformed
 */
export function planDevices(options: {
  readonly requests: readonly DeviceRequest[];
  readonly cgroupRules: readonly string[];
  readonly isPrivileged: boolean;
  readonly hostDevices: () => readonly HostDevice[];
}): DevicePlan {
  const expanded = options.requests.flatMap(expandRequest);
  const nodes = new Map<string, RuntimeDevice>();
  if (options.isPrivileged) {
    for (const device of options.hostDevices()) nodes.set(device.path, nodeOf(device, device.path));
  }
  for (const { node } of expanded) nodes.set(node.path, node);
  const rules = options.isPrivileged
    ? [...defaultDeviceRules, { allow: true, access: "rwm" }]
    : [
        ...defaultDeviceRules,
        ...expanded.map(({ rule }) => rule),
        ...options.cgroupRules.map(parseDeviceCgroupRule),
      ];
  return { nodes: [...nodes.values()], rules };
}

/**
 * Parses `c 1:3 mr`; a star stands for any number.
 *
 * @throws invalid-argument in Docker's words
 */
export function parseDeviceCgroupRule(text: string): RuntimeDeviceRule {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text);
  const [, letter = "", major = "", minor = "", access = ""] = match ?? [];
  if (match === null || [major, minor].some((part) => part.length > 9)) {
    throw invalid(`invalid device cgroup rule format: '${text}'`);
  }
  return {
    allow: true,
    type: letter === "a" ? "a" : letter === "b" ? "b" : "c",
    ...(major === "*" ? {} : { major: Number(major) }),
    ...(minor === "*" ? {} : { minor: Number(minor) }),
    access,
  };
}

/** The device behind a path of the host. @throws the error of stat, as Docker says it */
export function blockDeviceNumbers(path: string): {
  readonly major: number;
  readonly minor: number;
} {
  try {
    const stat = lstatSync(realpathSync(path), { bigint: true });
    return numbersOf(stat);
  } catch (cause) {
    if (codeOf(cause) !== "ENOENT") throw cause;
    throw new EngineError("invalid-argument", `stat ${path}: no such file or directory`, { cause });
  }
}

interface AskedDevice {
  readonly node: RuntimeDevice;
  readonly rule: RuntimeDeviceRule;
}

function asked(
  device: HostDevice,
  options: { readonly target: string; readonly permissions: string },
): AskedDevice {
  const { type, major, minor } = device;
  return {
    node: nodeOf(device, options.target),
    rule: { allow: true, type, major, minor, access: options.permissions },
  };
}

function expandRequest(request: DeviceRequest): readonly AskedDevice[] {
  const permissions = request.permissions === "" ? "rwm" : request.permissions;
  if (!/^[rwm]{1,3}$/.test(permissions) || new Set(permissions).size !== permissions.length) {
    throw invalid(`invalid device mode: ${request.permissions}`);
  }
  const target = request.pathInContainer === "" ? request.pathOnHost : request.pathInContainer;
  const source = resolveHostPath(request.pathOnHost);
  const stat = lstatSync(source, { bigint: true });
  if (stat.isDirectory()) {
    const devices = listHostDevices(source);
    if (devices.length === 0) throw unusable(request.pathOnHost, "not a device node");
    return devices.map((device) =>
      asked(device, { target: join(target, device.path.slice(source.length)), permissions }),
    );
  }
  const device = deviceOf(source, stat);
  if (device === undefined) throw unusable(request.pathOnHost, "not a device node");
  return [asked(device, { target, permissions })];
}

function resolveHostPath(path: string): string {
  if (!path.startsWith("/")) throw unusable(path, "not an absolute path");
  try {
    return realpathSync(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") throw unusable(path, "no such file or directory");
    if (code === "ENOTDIR") throw unusable(path, "not a directory");
    if (code === "ELOOP") throw unusable(path, "too many levels of symbolic links");
    throw error;
  }
}

function collect(folder: string, found: HostDevice[]): void {
  for (const name of readdirSync(folder).sort()) {
    if (ownNames.has(name)) continue;
    const path = join(folder, name);
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (stat.isDirectory()) collect(path, found);
    const device = deviceOf(path, stat);
    if (device !== undefined) found.push(device);
    if (found.length > deviceCountMax) {
      throw invalid(`list devices of ${JSON.stringify(folder)}: more than ${deviceCountMax}`);
    }
  }
}

function deviceOf(path: string, stat: BigIntStats): HostDevice | undefined {
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) return undefined;
  return {
    path,
    type: stat.isBlockDevice() ? "b" : "c",
    ...numbersOf(stat),
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
  };
}

/** glibc's major() and minor(). */
function numbersOf(stat: BigIntStats): { readonly major: number; readonly minor: number } {
  const { rdev } = stat;
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}

function nodeOf(device: HostDevice, path: string): RuntimeDevice {
  return {
    path,
    type: device.type,
    major: device.major,
    minor: device.minor,
    fileMode: device.mode,
    uid: device.uid,
    gid: device.gid,
  };
}

function unusable(path: string, reason: string): EngineError {
  const what = "error gathering device information while adding custom device";
  return invalid(`${what} ${JSON.stringify(path)}: ${reason}`);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
