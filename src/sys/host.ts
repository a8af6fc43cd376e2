/** What machine this is. */
import { readFileSync } from "node:fs";
import { availableParallelism, hostname, machine, release, totalmem } from "node:os";
import { nodeFailure, systemCode } from "./libc.ts";

/** Facts of the machine, for `info`. */
export interface HostInfo {
  readonly hostname: string;
  readonly kernelVersion: string;
  /** As `uname -m`: `x86_64`, `aarch64`. */
  readonly machine: string;
  readonly cpuCount: number;
  readonly memorySizeBytes: number;
  /** `PRETTY_NAME` of os-release. */
  readonly operatingSystem: string;
  /** `VERSION_ID` of os-release. */
  readonly operatingSystemVersion: string;
  /** `ID` of os-release. */
  readonly operatingSystemId: string;
}

/** Reads the facts; only the host name may change while the machine runs. */
export function hostInfo(): HostInfo {
  const os = osRelease();
  return {
    hostname: hostname(),
    kernelVersion: release(),
    machine: machine(),
    cpuCount: availableParallelism(),
    memorySizeBytes: totalmem(),
    operatingSystem: os.get("PRETTY_NAME") ?? "Linux",
    operatingSystemVersion: os.get("VERSION_ID") ?? "",
    operatingSystemId: os.get("ID") ?? "linux",
  };
}

/** The pairs of /etc/os-release, else of /usr/lib/os-release; none when there is neither. */
export function osRelease(): ReadonlyMap<string, string> {
  for (const path of ["/etc/os-release", "/usr/lib/os-release"]) {
    try {
      return parseOsRelease(readFileSync(path, "utf8"));
    } catch (error) {
      const failure = nodeFailure(error, `read ${path}`);
      if (systemCode(failure) !== "ENOENT") throw failure;
    }
  }
  return new Map();
}

/** Reads the text of an os-release file. @see man 5 os-release */
export function parseOsRelease(text: string): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, key, raw = ""] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line.trim()) ?? [];
    if (key === undefined) continue;
    const quote = raw[0];
    const isQuoted = raw.length > 1 && (quote === '"' || quote === "'") && raw.endsWith(quote);
    const bare = isQuoted ? raw.slice(1, -1) : raw;
    pairs.set(key, quote === "'" ? bare : bare.replace(/\\(["'$`\\])/g, "$1"));
  }
  return pairs;
}
