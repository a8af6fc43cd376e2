/** Devices, their limits, ulimits and GPUs. */
import type {
  DeviceMapping,
  DeviceRequest,
  ThrottleDevice,
  Ulimit,
  WeightDevice,
} from "../../api/container-config.ts";
import { EngineError } from "../../lib/errors.ts";
import { parseSize } from "../../lib/size.ts";
import { fault } from "./fault.ts";
import { splitPair } from "./key-values.ts";
import { splitCsv } from "./mount.ts";

const defaultPermissions = "rwm";
/** `vendor.com/class=name`. @see CDI specification, "Device names" */
const cdiName = /^[A-Za-z][A-Za-z0-9_.-]*\/[A-Za-z][A-Za-z0-9_.-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*$/;

/** Tells whether `--device` names a CDI device. */
export function isCdiDevice(text: string): boolean {
  return cdiName.test(text);
}

/** Reads `--device`: `host[:container][:rwm]`. */
export function parseDevice(text: string): DeviceMapping {
  const [host = "", second, third, ...more] = text.split(":");
  if (more.length > 0) throw fault(`invalid device specification: ${text}`);
  const isMode = (value: string): boolean => /^(?!.*(.).*\1)[rwm]{1,3}$/.test(value);
  if (third === undefined && second !== undefined && isMode(second)) {
    return { PathOnHost: host, PathInContainer: host, CgroupPermissions: second };
  }
  return {
    PathOnHost: host,
    PathInContainer: second === undefined || second === "" ? host : second,
    CgroupPermissions: third ?? defaultPermissions,
  };
}

/** Checks `--device` as Docker's client does before it sends it. */
export function checkDevice(text: string): string {
  const parts = text.split(":");
  if (parts.length > 3) throw fault(`bad format for path: ${text}`);
  const [first = "", second = first, mode] = parts;
  const isMode = /^[rwm]{1,3}$/.test(parts.length === 2 ? second : "");
  if (mode !== undefined && !/^(?!.*(.).*\1)[rwm]{1,3}$/.test(mode))
    throw fault(`bad mode specified: ${mode}`);
  const target = isMode ? first : second;
  if (!target.startsWith("/")) throw fault(`${target} is not an absolute path`);
  return text;
}

/** Reads `--device-cgroup-rule`. */
export function parseDeviceRule(text: string): string {
  if (!/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(text)) {
    throw fault(`invalid device cgroup format '${text}'`);
  }
  return text;
}

/** Reads `/dev/x:10mb`. */
export function parseBytesLimit(text: string): ThrottleDevice {
  const sentence =
    `invalid rate for device: ${text}. The correct format is <device-path>:<number>[<unit>]. ` +
    "Number must be a positive integer. Unit is optional and can be kb, mb, or gb";
  const { path, value } = splitDevice(text);
  try {
    return { Path: path, Rate: parseSize(value) };
  } catch (error) {
    if (error instanceof EngineError) throw fault(sentence, error);
    throw error;
  }
}

/** Reads `/dev/x:1000`. */
export function parseRateLimit(text: string): ThrottleDevice {
  const { path, value } = splitDevice(text);
  if (!/^\d{1,18}$/.test(value)) {
    throw fault(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>. ` +
        "Number must be a positive integer",
    );
  }
  return { Path: path, Rate: Number(value) };
}

/** Reads `/dev/x:300`. */
export function parseWeight(text: string): WeightDevice {
  const { path, value } = splitDevice(text);
  const weight = Number(value);
  if (!/^\d{1,5}$/.test(value) || (weight > 0 && (weight < 10 || weight > 1000))) {
    throw fault(`invalid weight for device: ${text}`);
  }
  return { Path: path, Weight: weight };
}

function splitDevice(text: string): { readonly path: string; readonly value: string } {
  const split = text.indexOf(":");
  const path = text.slice(0, Math.max(0, split));
  if (split <= 0) throw fault(`bad format: ${text}`);
  if (!path.startsWith("/dev/")) throw fault(`bad format for device path: ${text}`);
  return { path, value: text.slice(split + 1) };
}

const ulimitNames = new Set([
  ...["core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"],
  ...["rss", "rtprio", "rttime", "sigpending", "stack"],
]);

/** Reads `nofile=1024:2048`. */
export function parseUlimit(text: string): Ulimit {
  if (!text.includes("=")) throw fault(`invalid ulimit argument: ${text}`);
  const [name, value] = splitPair(text);
  if (!ulimitNames.has(name)) throw fault(`invalid ulimit type: ${name}`);
  const [softText = "", hardText, ...more] = value.split(":");
  if (more.length > 0)
    throw fault(
      `too many limit value arguments - ${value}, can only have up to two, \`soft[:hard]\``,
    );
  const soft = readInteger(softText);
  const hard = hardText === undefined ? soft : readInteger(hardText);
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw fault(
      soft === -1
        ? `ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: ${hard}`
        : `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
    );
  }
  return { Name: name, Hard: hard, Soft: soft };
}

/** Reads `--gpus`: a count, "all", or fields of CSV. */
export function parseGpus(text: string): DeviceRequest {
  const request = {
    Driver: "",
    Count: 0,
    DeviceIDs: [] as string[],
    Capabilities: [["gpu"]],
    Options: {} as Record<string, string>,
  };
  const seen = new Set<string>();
  for (const field of splitCsv(text)) {
    const [key, value] = field.includes("=") ? splitPair(field) : ["count", field];
    if (seen.has(key)) throw fault(`gpu request key '${key}' can be specified only once`);
    seen.add(key);
    switch (key) {
      case "driver":
        request.Driver = value;
        break;
      case "count":
        request.Count = readCount(value);
        break;
      case "device":
        request.DeviceIDs = value.split(",");
        break;
      case "capabilities":
        request.Capabilities = [[...new Set(["gpu", ...value.split(",")])]];
        break;
      case "options":
        request.Options = Object.fromEntries(splitCsv(value).map(splitPair));
        break;
      default:
        throw fault(`unexpected key '${key}' in '${field}'`);
    }
  }
  if (!seen.has("count") && request.DeviceIDs.length === 0) request.Count = 1;
  return { ...request, DeviceIDs: request.DeviceIDs.length === 0 ? null : request.DeviceIDs };
}

function readCount(text: string): number {
  if (text === "all") return -1;
  if (!/^-?\d{1,9}$/.test(text)) {
    throw fault(
      `invalid count (${text}): value must be either "all" or an integer: invalid syntax`,
    );
  }
  return Number(text);
}

function readInteger(text: string): number {
  if (!/^[+-]?\d{1,19}$/.test(text)) {
    throw fault(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  return Number(text);
}

/** Checks `--device`, whichever of the two forms it has. */
export function checkDeviceOrCdi(text: string): string {
  return isCdiDevice(text) ? text : checkDevice(text);
}
