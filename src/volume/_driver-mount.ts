/**
 * What the options of the driver `local` mount at a volume's directory.
 */
import { EngineError, messageOf } from "../lib/errors.ts";
import { bindMount, mount, mountFlags } from "../sys/mount/mount.ts";

/** A mount to make at a volume's directory. */
export interface DriverMount {
  readonly kind: "bind" | "tmpfs";
  /** `bind`: an absolute path. */
  readonly source: string;
  readonly isRecursive: boolean;
  readonly isReadOnly: boolean;
  /** Or-ed `mountFlags` beside those of the kind. */
  readonly flags: number;
  /** What the file system takes: `size=1m,uid=5`. */
  readonly data: string;
}

/** Each option and those that it needs, as Docker. */
const needs: Readonly<Record<string, readonly string[]>> = {
  device: ["type"],
  o: ["device", "type"],
  type: ["device"],
  size: [],
};
const flagWords: ReadonlyMap<string, number> = new Map([
  ["nosuid", mountFlags.noSuid],
  ["nodev", mountFlags.noDev],
  ["noexec", mountFlags.noExec],
]);
const plainWords: ReadonlySet<string> = new Set(["bind", "rbind", "ro", "rw", "defaults", ""]);

/**
 * Reads the driver options of a volume.
 *
 * @returns undefined when they mount nothing
 * @throws invalid-argument in Docker's words; not-implemented for what only other file systems,
 * or quotas, could do
 */
export function parseDriverOptions(
  options: Readonly<Record<string, string>>,
): DriverMount | undefined {
  for (const name of Object.keys(options)) {
    const needed = Object.hasOwn(needs, name) ? needs[name] : undefined;
    if (needed === undefined) throw invalid(`invalid option: ${JSON.stringify(name)}`);
    const missing = needed.find((other) => !Object.hasOwn(options, other));
    if (missing !== undefined) {
      throw invalid(`missing required option: ${JSON.stringify(missing)}`);
    }
  }
  if (Object.hasOwn(options, "size")) {
    throw new EngineError("not-implemented", "volume option size (a quota) is not implemented");
  }
  const { type, device } = options;
  if (type === undefined || device === undefined) return undefined;
  const words = (options["o"] ?? "").split(",").map((word) => word.trim());
  const isBind = words.includes("bind") || words.includes("rbind") || type === "bind";
  if (!isBind && type !== "tmpfs") {
    throw new EngineError(
      "not-implemented",
      `volumes of type ${JSON.stringify(type)} are not implemented: use tmpfs, or o=bind`,
    );
  }
  if (isBind && !device.startsWith("/")) {
    throw invalid(`invalid device ${JSON.stringify(device)}: a bind needs an absolute path`);
  }
  const data = words.filter((word) => !flagWords.has(word) && !plainWords.has(word));
  if (isBind && data.length > 0) {
    throw invalid(`invalid mount option ${JSON.stringify(data[0])} for a bind`);
  }
  return {
    kind: isBind ? "bind" : "tmpfs",
    source: device,
    isRecursive: words.includes("rbind"),
    isReadOnly: words.includes("ro"),
    flags: words.reduce((sum, word) => sum | (flagWords.get(word) ?? 0), 0),
    data: data.join(","),
  };
}

/** Makes the mount. @throws invalid-argument in Docker's words when the kernel refuses it */
export function mountDriver(driver: DriverMount, target: string): void {
  const { source, isRecursive: recursive, isReadOnly: readOnly } = driver;
  try {
    if (driver.kind === "bind") bindMount({ source, target, recursive, readOnly });
    else {
      const flags = driver.flags | (readOnly ? mountFlags.readOnly : 0);
      mount({ source, target, type: "tmpfs", flags, data: driver.data });
    }
  } catch (cause) {
    const reason = messageOf(cause).replace(/^.*: /, "").toLowerCase();
    const flags = driver.kind === "bind" ? mountFlags.bind : driver.flags;
    throw new EngineError(
      "invalid-argument",
      `error while mounting volume '${target}': failed to mount local volume: ` +
        `mount ${source}:${target}, flags: 0x${flags.toString(16)}: ${reason}`,
      { cause },
    );
  }
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
