/**
 * The mounts that a request and its image ask for. Pure but for a look at bind sources.
 *
 * Of two wishes for one target the stronger counts: `-v`, `--mount` and `--tmpfs` may not meet each
 * other; `--volumes-from` gives way to them, a VOLUME of the image to all.
 */
import { statSync } from "node:fs";
import { posix } from "node:path";
import type { ContainerConfig, HostConfig, Mount } from "../../api/container-config.ts";
import {
  duplicateMountPoint,
  invalidMount,
  invalidMountMode,
  invalidVolumeName,
  missingBindSource,
  mountPathNotAbsolute,
  shortVolumeName,
} from "../../lib/docker-messages.ts";
import { codeOf, EngineError, isKind } from "../../lib/errors.ts";
import { unsupported } from "./host-config.ts";
import { bindSpecificationOf, copyModeOf, propagationModes } from "./_bind-mode.ts";
import type { StoredMount } from "../record/record.ts";

const rootProblem = "invalid specification: destination can't be '/'";
const volumeNameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A mount asked for; a volume without a name is to be made. */
export interface MountWish extends StoredMount {
  /** `volume`: what it is made with when it is not there. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly driverOptions?: Readonly<Record<string, string>>;
}

/** What mounts depend on. */
export interface MountRequest {
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  /** Mounts of the container that a `--volumes-from` names. @throws not-found */
  readonly mountsOf: (reference: string) => readonly StoredMount[];
}

/**
 * Reads all wishes for mounts, each target once.
 *
 * @throws invalid-argument in Docker's words
 */
export function planMountWishes(request: MountRequest): readonly MountWish[] {
  const { config, hostConfig } = request;
  const strong = new Map<string, MountWish>();
  const add = (wish: MountWish): void => {
    if (strong.has(wish.target)) throw duplicateMountPoint(wish.target);
    strong.set(wish.target, wish);
  };
  for (const bind of hostConfig.Binds ?? []) add(parseBind(bind, hostConfig.VolumeDriver));
  for (const mount of hostConfig.Mounts ?? []) add(parseMount(mount));
  for (const [target, options] of Object.entries(hostConfig.Tmpfs ?? {})) {
    add(parseTmpfs(target, options));
  }
  const all = new Map<string, MountWish>();
  for (const from of hostConfig.VolumesFrom ?? []) {
    for (const wish of parseVolumesFrom(from, request.mountsOf)) all.set(wish.target, wish);
  }
  for (const [target, wish] of strong) all.set(target, wish);
  for (const given of Object.keys(config.Volumes ?? {})) {
    const target = cleanTarget(given, "volume");
    if (!all.has(target)) all.set(target, volumeWish({ target, driver: hostConfig.VolumeDriver }));
  }
  return [...all.values()];
}

/**
 * Reads one `-v`: `[source:]target[:options]`.
 *
 * @throws invalid-argument in Docker's words
 */
export function parseBind(text: string, volumeDriver: string): MountWish {
  const { source, target: given, modes, mode } = bindSpecificationOf(text);
  const type = source.startsWith("/") ? "bind" : "volume";
  try {
    const target = cleanTarget(given, type);
    const propagation = modes.find((word) => propagationModes.has(word));
    const copy = copyModeOf(modes);
    const isReadOnly = modes.includes("ro");
    if (type === "bind") {
      if (copy !== undefined) throw foreignField("bind", "VolumeOptions");
      return {
        type,
        source: posix.normalize(source).replace(/(.)\/$/, "$1"),
        target,
        isReadOnly,
        mode,
        propagation: propagation ?? "rprivate",
        isRecursive: propagation === undefined || propagation.startsWith("r"),
        isSourceMade: true,
      };
    }
    if (propagation !== undefined) throw foreignField("volume", "BindOptions");
    return {
      ...volumeWish({ target, name: source, driver: volumeDriver }),
      isReadOnly,
      mode: mode === "" && source !== "" ? "z" : mode,
      ...(copy === false ? { isCopyDisabled: true } : {}),
    };
  } catch (error) {
    // The name of a volume is told without the specification.
    if (!isKind(error, "invalid-argument") || error.message.startsWith("create ")) throw error;
    throw new EngineError(
      "invalid-argument",
      `invalid volume specification: '${text}': ${error.message}`,
    );
  }
}

function foreignField(type: string, field: string): EngineError {
  return invalidMount(type, `field ${field} must not be specified`);
}

/**
 * Reads one `--mount`.
 *
 * @throws invalid-argument in Docker's words; not-implemented for types that come later
 */
export function parseMount(mount: Mount): MountWish {
  const type = mount.Type ?? "";
  switch (type) {
    case "bind":
      refuseForeign(mount, ["VolumeOptions", "TmpfsOptions", "ImageOptions"]);
      return parseBindMount(mount);
    case "volume":
      refuseForeign(mount, ["BindOptions", "TmpfsOptions", "ImageOptions"]);
      return parseVolumeMount(mount);
    case "tmpfs":
      refuseForeign(mount, ["BindOptions", "VolumeOptions", "ImageOptions"]);
      return parseTmpfsMount(mount);
    case "image":
      throw unsupported("HostConfig.Mounts of type image");
    default:
      throw invalidMount(type, "mount type unknown");
  }
}

function refuseForeign(
  mount: Mount,
  fields: readonly ("BindOptions" | "VolumeOptions" | "TmpfsOptions" | "ImageOptions")[],
): void {
  for (const field of fields) {
    if (mount[field] === undefined) continue;
    throw new EngineError(
      "invalid-argument",
      `${field} must not be specified on mount type ${JSON.stringify(mount.Type ?? "")}`,
    );
  }
}

function parseBindMount(mount: Mount): MountWish {
  const target = cleanTarget(mount.Target ?? "", "bind");
  const source = mount.Source ?? "";
  const options = mount.BindOptions ?? {};
  if (source === "") throw invalidMount("bind", "field Source must not be empty");
  const propagation = options.Propagation ?? "";
  if (propagation !== "" && !propagationModes.has(propagation)) {
    throw invalidMount("bind", `invalid propagation mode: ${propagation}`);
  }
  if (!source.startsWith("/")) throw invalidMount("bind", mountPathNotAbsolute(source));
  if (options.ReadOnlyNonRecursive === true && options.ReadOnlyForceRecursive === true) {
    throw invalidMount(
      "bind",
      "ReadOnlyNonRecursive and ReadOnlyForceRecursive are mutually exclusive",
    );
  }
  const isSourceMade = options.CreateMountpoint === true;
  if (!isSourceMade && !exists(source)) throw missingBindSource(source);
  return {
    type: "bind",
    source: posix.normalize(source).replace(/(.)\/$/, "$1"),
    target,
    isReadOnly: mount.ReadOnly === true,
    mode: "",
    propagation: propagation === "" ? "rprivate" : propagation,
    isRecursive: options.NonRecursive !== true,
    ...(options.ReadOnlyNonRecursive === true ? { readOnlyDepth: "top" as const } : {}),
    ...(options.ReadOnlyForceRecursive === true ? { readOnlyDepth: "forced" as const } : {}),
    ...(isSourceMade ? { isSourceMade } : {}),
  };
}

function parseVolumeMount(mount: Mount): MountWish {
  const target = cleanTarget(mount.Target ?? "", "volume");
  const name = mount.Source ?? "";
  const options = mount.VolumeOptions ?? {};
  if (name === "" && mount.ReadOnly === true) {
    throw invalidMount("volume", "must not set ReadOnly mode when using anonymous volumes");
  }
  const subpath = options.Subpath ?? "";
  if (subpath !== "") {
    if (name === "") {
      throw invalidMount("volume", "must not set Subpath when using anonymous volumes");
    }
    if (subpath.startsWith("/") || subpath.split("/").includes("..")) {
      throw invalidMount("volume", "subpath must be a relative path within the volume");
    }
  }
  return {
    ...volumeWish({ target, name, driver: options.DriverConfig?.Name ?? "" }),
    isReadOnly: mount.ReadOnly === true,
    mode: "z",
    ...(subpath === "" ? {} : { subpath }),
    ...(options.NoCopy === true ? { isCopyDisabled: true } : {}),
    ...(options.Labels === undefined ? {} : { labels: options.Labels }),
    ...(options.DriverConfig?.Options === undefined
      ? {}
      : { driverOptions: options.DriverConfig.Options }),
  };
}

function parseTmpfsMount(mount: Mount): MountWish {
  const target = cleanTarget(mount.Target ?? "", "tmpfs");
  if ((mount.Source ?? "") !== "") {
    throw invalidMount("tmpfs", "field Source must not be specified");
  }
  const {
    SizeBytes: sizeBytes = 0,
    Mode: mode = 0,
    Options: given = [],
  } = mount.TmpfsOptions ?? {};
  const extra = given.map((words) => {
    const text = words.join("=");
    const isKnown = words.length === 1 ? ["exec", "noexec"].includes(text) : false;
    const isPair = words.length === 2 && ["uid", "gid", "nr_inodes"].includes(words[0] ?? "");
    if (!isKnown && !isPair) throw invalidMount("tmpfs", `invalid option: ${text}`);
    return text;
  });
  const options = [
    ...(sizeBytes > 0 ? [`size=${sizeBytes}`] : []),
    ...(mode > 0 ? [`mode=${mode.toString(8)}`] : []),
    ...extra,
  ];
  return { ...tmpfsWish(target, options), isReadOnly: mount.ReadOnly === true };
}

function parseTmpfs(given: string, options: string): MountWish {
  if (given === "/") throw new EngineError("invalid-argument", rootProblem);
  if (!given.startsWith("/"))
    throw new EngineError("invalid-argument", mountPathNotAbsolute(given));
  const words = options.split(",").filter((word) => word !== "");
  return { ...tmpfsWish(posix.normalize(given), words), isHidden: true };
}

function parseVolumesFrom(text: string, mountsOf: MountRequest["mountsOf"]): readonly MountWish[] {
  if (text === "") {
    throw new EngineError(
      "invalid-argument",
      "volumes-from specification cannot be an empty string",
    );
  }
  const colon = text.indexOf(":");
  const reference = colon < 0 ? text : text.slice(0, colon);
  const mode = colon < 0 ? "" : text.slice(colon + 1);
  if (!["", "ro", "rw", "z", "Z"].includes(mode)) throw invalidMountMode(mode);
  return mountsOf(reference)
    .filter((mount) => mount.type !== "tmpfs")
    .map((mount) => ({ ...mount, isReadOnly: mount.isReadOnly || mode === "ro" }));
}

function cleanTarget(given: string, type: string): string {
  if (given === "") throw invalidMount(type, "field Target must not be empty");
  const target = posix.normalize(given).replace(/(.)\/$/, "$1");
  if (target === "/") throw invalidMount(type, rootProblem);
  if (!target.startsWith("/")) throw invalidMount(type, mountPathNotAbsolute(given));
  if (target.includes("\0")) throw invalidMount(type, "field Target has a zero byte");
  return target;
}

function volumeWish(volume: {
  readonly target: string;
  readonly name?: string;
  readonly driver: string;
}): MountWish {
  const name = volume.name ?? "";
  if (name.length === 1) throw shortVolumeName(name);
  if (name !== "" && !volumeNameForm.test(name)) throw invalidVolumeName(name);
  return {
    type: "volume",
    target: volume.target,
    ...(name === "" ? { isAnonymous: true } : { volume: name }),
    driver: volume.driver === "" ? "local" : volume.driver,
    isReadOnly: false,
    mode: "",
    propagation: "",
    isRecursive: true,
  };
}

function tmpfsWish(target: string, options: readonly string[]): MountWish {
  return {
    type: "tmpfs",
    target,
    isReadOnly: false,
    mode: "",
    propagation: "",
    isRecursive: true,
    options,
  };
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (["ENOTDIR", "ELOOP", "ENAMETOOLONG"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}
