import { EngineError } from "../../lib/errors.ts";
import { systemCode } from "../../sys/libc.ts";
import type { Netlink } from "../../sys/net/netlink.ts";
import { formatIpv4, type Subnet, sizeOf } from "../cidr.ts";
import { quietBridge } from "./_bridge-sysctl.ts";
import { macOf } from "./_mac.ts";

/** How a bridge is to be. */
export interface BridgeShape {
  readonly name: string;
  readonly mtu: number;
  readonly subnet: Subnet;
  readonly gateway: number;
  /** Taken away from a bridge that still has it. */
  readonly formerAddress?: string | undefined;
}

/**
 * Makes the bridge, or what is missing of it; one that is as it should be costs two questions.
 *
 * @returns its index
 * @throws conflict when the name belongs to a link that is no bridge
 */
export function ensureBridge(netlink: Netlink, shape: BridgeShape): number {
  const link = netlink.linkByName(shape.name);
  if (link === undefined) return createBridge(netlink, shape);
  if (link.kind !== "bridge") {
    throw new EngineError("conflict", `use bridge ${shape.name}: that link is no bridge`, {
      details: { kind: link.kind },
    });
  }
  const held = netlink.addresses().filter(({ index }) => index === link.index);
  const cidrs = held.map(({ address, prefix }) => `${address}/${prefix}`);
  if (!cidrs.includes(cidrOf(shape))) {
    if (shape.formerAddress !== undefined && cidrs.includes(shape.formerAddress)) {
      netlink.deleteAddress(link.index, shape.formerAddress);
    }
    netlink.addAddress(link.index, cidrOf(shape), { broadcast: broadcastOf(shape) });
    quietBridge(shape.name);
  }
  if (link.mtu !== shape.mtu) netlink.setMtu(link.index, shape.mtu);
  if (!link.isUp) netlink.setUp(link.index);
  return link.index;
}

function createBridge(netlink: Netlink, shape: BridgeShape): number {
  // With an address of its own the bridge does not take those of its ports, which come and go.
  const options = { mac: macOf(formatIpv4(shape.gateway)), mtu: shape.mtu };
  const index = createOrExplain(netlink, shape.name, options);
  quietBridge(shape.name);
  netlink.addAddress(index, cidrOf(shape), { broadcast: broadcastOf(shape) });
  netlink.setUp(index);
  return index;
}

function createOrExplain(
  netlink: Netlink,
  name: string,
  options: { readonly mac: string; readonly mtu: number },
): number {
  try {
    return netlink.createBridge(name, options);
  } catch (error) {
    if (systemCode(error) !== "EOPNOTSUPP") throw error;
    throw new EngineError("unavailable", `create bridge ${name}: this kernel has no bridges`, {
      cause: error,
    });
  }
}

function cidrOf(shape: BridgeShape): string {
  return `${formatIpv4(shape.gateway)}/${shape.subnet.prefixLength}`;
}

function broadcastOf(shape: BridgeShape): string {
  return formatIpv4(shape.subnet.base + sizeOf(shape.subnet) - 1);
}
