/**
 * Links, addresses and routes of the network namespace the object was made in, by rtnetlink.
 *
 * Every call is one exchange with the kernel, tens of microseconds, and synchronous. Failures have
 * `details.code` and, where the kernel tells it, its own words in parentheses.
 */
import { EngineError } from "../../lib/errors.ts";
import { bytesToIp, ipToBytes, parseCidr } from "./_ip.ts";
import { attributeText, parseAttributes, type Reply, RequestWriter } from "./_netlink-message.ts";
import { NetlinkSocket } from "./_netlink-socket.ts";
import { systemCode } from "../libc.ts";

// linux/rtnetlink.h
const message = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
} as const;
const flagAcknowledge = 1 | 4;
const flagDump = 1 | 0x300;
const flagCreate = flagAcknowledge | 0x200 | 0x400;
// linux/if_link.h
const link = { address: 1, name: 3, mtu: 4, master: 10, info: 18, namespacePid: 19 } as const;
const linkInfo = { kind: 1, data: 2 } as const;
const bridgePort = { info: 12, hairpin: 4 } as const;
const familyBridge = 7;
const vethPeer = 1;
const interfaceUp = 1;
// linux/if_addr.h
const addressAttribute = { address: 1, local: 2, broadcast: 4, flags: 8 } as const;
const addressNoDetection = 2;
const routeAttribute = { destination: 1, link: 4, gateway: 5, table: 15 } as const;
const mainTable = 254;
const protocolBoot = 3;
const scopeUniverse = 0;
const scopeLink = 253;
const typeUnicast = 1;
const familyIpv4 = 2;
const familyIpv6 = 10;
/** IFNAMSIZ without the end. */
const nameLengthMax = 15;

/** A network link. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `02:42:ac:11:00:02`; empty for a link without. */
  readonly mac: string;
  readonly mtu: number;
  readonly isUp: boolean;
  /** `bridge`, `veth`, …; empty for a device of the machine. */
  readonly kind: string;
  /** Index of the bridge it is a port of; 0 for none. */
  readonly master: number;
}

/** An address of a link. */
export interface LinkAddress {
  readonly index: number;
  readonly address: string;
  readonly prefix: number;
  readonly family: 4 | 6;
}

/** A route of the main table; without a destination the default one. */
export interface Route {
  readonly destination?: string;
  readonly gateway?: string;
  readonly index?: number;
  readonly family: 4 | 6;
}

/** What `addRoute` and `deleteRoute` take. */
export interface RouteOptions {
  /** CIDR; absent for the default route. */
  readonly destination?: string;
  readonly gateway?: string;
  readonly index?: number;
}

/** What `createVeth` takes. */
export interface VethOptions {
  readonly name: string;
  readonly peerName: string;
  /** The peer is made in the network namespace of this process, and is down. */
  readonly peerPid: number;
  readonly peerMac?: string;
  readonly mac?: string;
  /** Index of the bridge the host side becomes a port of. */
  readonly master: number;
  /** Of both sides. */
  readonly mtu?: number;
}

/** A connection to the kernel's routing tables; bound to the namespace it was opened in. */
export class Netlink implements Disposable {
  readonly #socket = new NetlinkSocket();

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  /** Makes a bridge, down. @returns its index */
  createBridge(
    name: string,
    options: { readonly mac?: string; readonly mtu?: number } = {},
  ): number {
    const request = new RequestWriter(message.newLink, flagCreate).raw(linkHeader());
    linkAttributes(request, { name, ...options });
    request.nested(link.info, (writer) => writer.text(linkInfo.kind, "bridge"));
    this.#socket.request(`create bridge ${name}`, request);
    return this.#indexOf(name);
  }

  /** Makes a pair: the host side up and in its bridge, the peer in its namespace at once. */
  createVeth(options: VethOptions): void {
    const { name, peerName, peerPid, peerMac, mac, master, mtu } = options;
    const size = mtu === undefined ? {} : { mtu };
    const request = new RequestWriter(message.newLink, flagCreate);
    request.raw(linkHeader({ flags: interfaceUp, change: interfaceUp }));
    linkAttributes(request, { name, ...size, ...(mac === undefined ? {} : { mac }) });
    request.number(link.master, master);
    request.nested(link.info, (info) => {
      info.text(linkInfo.kind, "veth");
      info.nested(linkInfo.data, (data) =>
        data.nested(vethPeer, (peer) => {
          peer.raw(linkHeader());
          const own = peerMac === undefined ? {} : { mac: peerMac };
          linkAttributes(peer, { name: peerName, ...size, ...own });
          peer.number(link.namespacePid, peerPid);
        }),
      );
    });
    this.#socket.request(`create veth ${name}`, request);
  }

  /** The link of a name; undefined when there is none. */
  linkByName(name: string): Link | undefined {
    const request = new RequestWriter(message.getLink, flagAcknowledge).raw(linkHeader());
    request.text(link.name, checkedName(name));
    try {
      const [reply] = this.#socket.request(`find link ${name}`, request);
      return reply === undefined ? undefined : parseLink(reply);
    } catch (error) {
      if (systemCode(error) === "ENODEV") return undefined;
      throw error;
    }
  }

