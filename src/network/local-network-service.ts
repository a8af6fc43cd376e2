import type { Network } from "../api/network.ts";
import type { EventBus } from "../event/event-bus.ts";
import { EngineError } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import type { Logger } from "../lib/log.ts";
import type { Metadata } from "../metadata/metadata.ts";
import { Netlink } from "../sys/net/netlink.ts";
import { openDefaultNetworks } from "./_default-networks.ts";
import { createNetworkFilter } from "./_network-filter.ts";
import type { NetworkRecord } from "./_network-record.ts";
import type { NetworkDriver } from "./driver/driver.ts";
import { Firewall } from "./firewall.ts";
import type {
  AttachRequest,
  Endpoint,
  InsidePlan,
  NetworkService,
  PublishedPort,
} from "./network-service.ts";
import { planPorts } from "./ports.ts";

/** What the networks of one daemon need. */
export interface NetworkServiceOptions {
  readonly metadata: Metadata;
  readonly events: EventBus;
  readonly logger: Logger;
  /** Device of the network `bridge`; `tug0` when absent. */
  readonly bridgeName?: string;
  /** Gateway and block of the network `bridge`, as `172.17.0.1/16`; chosen when absent. */
  readonly bip?: string;
  /** Of bridges and their endpoints, in bytes; 1500 when absent. */
  readonly mtu?: number;
  /** The engine's own nftables table; `tug` when absent. */
  readonly tableName?: string;
}

/** A network and what it does. */
export interface OpenNetwork {
  readonly record: NetworkRecord;
  readonly driver: NetworkDriver;
}

/**
 * Opens the networks of this host. Makes records where there are none, and nothing in the kernel.
 *
 * Addresses are chosen now: those of the last time while they overlap nothing else here.
 *
 * @throws invalid-argument when `bip`, `bridgeName` or `mtu` cannot be
 */
export function openNetworkService(options: NetworkServiceOptions): NetworkService {
  return new LocalNetworkService(options);
}

interface HeldEndpoint {
  readonly endpoint: Endpoint;
  readonly containerId: string;
  readonly containerName: string;
  isConnected: boolean;
}

class LocalNetworkService implements NetworkService {
  readonly #options: NetworkServiceOptions;
  readonly #netlink: Netlink;
  readonly #firewall: Firewall;
  readonly #networks: readonly OpenNetwork[];
  readonly #held = new Map<string, HeldEndpoint>();

