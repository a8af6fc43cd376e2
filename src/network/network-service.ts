/**
 * Networks, and the attachment of containers to them.
 *
 * Terms: a *network* is an L2/L3 domain; an *endpoint* is one container's attachment to one network;
 * a *sandbox* is the network namespace that endpoints are plugged into. The sandbox belongs to the
 * container's shim; this folder puts interfaces into it by pid and says what is to be done inside
 * (a plan), but never enters it.
 *
 * 1. `allocate` reserves addresses for a container about to start: no kernel call.
 * 2. `connect` makes the interfaces in the sandbox of a pid and returns the plan for its inside.
 * 3. `publish` tells the packet filter which host ports lead to the container, once they are bound.
 * 4. `disconnect` undoes all of it; harmless when parts never happened.
 *
 * Three networks exist always: `bridge`, `host`, `none`. Drivers live in `driver/`.
 */
import type { Network as NetworkSummary } from "../api/network.ts";

/** A container's wish to be on a network. */
export interface EndpointRequest {
  /** Name or ID of the network. */
  readonly network: string;
  readonly aliases?: readonly string[];
  readonly ipv4Address?: string;
  readonly ipv6Address?: string;
  readonly macAddress?: string;
}

/** One container's attachment to one network; stored with the container while it runs. */
export interface Endpoint {
  readonly networkId: string;
  readonly networkName: string;
  readonly endpointId: string;
  /** Empty strings where the network gives none (`host`, `none`). */
  readonly ipAddress: string;
  readonly ipPrefixLength: number;
  readonly gateway: string;
  readonly macAddress: string;
  /** Name of the interface inside, and of its other end on the host. */
  readonly interfaceName?: string;
  readonly hostInterfaceName?: string;
  readonly aliases: readonly string[];
}

/** A host port asked for. Ports as numbers; 0 and 0 mean any. */
export interface PublishRequest {
  readonly protocol: "tcp" | "udp";
  readonly containerPort: number;
  /** "" means all addresses: 0.0.0.0 and ::. */
  readonly hostIp: string;
  readonly hostPortFirst: number;
  readonly hostPortLast: number;
}

/** A host port bound by the sandbox. */
export interface PublishedPort {
  readonly protocol: "tcp" | "udp";
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** What is to be done inside the sandbox; same shape as the runtime's plan. */
export interface InsidePlan {
  readonly interfaces: readonly {
    readonly name: string;
    readonly addresses: readonly string[];
    readonly gateway?: string;
    readonly gateway6?: string;
  }[];
  readonly dns?: {
    readonly upstreams: readonly string[];
    readonly names: Readonly<Record<string, readonly string[]>>;
  };
  readonly ports: readonly {
    readonly protocol: "tcp" | "udp";
    readonly hostIp: string;
    readonly hostPortFirst: number;
    readonly hostPortLast: number;
    readonly containerPort: number;
    readonly group: number;
  }[];
}

/** Everything about a container that its attachment depends on. */
export interface AttachRequest {
  readonly containerId: string;
  readonly containerName: string;
  readonly hostname: string;
  readonly endpoint: EndpointRequest;
  readonly publish: readonly PublishRequest[];
  /** Explicit `--dns`; empty: the host's servers. */
  readonly dnsServers: readonly string[];
}

/** The networks of one daemon. */
export interface NetworkService extends AsyncDisposable {
  /** Reserves the endpoint's addresses. @throws not-found `network x not found`,
   * not-implemented for what is not there yet */
  allocate(request: AttachRequest): Promise<Endpoint>;
  /** Plugs the endpoint into the sandbox of `sandboxPid` and says what to do inside. */
  connect(
    endpoint: Endpoint,
    options: { readonly request: AttachRequest; readonly sandboxPid: number },
  ): Promise<InsidePlan>;
  /** Leads traffic for bound host ports to the endpoint. */
  publish(
    endpoint: Endpoint,
    options: { readonly containerId: string; readonly ports: readonly PublishedPort[] },
  ): Promise<void>;
  disconnect(endpoint: Endpoint, options: { readonly containerId: string }): Promise<void>;
  /** At start-up: the endpoints of containers that still run are held again, everything else that
   * an earlier daemon left (interfaces, filter elements) is removed. */
  recover(
    running: readonly {
      readonly containerId: string;
      /** For `inspect`. */
      readonly containerName?: string;
      readonly endpoint: Endpoint;
      readonly ports: readonly PublishedPort[];
    }[],
  ): Promise<void>;
  /** ID of a network by name or ID prefix. @throws not-found */
  find(nameOrId: string): { readonly id: string; readonly name: string; readonly driver: string };
  list(filters?: ReadonlyMap<string, readonly string[]>): readonly NetworkSummary[];
  inspect(nameOrId: string): NetworkSummary;
}
