import { createHash } from "node:crypto";
import { isIPv4 } from "node:net";
import { EngineError, messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { systemCode } from "../../sys/libc.ts";
import type { Netlink } from "../../sys/net/netlink.ts";
import { formatIpv4, formatSubnet, type Subnet } from "../cidr.ts";
import type { FilteredPort, Firewall } from "../firewall.ts";
import { AddressPool } from "../ipam.ts";
import type { EndpointRequest, InsidePlan, PublishedPort } from "../network-service.ts";
import { ensureBridge } from "./_bridge-link.ts";
import { enableForwarding, quietHostSide } from "./_bridge-sysctl.ts";
import { macOf, parseMac } from "./_mac.ts";
import type { DriverEndpoint, EndpointAddresses, NetworkDriver } from "./driver.ts";

/** Name of the interface inside. */
const insideName = "eth0";
/** Names of host sides: `tug` and digits of the endpoint's ID, as long as the kernel takes. */
const hostNamePattern = /^tug[0-9a-f]{12}$/;

/**
 * How long a pair is left alone after its endpoint was given back. Removing one blocks the whole
 * process for some 15 ms, and the kernel does it by itself, many at once, when sandboxes end: within
 * a second where they end one after the other.
 */
const removalDelayMs = 2000;

/** What a bridge network needs. */
export interface BridgeDriverOptions {
  readonly network: { readonly id: string; readonly name: string };
  readonly bridgeName: string;
  readonly subnet: Subnet;
  readonly gateway: number;
  /** Of the bridge and its endpoints, in bytes. */
  readonly mtu: number;
  /** Address in CIDR form that the bridge had under an earlier configuration. */
  readonly formerAddress?: string;
  /** This host forwards only because the engine turned it on. */
  readonly isForwardingOurs: boolean;
  /** Told when the engine turns it on. */
  readonly onForwardingEnabled: () => void;
  readonly netlink: Netlink;
  readonly firewall: Firewall;
  readonly logger: Logger;
}

/**
 * Makes the driver of a bridge network: a bridge on the host, a veth pair for each endpoint, and the
 * packet filter around it. Nothing is made before the first endpoint is connected.
 */
export function createBridgeDriver(options: BridgeDriverOptions): NetworkDriver {
  return new BridgeDriver(options);
}

class BridgeDriver implements NetworkDriver {
  readonly name = "bridge";
  readonly #options: BridgeDriverOptions;
  readonly #pool: AddressPool;
  readonly #gateway: string;
  #isForwardingOurs: boolean;
  #installing: Promise<void> | undefined;
  /** IDs of endpoints whose address was taken from the pool. */
  readonly #holders = new Set<string>();
  readonly #doomed = new Set<string>();
  #removalTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: BridgeDriverOptions) {
    const { subnet, gateway, network } = options;
    this.#options = options;
    this.#gateway = formatIpv4(gateway);
    this.#isForwardingOurs = options.isForwardingOurs;
    this.#pool = new AddressPool({ subnet, gateway, owner: `${network.name} (${network.id})` });
  }

  get addresses(): NetworkDriver["addresses"] {
    return [{ subnet: formatSubnet(this.#options.subnet), gateway: this.#gateway }];
  }

  get options(): NetworkDriver["options"] {
    return {
      "com.docker.network.bridge.default_bridge": "true",
      "com.docker.network.bridge.enable_icc": "true",
      "com.docker.network.bridge.enable_ip_masquerade": "true",
      "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
      "com.docker.network.bridge.name": this.#options.bridgeName,
      "com.docker.network.driver.mtu": String(this.#options.mtu),
    };
  }

  allocate(endpointId: string, request: EndpointRequest): EndpointAddresses {
    if (request.ipv4Address !== undefined || request.ipv6Address !== undefined) {
      throw new EngineError(
        "invalid-argument",
        `invalid config for network ${this.#options.network.name}: invalid endpoint settings:\n` +
          "* user specified IP address is supported on user defined networks only",
      );
    }
    const wantedMac = request.macAddress === undefined ? undefined : parseMac(request.macAddress);
    const ipAddress = this.#pool.allocate();
    this.#holders.add(endpointId);
    return {
      ipAddress,
      ipPrefixLength: this.#options.subnet.prefixLength,
      gateway: this.#gateway,
      macAddress: wantedMac ?? macOf(ipAddress),
      interfaceName: insideName,
      hostInterfaceName: hostNameOf(endpointId),
    };
  }

  async connect(
    endpoint: DriverEndpoint,
    options: { readonly sandboxPid: number },
  ): Promise<InsidePlan["interfaces"]> {
    const master = this.#ensureBridge();
    // The table goes up before the first container could be reached.
    await this.#ensureFilter();
    const veth = {
      name: endpoint.hostInterfaceName ?? hostNameOf(endpoint.endpointId),
      peerName: insideName,
      peerPid: options.sandboxPid,
      peerMac: endpoint.macAddress,
      master,
      mtu: this.#options.mtu,
    };
    try {
      this.#createVeth(veth);
    } catch (error) {
      if (systemCode(error) !== "EEXIST") throw error;
      // What an earlier attempt for this endpoint left, or an earlier endpoint of this sandbox.
      this.#removeLink(veth.name);
      this.#removeDoomed();
      this.#createVeth(veth);
    }
    quietHostSide(veth.name);
    return [
      {
        name: insideName,
        addresses: [`${endpoint.ipAddress}/${endpoint.ipPrefixLength}`],
        gateway: this.#gateway,
      },
    ];
  }

  /** @throws unavailable when the process whose sandbox it is has gone */
  #createVeth(veth: Parameters<Netlink["createVeth"]>[0]): void {
    try {
      this.#options.netlink.createVeth(veth);
    } catch (error) {
      if (systemCode(error) !== "ESRCH") throw error;
      throw new EngineError("unavailable", `create veth ${veth.name}: the sandbox is gone`, {
        cause: error,
      });
    }
  }

  async publish(endpoint: DriverEndpoint, ports: readonly PublishedPort[]): Promise<void> {
    const filtered = filteredPorts(endpoint, ports);
    if (filtered.length === 0) return;
    this.#enableHairpin(endpoint);
    await this.#ensureFilter();
    await this.#options.firewall.add(endpoint.endpointId, filtered);
  }

  async disconnect(endpoint: DriverEndpoint): Promise<void> {
    this.#removeSoon(endpoint.hostInterfaceName ?? hostNameOf(endpoint.endpointId));
    try {
      await this.#options.firewall.remove(endpoint.endpointId);
    } finally {
      if (this.#holders.delete(endpoint.endpointId)) this.#pool.release(endpoint.ipAddress);
    }
  }

  async recover(running: Parameters<NetworkDriver["recover"]>[0]): Promise<void> {
    const { netlink, bridgeName, firewall, logger } = this.#options;
    for (const { endpoint, ports } of running) {
      this.#hold(endpoint);
      firewall.hold(endpoint.endpointId, filteredPorts(endpoint, ports));
    }
    const bridge = netlink.linkByName(bridgeName);
    if (bridge === undefined && running.length === 0) return;
    try {
      const index = this.#ensureBridge();
      this.#removeStrays(index, new Set(running.map(({ endpoint }) => endpoint.hostInterfaceName)));
      await this.#ensureFilter();
    } catch (error) {
      // Containers run on, and what they need is tried again with the next endpoint.
      logger.error("bridge network is not as it should be", { network: bridgeName, error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#installing?.catch(() => undefined);
    clearTimeout(this.#removalTimer);
    this.#removeDoomed();
  }

  #ensureBridge(): number {
    const { netlink, bridgeName, mtu, subnet, gateway, formerAddress } = this.#options;
    return ensureBridge(netlink, { name: bridgeName, mtu, subnet, gateway, formerAddress });
  }

  async #ensureFilter(): Promise<void> {
    if (this.#options.firewall.isInstalled) return;
    this.#installing ??= this.#installFilter().finally(() => {
      this.#installing = undefined;
    });
    await this.#installing;
  }

  async #installFilter(): Promise<void> {
    const { firewall, bridgeName, subnet, logger } = this.#options;
    if (enableForwarding()) {
      logger.info("turned on IPv4 forwarding; only bridges of the engine are forwarded for");
      this.#isForwardingOurs = true;
      this.#options.onForwardingEnabled();
    }
    const isForwardingOurs = this.#isForwardingOurs;
    await firewall.install([{ name: bridgeName, subnet }], { isForwardingOurs });
  }

  #hold(endpoint: DriverEndpoint): void {
    try {
      this.#pool.reserve(endpoint.ipAddress);
      this.#holders.add(endpoint.endpointId);
    } catch (error) {
      // A container that began under another address block keeps its own.
      this.#options.logger.warn("address of a running container is not of its network", {
        address: endpoint.ipAddress,
        reason: messageOf(error),
      });
    }
  }

  #removeStrays(bridgeIndex: number, kept: ReadonlySet<string | undefined>): void {
    const { netlink, logger } = this.#options;
    for (const link of netlink.links()) {
      const isOurs = link.master === bridgeIndex && link.kind === "veth";
      if (!isOurs || !hostNamePattern.test(link.name) || kept.has(link.name)) continue;
      logger.info("removing an interface that no container has", { interface: link.name });
      netlink.deleteLink(link.index);
    }
  }

  /**
   * A container that asks for its own published port is answered through the port of the bridge it
   * asked by, where the kernel filters bridged traffic (br_netfilter).
   */
  #enableHairpin(endpoint: DriverEndpoint): void {
    const { netlink } = this.#options;
    const link = netlink.linkByName(endpoint.hostInterfaceName ?? hostNameOf(endpoint.endpointId));
    if (link !== undefined && link.master !== 0) netlink.setHairpin(link.index);
  }

  #removeSoon(name: string): void {
    this.#doomed.add(name);
    this.#removalTimer ??= setTimeout(() => this.#removeNext(), removalDelayMs);
    this.#removalTimer.unref();
  }

  /** One a turn, so that others get theirs in between. */
  #removeNext(): void {
    this.#removalTimer = undefined;
    const [name] = this.#doomed;
    if (name === undefined) return;
    this.#doomed.delete(name);
    try {
      this.#removeLink(name);
    } catch (error) {
      this.#options.logger.warn("an interface could not be removed", { interface: name, error });
    }
    if (this.#doomed.size === 0) return;
    this.#removalTimer = setTimeout(() => this.#removeNext(), 0);
    this.#removalTimer.unref();
  }

  #removeDoomed(): void {
    for (const name of this.#doomed) this.#removeLink(name);
    this.#doomed.clear();
  }

  #removeLink(name: string): void {
    const link = this.#options.netlink.linkByName(name);
    if (link?.kind === "veth") this.#options.netlink.deleteLink(link.index);
  }
}

function hostNameOf(endpointId: string): string {
  const digits = /^[0-9a-f]{12,}$/.test(endpointId)
    ? endpointId
    : createHash("sha256").update(endpointId).digest("hex");
  return `tug${digits.slice(0, 12)}`;
}

/** Of bound ports those that the IPv4 filter knows; IPv6 clients are served by the sandbox. */
function filteredPorts(
  endpoint: DriverEndpoint,
  ports: readonly PublishedPort[],
): readonly FilteredPort[] {
  // What stands in a rule is an address, whatever a stored record says.
  if (!isIPv4(endpoint.ipAddress)) return [];
  return ports
    .filter(({ hostIp }) => hostIp === "" || isIPv4(hostIp))
    .map(({ protocol, hostIp, hostPort, containerPort }) => ({
      protocol,
      hostIp: hostIp === "" ? "0.0.0.0" : hostIp,
      hostPort,
      containerIp: endpoint.ipAddress,
      containerPort,
    }));
}
