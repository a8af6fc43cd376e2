import { systemCode } from "../../sys/libc.ts";
import { readSysctl, setSysctl } from "../../sys/sysctl.ts";

/**
 * Has a bridge without IPv6 neither addresses nor routes from what containers announce, and never
 * lets loopback addresses cross it.
 */
export function quietBridge(name: string): void {
  setIfThere(`net/ipv6/conf/${name}/accept_ra`, "0");
  setIfThere(`net/ipv6/conf/${name}/disable_ipv6`, "1");
  setIfThere(`net/ipv4/conf/${name}/route_localnet`, "0");
}

/** Keeps the host side of a pair from having an IPv6 address of its own. */
export function quietHostSide(name: string): void {
  setIfThere(`net/ipv6/conf/${name}/disable_ipv6`, "1");
}

/** Lets this host forward IPv4. @returns whether it did not before */
export function enableForwarding(): boolean {
  if (readSysctl("net/ipv4/ip_forward") === "1") return false;
  setSysctl("net/ipv4/ip_forward", "1");
  return true;
}

/** A kernel without IPv6 lacks its parameters; a link may be gone again. */
function setIfThere(path: string, value: string): void {
  try {
    setSysctl(path, value);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
