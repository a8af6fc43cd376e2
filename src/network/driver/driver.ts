/**
 * What a kind of network does for its endpoints.
 *
 * A driver acts on the host alone: it makes interfaces in a sandbox by pid, and says by its
 * `InterfacePlan`s what the sandbox then does to itself. Drivers are asked for one endpoint at a
 * time; all of their undoing is harmless when parts never happened.
 */
import type { EndpointRequest, InsidePlan, PublishedPort } from "../network-service.ts";

/** What an endpoint is given. */
export interface EndpointAddresses {
  /** Empty where the network gives none. */
  readonly ipAddress: string;
  readonly ipPrefixLength: number;
  readonly gateway: string;
  readonly macAddress: string;
  readonly interfaceName?: string;
  readonly hostInterfaceName?: string;
}

/** An endpoint as its driver sees it. */
export interface DriverEndpoint extends EndpointAddresses {
  readonly endpointId: string;
}

/** Addresses of a network, as `inspect` shows them. */
export interface NetworkAddresses {
  readonly subnet: string;
  readonly gateway: string;
}

/** One network's driver. */
export interface NetworkDriver extends AsyncDisposable {
  /** Docker's word: `bridge`, `host`, `null`. */
  readonly name: string;
  readonly addresses: readonly NetworkAddresses[];
  /** As `inspect` shows them. */
  readonly options: Readonly<Record<string, string>>;
  /** Reserves; no kernel call. */
  allocate(endpointId: string, request: EndpointRequest): EndpointAddresses;
  /** Puts the endpoint's interfaces into the sandbox of a process. */
  connect(
    endpoint: DriverEndpoint,
    options: { readonly sandboxPid: number },
  ): Promise<InsidePlan["interfaces"]>;
  publish(endpoint: DriverEndpoint, ports: readonly PublishedPort[]): Promise<void>;
  /** Takes interfaces and ports away and gives the addresses back. */
  disconnect(endpoint: DriverEndpoint): Promise<void>;
  /** At start: holds what running endpoints have, and removes all else of this network. */
  recover(
    running: readonly {
      readonly endpoint: DriverEndpoint;
      readonly ports: readonly PublishedPort[];
    }[],
  ): Promise<void>;
}
