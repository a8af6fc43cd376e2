/** Values of single flags of `run` that the client itself checks. */
import { fault } from "./fault.ts";
import { splitPair } from "./key-values.ts";
import { isAddress } from "./ports.ts";

/** Reads a number of CPUs as 1e-9 of them, without rounding. */
export function parseCpus(text: string): number {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(text);
  if (match === null || !/\d/.test(text))
    throw fault(`failed to parse ${text} as a rational number`);
  const [, sign = "", whole = "", fraction = ""] = match;
  const digits = fraction.replace(/0+$/, "");
  if (digits.length > 9) throw fault("value is too precise");
  const nano = Number(whole === "" ? 0 : whole) * 1e9 + Number(digits.padEnd(9, "0"));
  return sign === "-" ? -nano : nano;
}

const sysctls = new Set([
  ...["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"],
  ...["kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"],
]);

/** Reads `--sysctl`: only what belongs to the container. */
export function parseSysctl(text: string): string {
  const [key] = splitPair(text);
  const isKnown = sysctls.has(key) || key.startsWith("net.") || key.startsWith("fs.mqueue.");
  if (!text.includes("=") || !isKnown) throw fault(`sysctl '${text}' is not allowed`);
  return text;
}

/** Reads an IP address. */
export function parseAddress(text: string): string {
  if (!isAddress(text.trim())) throw fault(`IP address is not correctly formatted: ${text}`);
  return text.trim();
}

/** Reads `--dns-search`. */
export function parseDomain(text: string): string {
  if (text.trim() === ".") return ".";
  if (
    !/[a-zA-Z]/.test(text) ||
    !/^(:?(:?[a-zA-Z0-9]|(:?[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))(:?\.(:?[a-zA-Z0-9]|(:?[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])))*)\.?\s*$/.test(
      text,
    )
  ) {
    throw fault(`${text} is not a valid domain`);
  }
  return text.trim();
}

/** Reads `--add-host`. */
export function parseExtraHost(text: string): string {
  const split = /^([^:=]+)[:=](.+)$/.exec(text);
  if (split === null) throw fault(`bad format for add-host: ${JSON.stringify(text)}`);
  const [, name = "", rest = ""] = split;
  const address = rest.replace(/^\[(.*)\]$/, "$1");
  if (address !== "host-gateway" && !isAddress(address)) {
    throw fault(`invalid IP address in add-host: ${JSON.stringify(address)}`);
  }
  return `${name}:${address}`;
}

/** Reads `--link`. */
export function parseLink(text: string): string {
  if (text === "") throw fault("empty string specified for links");
  if (text.split(":").length > 2) throw fault(`bad format for links: ${text}`);
  return text;
}
