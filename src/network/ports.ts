/**
 * Published ports between the wire and the sandbox. Pure.
 */
import { isIP, isIPv6 } from "node:net";
import type { PortBinding, PortMap } from "../api/container-config.ts";
import { EngineError } from "../lib/errors.ts";
import type { InsidePlan, PublishedPort, PublishRequest } from "./network-service.ts";

/** Host ports that one container may ask for, ranges counted once. */
export const publishCountMax = 65_536;
const portMax = 65_535;

/** A port of a container. */
export interface ContainerPort {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
}

/** What `create` says about ports. */
export interface PortWishes {
  readonly portBindings: PortMap | null | undefined;
  /** Keys as `80/tcp` or `8000-8010/udp`. */
  readonly exposedPorts?: Readonly<Record<string, unknown>> | null | undefined;
  readonly publishAllPorts?: boolean;
}

/**
 * Reads a container's port as `80`, `80/tcp`, `53/UDP`.
 *
 * @throws invalid-argument with Docker's sentences
 */
export function parseContainerPort(text: string): ContainerPort {
  const range = parseContainerPorts(text);
  const [only] = range;
  if (only === undefined || range.length !== 1) throw invalidPort(text.split("/")[0] ?? "");
  return only;
}

/**
 * Reads ports of a container, a range such as `8000-8010/tcp` included.
 *
 * @throws invalid-argument with Docker's sentences
 */
export function parseContainerPorts(text: string): readonly ContainerPort[] {
  const slash = text.indexOf("/");
  const number = slash < 0 ? text : text.slice(0, slash);
  const protocol = protocolOf(slash < 0 ? "" : text.slice(slash + 1));
  const range = parseRange(number, { isZeroAllowed: false });
  const ports: ContainerPort[] = [];
  for (let port = range.first; port <= range.last; port += 1) ports.push({ protocol, port });
  return ports;
}

/**
 * Turns the wishes of `create` into requests, ordered by protocol and container port.
 *
 * A key of several container ports is spread over its host ports one by one. The same wish twice
 * is one wish.
 *
 * @throws invalid-argument for what cannot be read; conflict when two ports of this container want
 * the same host port
 */
export function parsePublishRequests(wishes: PortWishes): readonly PublishRequest[] {
  const requests: PublishRequest[] = [];
  const bound = new Set<string>();
  for (const [key, bindings] of Object.entries(wishes.portBindings ?? {})) {
    const ports = parseContainerPorts(key);
    for (const { protocol, port } of ports) bound.add(`${port}/${protocol}`);
    for (const binding of bindings ?? []) requests.push(...requestsOf(ports, binding));
  }
  if (wishes.publishAllPorts === true) {
    for (const key of Object.keys(wishes.exposedPorts ?? {})) {
      const unbound = parseContainerPorts(key).filter(
        ({ port, protocol }) => !bound.has(`${port}/${protocol}`),
      );
      requests.push(...requestsOf(unbound, { HostIp: "", HostPort: "" }));
    }
  }
  if (requests.length > publishCountMax) {
    throw new EngineError(
      "invalid-argument",
      `publish ${requests.length} ports: at most ${publishCountMax} for one container`,
    );
  }
  const unique = new Map(requests.map((request) => [JSON.stringify(request), request]));
  const sorted = [...unique.values()].sort(byContainerPort);
  refuseConflicts(sorted);
  return sorted;
}

/** What the sandbox is to bind: an empty host IP becomes both families, of one group. */
export function planPorts(requests: readonly PublishRequest[]): InsidePlan["ports"] {
  return requests.flatMap((request, group) => {
    const { protocol, hostPortFirst, hostPortLast, containerPort } = request;
    const hostIps = request.hostIp === "" ? ["0.0.0.0", "::"] : [request.hostIp];
    return hostIps.map((hostIp) => ({
      protocol,
      hostIp,
      hostPortFirst,
      hostPortLast,
      containerPort,
      group,
    }));
  });
}

/** Renders `NetworkSettings.Ports`: bound ports with their bindings, exposed ones with null. */
export function formatPorts(
  published: readonly PublishedPort[],
  exposed: readonly string[] = [],
): PortMap {
  const ports = new Map<string, PortBinding[] | null>();
  for (const key of exposed) {
    for (const { protocol, port } of parseContainerPorts(key)) {
      ports.set(`${port}/${protocol}`, null);
    }
  }
  for (const { protocol, hostIp, hostPort, containerPort } of published) {
    const key = `${containerPort}/${protocol}`;
    const bindings = ports.get(key) ?? [];
    bindings.push({ HostIp: hostIp, HostPort: String(hostPort) });
    ports.set(key, bindings);
  }
  return Object.fromEntries([...ports].sort(([one], [other]) => comparePortKeys(one, other)));
}

