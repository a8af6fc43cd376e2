import { EngineError } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import { formatTime, nowNs } from "../lib/time.ts";
import type { Table } from "../metadata/metadata.ts";
import type { Netlink } from "../sys/net/netlink.ts";
import { readSysctl } from "../sys/sysctl.ts";
import { listHostSubnets } from "./_host-subnets.ts";
import { type NetworkRecord, networkTable } from "./_network-record.ts";
import { formatIpv4, overlaps, parseCidr, type Subnet, sizeOf } from "./cidr.ts";
import { createBridgeDriver } from "./driver/bridge-driver.ts";
import { createHostDriver } from "./driver/host-driver.ts";
import { createNullDriver } from "./driver/null-driver.ts";
import type { Firewall } from "./firewall.ts";
import { chooseSubnet } from "./ipam.ts";
import type { NetworkServiceOptions, OpenNetwork } from "./local-network-service.ts";

const mtuDefault = 1500;
// RFC 791: what every link must carry; the largest of an Ethernet device in Linux.
const mtuMin = 68;
const mtuMax = 65_535;

/** The gateway of a bridge in its block. */
interface BridgeAddress {
  readonly gateway: number;
  readonly subnet: Subnet;
}

/** Opens the three networks that exist always, with the IDs and addresses of the last time. */
export function openDefaultNetworks(
  options: NetworkServiceOptions,
  parts: { readonly netlink: Netlink; readonly firewall: Firewall },
): readonly OpenNetwork[] {
  const table = options.metadata.table(networkTable);
  return [
    openBridge(table, options, parts),
    { record: ensureRecord(table, { name: "host", driver: "host" }), driver: createHostDriver() },
    { record: ensureRecord(table, { name: "none", driver: "null" }), driver: createNullDriver() },
  ];
}

function openBridge(
  table: Table<NetworkRecord>,
  options: NetworkServiceOptions,
  parts: { readonly netlink: Netlink; readonly firewall: Firewall },
): OpenNetwork {
  const bridgeName = checkedName(options.bridgeName ?? "tug0");
  const mtu = checkedMtu(options.mtu ?? mtuDefault);
  const known = ensureRecord(table, { name: "bridge", driver: "bridge" });
  const address =
    options.bip === undefined
      ? chooseAddress(parts.netlink, { bridgeName, last: known.bridgeAddress })
      : parseBip(options.bip);
  const bridgeAddress = formatAddress(address);
  if (bridgeAddress !== known.bridgeAddress) table.put(known.id, { ...known, bridgeAddress });
  const bootId = readSysctl("kernel/random/boot_id");
  const driver = createBridgeDriver({
    ...parts,
    ...address,
    network: { id: known.id, name: known.name },
    bridgeName,
    mtu,
    logger: options.logger,
    ...(known.bridgeAddress === undefined ? {} : { formerAddress: known.bridgeAddress }),
    isForwardingOurs: known.forwardingBootId === bootId,
    onForwardingEnabled: () => {
      table.put(known.id, { ...known, bridgeAddress, forwardingBootId: bootId });
    },
  });
  return { record: known, driver };
}

/** What the bridge has now, else had last, unless that is somebody else's by now; else another. */
function chooseAddress(
  netlink: Netlink,
  wish: { readonly bridgeName: string; readonly last: string | undefined },
): BridgeAddress {
  const index = netlink.linkByName(wish.bridgeName)?.index;
  const addresses = netlink.addresses();
  const last = wish.last === undefined ? undefined : parseAddress(wish.last);
  if (last !== undefined) {
    const isHeld = addresses.some(
      (held) => held.index === index && `${held.address}/${held.prefix}` === wish.last,
    );
    if (isHeld) return last;
  }
  const taken = listHostSubnets({ addresses, routes: netlink.routes() }, index);
  if (last !== undefined && !taken.some((other) => overlaps(other, last.subnet))) return last;
  const subnet = chooseSubnet(taken);
  return { subnet, gateway: subnet.base + 1 };
}

/**
 * Reads the option `bip`: the address of the bridge within its block.
 *
 * @throws invalid-argument unless it is an address for a host in a block with room for others
 */
export function parseBip(text: string): BridgeAddress {
  const address = parseAddress(text);
  const { subnet, gateway } = address;
  const isEdge = gateway === subnet.base || gateway === subnet.base + sizeOf(subnet) - 1;
  if (isEdge || subnet.prefixLength > 30 || subnet.prefixLength < 8) {
    throw new EngineError(
      "invalid-argument",
      `bip ${text}: wanted is a host's address in a block of /8 to /30`,
    );
  }
  return address;
}

function parseAddress(text: string): BridgeAddress {
  const { address, subnet } = parseCidr(text);
  return { gateway: address, subnet };
}

function formatAddress({ gateway, subnet }: BridgeAddress): string {
  return `${formatIpv4(gateway)}/${subnet.prefixLength}`;
}

function ensureRecord(
  table: Table<NetworkRecord>,
  wanted: { readonly name: string; readonly driver: string },
): NetworkRecord {
  const known = table.list().find(([, record]) => record.name === wanted.name);
  if (known !== undefined) return known[1];
  const record = { ...wanted, id: createId(), created: formatTime(nowNs()) };
  table.put(record.id, record);
  return record;
}

/** The name stands in rules of the packet filter. */
function checkedName(name: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,14}$/.test(name)) return name;
  throw new EngineError(
    "invalid-argument",
    `bridge name ${JSON.stringify(name)}: wanted are 1 to 15 letters, digits, ".", "_" or "-"`,
  );
}

function checkedMtu(mtu: number): number {
  if (Number.isInteger(mtu) && mtu >= mtuMin && mtu <= mtuMax) return mtu;
  throw new EngineError("invalid-argument", `mtu ${mtu}: wanted is ${mtuMin} to ${mtuMax}`);
}
