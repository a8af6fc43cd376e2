import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { parseIpv4, type Subnet, subnetOf } from "./cidr.ts";

/**
 * The blocks that this host has routes to or addresses in; the default route is no such block.
 *
 * @param exceptInterface is not looked at
 */
export function listHostSubnets(exceptInterface: string): readonly Subnet[] {
  const own = Object.entries(networkInterfaces())
    .filter(([name]) => name !== exceptInterface)
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ family }) => family === "IPv4")
    .map(({ address, cidr }) => {
      const prefixLength = Number(cidr?.split("/")[1] ?? "32");
      return subnetOf(parseIpv4(address), prefixLength);
    });
  return [...own, ...parseRoutes(readFileSync("/proc/net/route", "utf8"), exceptInterface)];
}

/** Reads the kernel's route table, whose addresses are little-endian hexadecimal. */
export function parseRoutes(table: string, exceptInterface: string): readonly Subnet[] {
  const subnets: Subnet[] = [];
  for (const line of table.split("\n").slice(1)) {
    const fields = line.split(/\s+/);
    const [name, destination = "", mask = ""] = [fields[0], fields[1], fields[7]];
    if (name === exceptInterface || !/^[\dA-F]{8}$/.test(destination)) continue;
    const bits = [...Number.parseInt(mask, 16).toString(2)].filter((bit) => bit === "1").length;
    if (bits > 0) subnets.push({ base: swapped(destination), prefixLength: bits });
  }
  return subnets;
}

function swapped(hex: string): number {
  return Buffer.from(hex, "hex").readUInt32LE(0);
}
