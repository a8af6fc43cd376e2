import { BlockList, isIP } from "node:net";

/** A block of addresses, or one address. */
export interface AddressBlock {
  readonly address: string;
  readonly prefixLength: number;
  readonly family: "ipv4" | "ipv6";
}

/** Reads `10.0.0.0/8`, `fd00::/8`, or an address; undefined for any other text. */
export function parseBlock(text: string): AddressBlock | undefined {
  const match = /^([^/]+?)(?:\/(\d{1,3}))?$/.exec(text);
  const address = match?.[1] ?? "";
  const version = isIP(address);
  if (version === 0 || address.includes("%")) return undefined;
  const bits = version === 4 ? 32 : 128;
  const prefixLength = match?.[2] === undefined ? bits : Number(match[2]);
  if (prefixLength > bits) return undefined;
  return { address, prefixLength, family: version === 4 ? "ipv4" : "ipv6" };
}

/** Whether `address` is an IP address in a block; false when either is no such thing. */
export function isInBlock(address: string, block: string): boolean {
  const parsed = parseBlock(block);
  const version = isIP(address);
  if (parsed === undefined || version === 0) return false;
  const list = new BlockList();
  list.addSubnet(parsed.address, parsed.prefixLength, parsed.family);
  return list.check(address, version === 4 ? "ipv4" : "ipv6");
}
