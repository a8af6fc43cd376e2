/**
 * The text of a container's own /etc/hostname, /etc/hosts and /etc/resolv.conf.
 */
import { isIP } from "node:net";
import { EngineError } from "../../lib/errors.ts";

/** Where a container's own name server listens. */
export const embeddedDnsAddress = "127.0.0.11";

/** Used where the host has no name server that a container can reach. */
const fallbackServers: readonly string[] = ["8.8.8.8", "8.8.4.4"];

/** What /etc/hosts tells. */
export interface HostsInput {
  /** The container's own names at its addresses; none for a container without a network. */
  readonly own: readonly { readonly address: string; readonly names: readonly string[] }[];
  /** `--add-host`: `name:address` or `name=address`. */
  readonly extra: readonly string[];
  /** What `host-gateway` stands for. */
  readonly hostGateway?: string;
  readonly hasIpv6?: boolean;
}

/** What /etc/resolv.conf is made from. */
export interface ResolvConfInput {
  /** The text of the host's file; "" when it has none. */
  readonly hostText: string;
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
}

/** Servers, search domains and options of a resolv.conf. */
export interface ResolvConf {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** The text of /etc/hostname. */
export function formatHostname(hostname: string): string {
  return `${hostname}\n`;
}

/**
 * The text of /etc/hosts, with Docker's lines.
 *
 * @throws invalid-argument for an extra host that is none
 */
export function formatHosts(input: HostsInput): string {
  const lines = [
    "127.0.0.1\tlocalhost",
    input.hasIpv6 === false
      ? "::1\tip6-localhost ip6-loopback"
      : "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
    ...input.extra.map((entry) => {
      const { name, address } = parseExtraHost(entry, input.hostGateway);
      return `${address}\t${name}`;
    }),
    ...input.own.map(({ address, names }) => `${address}\t${names.join(" ")}`),
  ];
  return `${lines.join("\n")}\n`;
}

/**
 * Parses `name:address`; an IPv6 address may stand in brackets.
 *
 * @throws invalid-argument in Docker's words
 */
export function parseExtraHost(
  entry: string,
  hostGateway?: string,
): { readonly name: string; readonly address: string } {
  const match = /^([^\s:=]+)[:=](.+)$/.exec(entry);
  const [, name = "", given = ""] = match ?? [];
  if (match === null) throw invalid(`bad format for add-host: ${JSON.stringify(entry)}`);
  if (given === "host-gateway") {
    if (hostGateway === undefined) {
      throw invalid("unable to derive the IP value for host-gateway: this network has no gateway");
    }
    return { name, address: hostGateway };
  }
  const address = given.replace(/^\[(.*)\]$/, "$1");
  if (isIP(address) === 0) {
    throw invalid(`invalid IP address in add-host: ${JSON.stringify(given)}`);
  }
  return { name, address };
}

/** Reads a resolv.conf; what is no line of one is left out. @see man 5 resolv.conf */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  const options: string[] = [];
  let search: readonly string[] = [];
  for (const line of text.split("\n")) {
    const [keyword = "", ...words] = line
      .replace(/[#;].*$/, "")
      .trim()
      .split(/\s+/);
    const [first] = words;
    if (keyword === "nameserver" && first !== undefined && isIP(withoutZone(first)) !== 0) {
      servers.push(first);
    } else if (keyword === "search" || keyword === "domain") search = words;
    else if (keyword === "options") options.push(...words);
  }
  return { servers, search, options };
}

/**
 * The /etc/resolv.conf of a container whose names are served at 127.0.0.11; the servers it forwards
 * to are `upstreamServers`.
 */
export function formatEmbeddedResolvConf(input: ResolvConfInput): string {
  const merged = merge(input);
  const hasDots = merged.options.some((option) => option.startsWith("ndots:"));
  return format({
    servers: [embeddedDnsAddress],
    search: merged.search,
    options: hasDots ? merged.options : [...merged.options, "ndots:0"],
  });
}

/** The /etc/resolv.conf of a container that asks its servers itself, without loopback ones. */
export function formatResolvConf(input: ResolvConfInput): string {
  return format({ ...merge(input), servers: upstreamServers(input) });
}

/** The host's own file with what was asked: for a container in the host's network. */
export function formatHostResolvConf(input: ResolvConfInput): string {
  const isChanged = [input.dns, input.dnsSearch, input.dnsOptions].some((list) => list.length > 0);
  return isChanged ? format(merge(input)) : input.hostText;
}

/** The name servers that a container can reach: those asked for, else the host's that are not
 * bound to its loopback, else public ones. */
export function upstreamServers(input: ResolvConfInput): readonly string[] {
  if (input.dns.length > 0) return input.dns;
  const reachable = parseResolvConf(input.hostText).servers.filter((server) => !isLoopback(server));
  return reachable.length > 0 ? reachable : fallbackServers;
}

function merge(input: ResolvConfInput): ResolvConf {
  const host = parseResolvConf(input.hostText);
  // Docker: `--dns-search .` takes the host's search domains away, seen in 28.5
  const search = input.dnsSearch.length === 0 ? host.search : input.dnsSearch;
  return {
    servers: input.dns.length === 0 ? host.servers : input.dns,
    search: search.filter((domain) => domain !== "."),
    options: input.dnsOptions.length === 0 ? host.options : input.dnsOptions,
  };
}

function format(conf: ResolvConf): string {
  const lines = [
    ...conf.servers.map((server) => `nameserver ${server}`),
    ...(conf.search.length === 0 ? [] : [`search ${conf.search.join(" ")}`]),
    ...(conf.options.length === 0 ? [] : [`options ${conf.options.join(" ")}`]),
  ];
  for (const line of lines) {
    if (/[\r\n\0]/.test(line)) throw invalid(`resolv.conf: ${JSON.stringify(line)} is no line`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1" || address.startsWith("::ffff:127.");
}

function withoutZone(address: string): string {
  return address.replace(/%.*$/, "");
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