  constructor(options: NetworkServiceOptions) {
    const { logger, tableName } = options;
    this.#options = options;
    this.#netlink = new Netlink();
    this.#firewall = new Firewall({ table: tableName ?? "tug", logger });
    try {
      const parts = { netlink: this.#netlink, firewall: this.#firewall };
      this.#networks = openDefaultNetworks(options, parts);
    } catch (error) {
      this.#netlink[Symbol.dispose]();
      throw error;
    }
  }

  async allocate(request: AttachRequest): Promise<Endpoint> {
    const { record, driver } = this.#get(request.endpoint.network);
    const aliases = request.endpoint.aliases ?? [];
    if (aliases.length > 0) {
      throw new EngineError(
        "invalid-argument",
        "network-scoped alias is supported only for containers in user defined networks",
      );
    }
    const endpointId = createId();
    const endpoint: Endpoint = {
      networkId: record.id,
      networkName: record.name,
      endpointId,
      ...driver.allocate(endpointId, request.endpoint),
      aliases,
    };
    const { containerId, containerName } = request;
    this.#held.set(endpointId, { endpoint, containerId, containerName, isConnected: false });
    return endpoint;
  }

  async connect(
    endpoint: Endpoint,
    options: { readonly request: AttachRequest; readonly sandboxPid: number },
  ): Promise<InsidePlan> {
    const { record, driver } = this.#get(endpoint.networkId);
    const { request, sandboxPid } = options;
    const interfaces = await driver.connect(endpoint, { sandboxPid });
    const held = this.#held.get(endpoint.endpointId);
    if (held !== undefined) held.isConnected = true;
    this.#tell("connect", { record, containerId: request.containerId });
    if (interfaces.length === 0) return { interfaces, ports: [] };
    return {
      interfaces,
      dns: { upstreams: request.dnsServers, names: {} },
      ports: planPorts(request.publish),
    };
  }

  async publish(
    endpoint: Endpoint,
    options: { readonly containerId: string; readonly ports: readonly PublishedPort[] },
  ): Promise<void> {
    await this.#get(endpoint.networkId).driver.publish(endpoint, options.ports);
  }

  async disconnect(endpoint: Endpoint, options: { readonly containerId: string }): Promise<void> {
    const held = this.#held.get(endpoint.endpointId);
    // Each endpoint is given back once: its address may belong to another one by now.
    if (held === undefined) return;
    this.#held.delete(endpoint.endpointId);
    const { record, driver } = this.#get(endpoint.networkId);
    await driver.disconnect(endpoint);
    if (held.isConnected) {
      this.#tell("disconnect", { record, containerId: options.containerId });
    }
  }

  async recover(running: Parameters<NetworkService["recover"]>[0]): Promise<void> {
    for (const { endpoint, containerId, containerName } of running) {
      const held = { endpoint, containerId, containerName: containerName ?? "", isConnected: true };
      this.#held.set(endpoint.endpointId, held);
    }
    for (const { record, driver } of this.#networks) {
      await driver.recover(running.filter(({ endpoint }) => endpoint.networkId === record.id));
    }
  }

  find(nameOrId: string): { readonly id: string; readonly name: string; readonly driver: string } {
    const { record } = this.#get(nameOrId);
    return { id: record.id, name: record.name, driver: record.driver };
  }

  list(filters: ReadonlyMap<string, readonly string[]> = new Map()): readonly Network[] {
    const passes = createNetworkFilter(filters);
    return this.#networks
      .map((network) => this.#summary(network))
      .filter(passes)
      .map((network) => ({ ...network, Containers: {} }));
  }

  inspect(nameOrId: string): Network {
    return this.#summary(this.#get(nameOrId));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { driver } of this.#networks) await driver[Symbol.asyncDispose]();
    await this.#firewall.close();
    this.#netlink[Symbol.dispose]();
  }

  #get(nameOrId: string): OpenNetwork {
    const named = nameOrId === "default" ? "bridge" : nameOrId;
    const whole = this.#networks.find(({ record }) => record.id === named || record.name === named);
    if (whole !== undefined) return whole;
    const [match, ...others] = this.#networks.filter(({ record }) => record.id.startsWith(named));
    if (match === undefined || named === "") {
      throw new EngineError("not-found", `network ${nameOrId} not found`);
    }
    if (others.length > 0) {
      throw new EngineError(
        "invalid-argument",
        `network ${nameOrId} is ambiguous (${others.length + 1} matches found based on ID prefix)`,
      );
    }
    return match;
  }

  #tell(
    action: "connect" | "disconnect",
    about: { readonly record: NetworkRecord; readonly containerId: string },
  ): void {
    const { id, name, driver } = about.record;
    const attributes = { container: about.containerId, name, type: driver };
    this.#options.events.publish({ type: "network", action, id, attributes });
  }

  #summary({ record, driver }: OpenNetwork): Network {
    const held = [...this.#held.values()].filter(
      ({ endpoint, isConnected }) => isConnected && endpoint.networkId === record.id,
    );
    const config = driver.addresses.map(({ subnet, gateway }) => ({
      Subnet: subnet,
      Gateway: gateway,
    }));
    return {
      Name: record.name,
      Id: record.id,
      Created: record.created,
      Scope: "local",
      Driver: record.driver,
      EnableIPv4: true,
      EnableIPv6: false,
      IPAM: { Driver: "default", Options: null, Config: config.length === 0 ? null : config },
      Internal: false,
      Attachable: false,
      Ingress: false,
      ConfigFrom: { Network: "" },
      ConfigOnly: false,
      Containers: Object.fromEntries(held.map((one) => [one.containerId, containerOf(one)])),
      Options: driver.options,
      Labels: {},
    };
  }
}

function containerOf(held: HeldEndpoint): Network["Containers"][string] {
  const { endpointId, macAddress, ipAddress, ipPrefixLength } = held.endpoint;
  return {
    Name: held.containerName,
    EndpointID: endpointId,
    MacAddress: macAddress,
    IPv4Address: ipAddress === "" ? "" : `${ipAddress}/${ipPrefixLength}`,
    IPv6Address: "",
  };
}
