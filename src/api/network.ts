/**
 * Networks and endpoints on the wire.
 *
 * @see Engine API v1.51, tag Network
 */
import type { StringMap } from "./container-config.ts";

/** @see Engine API v1.51, EndpointIPAMConfig */
export interface EndpointIpamConfig {
  readonly IPv4Address?: string;
  readonly IPv6Address?: string;
  readonly LinkLocalIPs?: readonly string[];
}

/**
 * A container's place in one network: what was asked for, then what was given.
 *
 * @see Engine API v1.51, EndpointSettings
 */
export interface EndpointSettings {
  readonly IPAMConfig: EndpointIpamConfig | null;
  readonly Links: readonly string[] | null;
  readonly Aliases: readonly string[] | null;
  readonly MacAddress: string;
  readonly DriverOpts: StringMap | null;
  readonly GwPriority: number;
  readonly NetworkID: string;
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
  readonly DNSNames: readonly string[] | null;
}

/** @see Engine API v1.51, NetworkingConfig */
export interface NetworkingConfig {
  readonly EndpointsConfig: Readonly<Record<string, EndpointSettings>> | null;
}

/** @see Engine API v1.51, IPAMConfig */
export interface IpamConfig {
  readonly Subnet?: string;
  readonly IPRange?: string;
  readonly Gateway?: string;
  readonly AuxiliaryAddresses?: StringMap;
}

/** @see Engine API v1.51, IPAM */
export interface Ipam {
  readonly Driver: string;
  readonly Options: StringMap | null;
  readonly Config: readonly IpamConfig[] | null;
}

/** @see Engine API v1.51, ConfigReference */
export interface ConfigReference {
  readonly Network: string;
}

/** @see Engine API v1.51, NetworkContainer */
export interface NetworkContainer {
  readonly Name: string;
  readonly EndpointID: string;
  readonly MacAddress: string;
  readonly IPv4Address: string;
  readonly IPv6Address: string;
}

/** @see Engine API v1.51, Network */
export interface Network {
  readonly Name: string;
  readonly Id: string;
  readonly Created: string;
  readonly Scope: string;
  readonly Driver: string;
  readonly EnableIPv4: boolean;
  readonly EnableIPv6: boolean;
  readonly IPAM: Ipam;
  readonly Internal: boolean;
  readonly Attachable: boolean;
  readonly Ingress: boolean;
  readonly ConfigFrom: ConfigReference;
  readonly ConfigOnly: boolean;
  readonly Containers: Readonly<Record<string, NetworkContainer>>;
  readonly Options: StringMap | null;
  readonly Labels: StringMap | null;
}

/**
 * A decoded body of `POST /networks/create`.
 *
 * @see Engine API v1.51, NetworkCreate
 */
export interface NetworkCreateOptions {
  readonly Name: string;
  /** Older clients ask for it; names are always unique here. */
  readonly CheckDuplicate: boolean;
  readonly Driver: string;
  readonly Scope: string;
  /** null takes the engine's default. */
  readonly EnableIPv4: boolean | null;
  readonly EnableIPv6: boolean | null;
  readonly IPAM: Ipam | null;
  readonly Internal: boolean;
  readonly Attachable: boolean;
  readonly Ingress: boolean;
  readonly ConfigOnly: boolean;
  readonly ConfigFrom: ConfigReference | null;
  readonly Options: StringMap | null;
  readonly Labels: StringMap | null;
}

/** The same body as a client may send it. */
export type NetworkCreateRequest = Partial<NetworkCreateOptions>;

/** @see Engine API v1.51, NetworkCreateResponse */
export interface NetworkCreateResponse {
  readonly Id: string;
  readonly Warning: string;
}

/** @see Engine API v1.51, NetworkConnectRequest */
export interface NetworkConnectOptions {
  readonly Container: string;
  readonly EndpointConfig: EndpointSettings | null;
}

/** @see Engine API v1.51, NetworkDisconnectRequest */
export interface NetworkDisconnectOptions {
  readonly Container: string;
  readonly Force: boolean;
}

/** @see Engine API v1.51, NetworkPruneResponse */
export interface NetworkPruneResponse {
  readonly NetworksDeleted: readonly string[] | null;
}
