/** `--network` and the flags about the endpoint. */
import type { EndpointSettings } from "../../api/network.ts";
import type { FlagReader } from "../flag/flag-reader.ts";
import { fault } from "./fault.ts";
import { splitPair } from "./key-values.ts";
import { splitCsv } from "./mount.ts";

/** Networks as a create request has them. */
export interface NetworkRequest {
  /** Of the first network. */
  readonly mode: string;
  readonly endpoints: Readonly<Record<string, EndpointSettings>>;
}

interface NetworkFlag {
  target: string;
  aliases: string[];
  driverOpts?: Record<string, string>;
  ipv4: string;
  ipv6: string;
  linkLocal: string[];
  macAddress: string;
  gwPriority: number;
  links: readonly string[];
}

/** Reads one `--network`: a name, or fields of CSV. */
export function parseNetwork(text: string): NetworkFlag {
  const flag = emptyFlag();
  if (!/[=,]/.test(text) || !/^[\w-]+=/.test(text)) return { ...flag, target: text };
  for (const field of splitCsv(text)) {
    const split = field.indexOf("=");
    if (split < 0 || split === field.length - 1)
      throw fault(`invalid key/value pair format in driver options`);
    takeField(flag, field.slice(0, split).trim().toLowerCase(), field.slice(split + 1).trim());
  }
  if (flag.target === "") throw fault("network name/id is not specified");
  return flag;
}

/** Joins all `--network` flags with those that are about the first network. */
export function networkRequest(flags: FlagReader): NetworkRequest {
  const networks = flags.readAll("network", parseNetwork).map((network) => ({ ...network }));
  if (networks.length === 0) networks.push({ ...emptyFlag(), target: "default" });
  const endpoints: Record<string, EndpointSettings> = {};
  for (const [at, network] of networks.entries()) {
    if (at === 0) applyFlags(network, flags);
    const mode = network.target;
    if (endpoints[mode] !== undefined)
      throw fault(`network ${JSON.stringify(mode)} is specified multiple times`);
    if (!isUserDefined(mode)) checkPredefined(network);
    if (networks.length > 1 && !isUserDefined(mode)) {
      throw fault(
        "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
      );
    }
    // Docker: a predefined network is named only with something to say of it, seen in 28.2.
    if (isUserDefined(mode) || mode === "default" || hasSettings(network)) {
      endpoints[mode] = settingsOf(network);
    }
  }
  return { mode: networks[0]?.target ?? "default", endpoints };
}

function applyFlags(network: NetworkFlag, flags: FlagReader): void {
  const aliases = flags.list("network-alias");
  const conflict = (name: string): never => {
    throw fault(
      `conflicting options: cannot specify both --${name} and per-network ${name.replace("network-", "")}`,
    );
  };
  if (aliases.length > 0 && network.aliases.length > 0) conflict("network-alias");
  network.aliases.push(...aliases);
  if (flags.text("ip") !== "") {
    if (network.ipv4 !== "")
      throw fault("conflicting options: cannot specify both --ip and per-network IPv4 address");
    network.ipv4 = flags.text("ip");
  }
  if (flags.text("ip6") !== "") {
    if (network.ipv6 !== "")
      throw fault("conflicting options: cannot specify both --ip6 and per-network IPv6 address");
    network.ipv6 = flags.text("ip6");
  }
  const mac = flags.text("mac-address");
  if (mac !== "") {
    if (network.macAddress !== "")
      throw fault(
        "conflicting options: cannot specify both --mac-address and per-network MAC address",
      );
    if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(mac))
      throw fault(`${mac} is not a valid mac address`);
    network.macAddress = mac;
  }
  network.linkLocal.push(...flags.list("link-local-ip"));
  network.links = flags.list("link");
}

function checkPredefined(network: NetworkFlag): void {
  if (network.aliases.length > 0) {
    throw fault("network-scoped aliases are only supported for user-defined networks");
  }
}

function hasSettings(network: NetworkFlag): boolean {
  const { ipv4, ipv6, linkLocal, macAddress, driverOpts, gwPriority } = network;
  const isAddressed = ipv4 !== "" || ipv6 !== "" || linkLocal.length > 0 || macAddress !== "";
  return isAddressed || driverOpts !== undefined || gwPriority !== 0;
}

function isUserDefined(mode: string): boolean {
  return !["default", "bridge", "host", "none"].includes(mode) && !mode.startsWith("container:");
}

function settingsOf(network: NetworkFlag): EndpointSettings {
  const { ipv4, ipv6, linkLocal } = network;
  const hasIpam = ipv4 !== "" || ipv6 !== "" || linkLocal.length > 0;
  const links = isUserDefined(network.target) ? network.links : [];
  return {
    IPAMConfig: hasIpam
      ? {
          ...(ipv4 === "" ? {} : { IPv4Address: ipv4 }),
          ...(ipv6 === "" ? {} : { IPv6Address: ipv6 }),
          ...(linkLocal.length === 0 ? {} : { LinkLocalIPs: linkLocal }),
        }
      : null,
    Links: links.length === 0 ? null : links,
    Aliases: network.aliases.length === 0 ? null : network.aliases,
    MacAddress: network.macAddress,
    DriverOpts: network.driverOpts ?? null,
    GwPriority: network.gwPriority,
    NetworkID: "",
    EndpointID: "",
    Gateway: "",
    IPAddress: "",
    IPPrefixLen: 0,
    IPv6Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}

function takeField(flag: NetworkFlag, key: string, value: string): void {
  switch (key) {
    case "name":
      flag.target = value;
      return;
    case "alias":
      flag.aliases.push(value);
      return;
    case "ip":
      flag.ipv4 = value;
      return;
    case "ip6":
      flag.ipv6 = value;
      return;
    case "link-local-ip":
      flag.linkLocal.push(value);
      return;
    case "mac-address":
      flag.macAddress = value;
      return;
    case "gw-priority":
      if (!/^[+-]?\d{1,10}$/.test(value)) {
        throw fault(`invalid gw-priority (${value}): invalid syntax`);
      }
      flag.gwPriority = Number(value);
      return;
    case "driver-opt": {
      const [name, option] = splitPair(value);
      if (name === "" || option === "")
        throw fault("invalid key value pair format in driver options");
      flag.driverOpts = {
        ...flag.driverOpts,
        [name.trim().toLowerCase()]: option.trim().toLowerCase(),
      };
      return;
    }
    default:
      throw fault(`invalid field key ${key}`);
  }
}

function emptyFlag(): NetworkFlag {
  return {
    target: "",
    aliases: [],
    ipv4: "",
    ipv6: "",
    linkLocal: [],
    macAddress: "",
    gwPriority: 0,
    links: [],
  };
}
