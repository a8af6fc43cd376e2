/**
 * IPv4 addresses as numbers, and blocks of them. Pure.
 */
import { isIPv4 } from "node:net";
import { EngineError } from "../lib/errors.ts";

/** A block of addresses. */
export interface Subnet {
  /** The first address, whose host bits are zero. */
  readonly base: number;
  readonly prefixLength: number;
}

/** @throws invalid-argument unless `text` is four decimal octets */
export function parseIpv4(text: string): number {
  if (!isIPv4(text)) throw new EngineError("invalid-argument", `invalid IP address: ${text}`);
  return text.split(".").reduce((value, octet) => value * 256 + Number(octet), 0);
}

/** The four octets, as text. */
export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

/**
 * Reads `172.17.0.1/16` as an address within its block.
 *
 * @throws invalid-argument with the sentence of Go's net.ParseCIDR
 */
export function parseCidr(text: string): { readonly address: number; readonly subnet: Subnet } {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const [, ip = "", length = ""] = match ?? [];
  const prefixLength = Number(length);
  if (match === null || !isIPv4(ip) || prefixLength > 32) {
    throw new EngineError("invalid-argument", `invalid CIDR address: ${text}`);
  }
  const address = parseIpv4(ip);
  return { address, subnet: subnetOf(address, prefixLength) };
}

/** The block of that size which holds `address`. */
export function subnetOf(address: number, prefixLength: number): Subnet {
  const size = 2 ** (32 - prefixLength);
  return { base: address - (address % size), prefixLength };
}

/** As `172.17.0.0/16`. */
export function formatSubnet(subnet: Subnet): string {
  return `${formatIpv4(subnet.base)}/${subnet.prefixLength}`;
}

/** Count of all addresses, network and broadcast included. */
export function sizeOf(subnet: Subnet): number {
  return 2 ** (32 - subnet.prefixLength);
}

/** Whether `address` lies in the block. */
export function contains(subnet: Subnet, address: number): boolean {
  return address >= subnet.base && address < subnet.base + sizeOf(subnet);
}

/** Whether two blocks share an address. */
export function overlaps(one: Subnet, other: Subnet): boolean {
  return contains(one, other.base) || contains(other, one.base);
}