  /** All links. */
  links(): Link[] {
    return this.#socket
      .dump("list links", () => new RequestWriter(message.getLink, flagDump).raw(linkHeader()))
      .filter((reply) => reply.type === message.newLink)
      .map(parseLink);
  }

  /** Switches a link on. */
  setUp(index: number): void {
    this.#changeLink(index, { what: "set up", flags: interfaceUp });
  }

  /** Switches a link off. */
  setDown(index: number): void {
    this.#changeLink(index, { what: "set down", flags: 0 });
  }

  /** Gives a link another name; it must be down on kernels before 6.2. */
  rename(index: number, name: string): void {
    this.#setLink(index, "rename", (request) => request.text(link.name, checkedName(name)));
  }

  /** Gives a link another hardware address. */
  setMac(index: number, mac: string): void {
    this.#setLink(index, "set MAC of", (request) => linkAttributes(request, { mac }));
  }

  /** Makes a link a port of a bridge; of none when `master` is 0. */
  setMaster(index: number, master: number): void {
    this.#setLink(index, "set master of", (request) => request.number(link.master, master));
  }

  /** Sets the largest packet of a link, in bytes. */
  setMtu(index: number, mtu: number): void {
    this.#setLink(index, "set MTU of", (request) => linkAttributes(request, { mtu }));
  }

  /** Lets a bridge send frames back out of the port they came in by. */
  setHairpin(index: number): void {
    const header = linkHeader({ index });
    header[0] = familyBridge;
    const request = new RequestWriter(message.setLink, flagAcknowledge).raw(header);
    request.nested(bridgePort.info, (port) => port.attribute(bridgePort.hairpin, Buffer.from([1])));
    this.#socket.request(`set hairpin of link ${index}`, request);
  }

  /** Removes a link, a veth with its peer. @returns false when there is none */
  deleteLink(index: number): boolean {
    const request = new RequestWriter(message.deleteLink, flagAcknowledge);
    try {
      this.#socket.request(`delete link ${index}`, request.raw(linkHeader({ index })));
      return true;
    } catch (error) {
      if (systemCode(error) === "ENODEV") return false;
      throw error;
    }
  }

  /** Gives a link an address in CIDR form. IPv6 ones are usable at once: no duplicate detection. */
  addAddress(index: number, cidr: string, options: { readonly broadcast?: string } = {}): void {
    const request = addressRequest(message.newAddress, index, cidr);
    if (options.broadcast !== undefined) {
      request.attribute(addressAttribute.broadcast, ipToBytes(options.broadcast));
    }
    this.#socket.request(`add address ${cidr}`, request);
  }

  /** Takes an address from a link; not-found or code EADDRNOTAVAIL when it has it not. */
  deleteAddress(index: number, cidr: string): void {
    const request = addressRequest(message.deleteAddress, index, cidr);
    this.#socket.request(`delete address ${cidr}`, request);
  }

  /** All addresses. */
  addresses(): LinkAddress[] {
    const request = (): RequestWriter =>
      new RequestWriter(message.getAddress, flagDump).raw(new Uint8Array(8));
    return this.#socket
      .dump("list addresses", request)
      .filter((reply) => reply.type === message.newAddress)
      .flatMap(parseAddress);
  }

  /** Adds a route to the main table. */
  addRoute(options: RouteOptions): void {
    const what = `add route ${options.destination ?? "default"}`;
    this.#socket.request(what, routeRequest(message.newRoute, flagCreate, options));
  }

  /** Removes a route from the main table. */
  deleteRoute(options: RouteOptions): void {
    const what = `delete route ${options.destination ?? "default"}`;
    this.#socket.request(what, routeRequest(message.deleteRoute, flagAcknowledge, options));
  }

  /** The unicast routes of the main table. */
  routes(): Route[] {
    const request = (): RequestWriter =>
      new RequestWriter(message.getRoute, flagDump).raw(new Uint8Array(12));
    return this.#socket
      .dump("list routes", request)
      .filter((reply) => reply.type === message.newRoute)
      .flatMap(parseRoute);
  }

  #indexOf(name: string): number {
    const found = this.linkByName(name);
    if (found !== undefined) return found.index;
    throw new EngineError("not-found", `find link ${name}: removed meanwhile`);
  }

  #changeLink(index: number, change: { readonly what: string; readonly flags: number }): void {
    const header = linkHeader({ index, flags: change.flags, change: interfaceUp });
    const request = new RequestWriter(message.setLink, flagAcknowledge).raw(header);
    this.#socket.request(`${change.what} link ${index}`, request);
  }

  #setLink(index: number, what: string, fill: (request: RequestWriter) => void): void {
    const request = new RequestWriter(message.setLink, flagAcknowledge).raw(linkHeader({ index }));
    fill(request);
    this.#socket.request(`${what} link ${index}`, request);
  }
}

/** `struct ifinfomsg`. */
function linkHeader(
  fields: { readonly index?: number; readonly flags?: number; readonly change?: number } = {},
): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(fields.index ?? 0, 4);
  header.writeUInt32LE(fields.flags ?? 0, 8);
  header.writeUInt32LE(fields.change ?? 0, 12);
  return header;
}