function requestsOf(
  ports: readonly ContainerPort[],
  binding: PortBinding,
): readonly PublishRequest[] {
  const hostIp = parseHostIp(binding.HostIp);
  const host = parseHostPort(binding.HostPort);
  const hostCount = host.last - host.first + 1;
  const isSpread = ports.length > 1 && host.first !== 0;
  if (isSpread && hostCount !== ports.length) {
    throw new EngineError(
      "invalid-argument",
      `Invalid ranges specified for container and host Ports: ${ports[0]?.port}-${ports.at(-1)?.port} and ${binding.HostPort}`,
    );
  }
  return ports.map(({ protocol, port }, index) => ({
    protocol,
    containerPort: port,
    hostIp,
    hostPortFirst: isSpread ? host.first + index : host.first,
    hostPortLast: isSpread ? host.first + index : host.last,
  }));
}

function protocolOf(text: string): "tcp" | "udp" {
  const protocol = text.toLowerCase();
  if (protocol === "" || protocol === "tcp") return "tcp";
  if (protocol === "udp") return "udp";
  if (protocol === "sctp") {
    throw new EngineError("not-implemented", "publishing sctp ports is not implemented");
  }
  throw new EngineError("invalid-argument", `invalid proto: ${text}`);
}

function parseHostPort(text: string | undefined): { first: number; last: number } {
  if (text === undefined || text === "") return { first: 0, last: 0 };
  return parseRange(text, { isZeroAllowed: true });
}

function parseHostIp(text: string | undefined): string {
  const ip = text ?? "";
  const bare = ip.startsWith("[") && ip.endsWith("]") ? ip.slice(1, -1) : ip;
  if (bare === "") return "";
  // A zone (`fe80::1%eth0`) names an interface, which no published port can.
  if (isIP(bare) === 0 || bare.includes("%")) {
    throw new EngineError("invalid-argument", `invalid IP address: ${ip}`);
  }
  if (!isIPv6(bare)) return bare;
  return new URL(`http://[${bare}]`).hostname.slice(1, -1);
}

function parseRange(
  text: string,
  options: { readonly isZeroAllowed: boolean },
): { first: number; last: number } {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) throw invalidPort(text);
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  if (last < first || last > portMax) throw invalidPort(text);
  if (first === 0 && (!options.isZeroAllowed || last !== 0)) throw invalidPort(text);
  return { first, last };
}

function invalidPort(text: string): EngineError {
  return new EngineError("invalid-argument", `invalid port specification: ${JSON.stringify(text)}`);
}

function refuseConflicts(requests: readonly PublishRequest[]): void {
  const taken = new Map<string, string[]>();
  for (const request of requests) {
    // A range is a choice: the sandbox takes one that is free.
    if (request.hostPortFirst === 0 || request.hostPortFirst !== request.hostPortLast) continue;
    const key = `${request.protocol}/${request.hostPortFirst}`;
    const hostIps = taken.get(key) ?? [];
    if (hostIps.some((hostIp) => isSameSocket(hostIp, request.hostIp))) {
      const hostIp = request.hostIp === "" ? "0.0.0.0" : request.hostIp;
      throw new EngineError(
        "conflict",
        `Bind for ${hostIp}:${request.hostPortFirst} failed: port is already allocated`,
      );
    }
    taken.set(key, [...hostIps, request.hostIp]);
  }
}

function isSameSocket(one: string, other: string): boolean {
  if (one === "" || other === "" || one === other) return true;
  if (isIPv6(one) !== isIPv6(other)) return false;
  return ["0.0.0.0", "::"].some((any) => one === any || other === any);
}

function byContainerPort(one: PublishRequest, other: PublishRequest): number {
  return (
    one.protocol.localeCompare(other.protocol) ||
    one.containerPort - other.containerPort ||
    one.hostIp.localeCompare(other.hostIp) ||
    one.hostPortFirst - other.hostPortFirst
  );
}

function comparePortKeys(one: string, other: string): number {
  return Number.parseInt(one, 10) - Number.parseInt(other, 10) || one.localeCompare(other);
}
