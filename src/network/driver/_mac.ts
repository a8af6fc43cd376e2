import { EngineError } from "../../lib/errors.ts";
import { parseIpv4 } from "../cidr.ts";

/** The hardware address that belongs to an IPv4 address: 02:42 and its octets, as Docker's. */
export function macOf(ipAddress: string): string {
  const octets = parseIpv4(ipAddress).toString(16).padStart(8, "0");
  return `02:42:${octets.replace(/..(?!$)/g, "$&:")}`;
}

/** @throws invalid-argument unless `text` is six octets that may name one interface */
export function parseMac(text: string): string {
  const match = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text);
  const mac = text.toLowerCase().replaceAll("-", ":");
  // The lowest bit of the first octet marks a group of interfaces.
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  if (!match || isGroup || mac === "00:00:00:00:00:00") {
    throw new EngineError("invalid-argument", `invalid MAC address ${text}`);
  }
  return mac;
}