function linkAttributes(
  request: RequestWriter,
  fields: { readonly name?: string; readonly mac?: string; readonly mtu?: number },
): void {
  if (fields.name !== undefined) request.text(link.name, checkedName(fields.name));
  if (fields.mac !== undefined) request.attribute(link.address, macToBytes(fields.mac));
  if (fields.mtu !== undefined) request.number(link.mtu, fields.mtu);
}

function checkedName(name: string): string {
  const isName = Buffer.byteLength(name) <= nameLengthMax && /^[^\s/:\0]+$/.test(name);
  if (isName && name !== "." && name !== "..") return name;
  throw new EngineError("invalid-argument", `invalid link name ${JSON.stringify(name)}`);
}

function macToBytes(mac: string): Uint8Array {
  if (/^[\da-f]{2}([:-][\da-f]{2}){5}$/i.test(mac)) {
    return Uint8Array.from(mac.split(/[:-]/), (digits) => Number.parseInt(digits, 16));
  }
  throw new EngineError("invalid-argument", `invalid MAC address ${JSON.stringify(mac)}`);
}

function parseLink(reply: Reply): Link {
  const attributes = parseAttributes(reply.payload.subarray(16));
  const info = parseAttributes(attributes.get(link.info) ?? Buffer.alloc(0));
  return {
    index: reply.payload.readInt32LE(4),
    name: attributeText(attributes.get(link.name)) ?? "",
    mac:
      attributes
        .get(link.address)
        ?.toString("hex")
        .replace(/..(?=.)/g, "$&:") ?? "",
    mtu: attributes.get(link.mtu)?.readUInt32LE(0) ?? 0,
    isUp: (reply.payload.readUInt32LE(8) & interfaceUp) !== 0,
    kind: attributeText(info.get(linkInfo.kind)) ?? "",
    master: attributes.get(link.master)?.readUInt32LE(0) ?? 0,
  };
}

function addressRequest(type: number, index: number, cidr: string): RequestWriter {
  const { bytes, prefix } = parseCidr(cidr);
  const flags = type === message.newAddress ? flagCreate : flagAcknowledge;
  const header = Buffer.alloc(8);
  header[0] = bytes.length === 4 ? familyIpv4 : familyIpv6;
  header[1] = prefix;
  header.writeUInt32LE(index, 4);
  const request = new RequestWriter(type, flags).raw(header);
  request.attribute(addressAttribute.local, bytes).attribute(addressAttribute.address, bytes);
  if (bytes.length === 16) request.number(addressAttribute.flags, addressNoDetection);
  return request;
}

function parseAddress(reply: Reply): LinkAddress[] {
  const attributes = parseAttributes(reply.payload.subarray(8));
  const bytes = attributes.get(addressAttribute.local) ?? attributes.get(addressAttribute.address);
  if (bytes === undefined) return [];
  return [
    {
      index: reply.payload.readUInt32LE(4),
      address: bytesToIp(bytes),
      prefix: reply.payload[1] ?? 0,
      family: bytes.length === 4 ? 4 : 6,
    },
  ];
}

function routeRequest(type: number, flags: number, options: RouteOptions): RequestWriter {
  const destination =
    options.destination === undefined ? undefined : parseCidr(options.destination);
  const gateway = options.gateway === undefined ? undefined : ipToBytes(options.gateway);
  const isIpv6 = (destination?.bytes ?? gateway)?.length === 16;
  // struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags
  const header = Buffer.alloc(12);
  header[0] = isIpv6 ? familyIpv6 : familyIpv4;
  header[1] = destination?.prefix ?? 0;
  header[4] = mainTable;
  header[5] = protocolBoot;
  header[6] = gateway === undefined && !isIpv6 ? scopeLink : scopeUniverse;
  header[7] = typeUnicast;
  const request = new RequestWriter(type, flags).raw(header);
  if (destination !== undefined) {
    request.attribute(routeAttribute.destination, destination.bytes);
  }
  if (gateway !== undefined) request.attribute(routeAttribute.gateway, gateway);
  if (options.index !== undefined) request.number(routeAttribute.link, options.index);
  return request;
}

function parseRoute(reply: Reply): Route[] {
  const attributes = parseAttributes(reply.payload.subarray(12));
  const family = reply.payload[0];
  const table = attributes.get(routeAttribute.table)?.readUInt32LE(0) ?? reply.payload[4];
  if (table !== mainTable || reply.payload[7] !== typeUnicast) return [];
  if (family !== familyIpv4 && family !== familyIpv6) return [];
  const destination = attributes.get(routeAttribute.destination);
  const gateway = attributes.get(routeAttribute.gateway);
  const index = attributes.get(routeAttribute.link)?.readUInt32LE(0);
  return [
    {
      family: family === familyIpv4 ? 4 : 6,
      ...(destination === undefined
        ? {}
        : { destination: `${bytesToIp(destination)}/${reply.payload[1]}` }),
      ...(gateway === undefined ? {} : { gateway: bytesToIp(gateway) }),
      ...(index === undefined ? {} : { index }),
    },
  ];
}
