import type { LinkAddress, Route } from "../sys/net/netlink.ts";
import { parseCidr, parseIpv4, type Subnet, subnetOf } from "./cidr.ts";

/** What a host is connected to. */
export interface HostAddressing {
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly Route[];
}

/**
 * The IPv4 blocks that a host has addresses in or routes to; the default route is no such block.
 *
 * @param exceptIndex link that is not looked at
 */
export function listHostSubnets(
  host: HostAddressing,
  exceptIndex: number | undefined,
): readonly Subnet[] {
  const own = host.addresses
    .filter(({ family, index }) => family === 4 && index !== exceptIndex)
    .map(({ address, prefix }) => subnetOf(parseIpv4(address), prefix));
  const routed = host.routes.flatMap(({ family, destination, index }) => {
    if (family !== 4 || destination === undefined || index === exceptIndex) return [];
    const { subnet } = parseCidr(destination);
    return subnet.prefixLength === 0 ? [] : [subnet];
  });
  return [...own, ...routed];
}
