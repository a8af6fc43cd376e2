/** Decoders of the bodies about networks and endpoints. They check shape alone. */
import {
  type Decoder,
  decodeBody,
  flag,
  integer,
  list,
  map,
  omitEmpty,
  pointer,
  struct,
  text,
  textMap,
  texts,
} from "./decode.ts";
import type {
  EndpointIpamConfig,
  EndpointSettings,
  IpamConfig,
  NetworkConnectOptions,
  NetworkCreateOptions,
  NetworkDisconnectOptions,
  NetworkingConfig,
} from "../network.ts";

/** A container's wishes for one network; what the engine fills in is accepted and ignored. */
export const decodeEndpointSettings: Decoder<EndpointSettings> = struct<EndpointSettings>(
  {
    IPAMConfig: pointer(
      struct<EndpointIpamConfig>(
        {
          IPv4Address: omitEmpty(text()),
          IPv6Address: omitEmpty(text()),
          LinkLocalIPs: omitEmpty(texts),
        },
        "network.EndpointIPAMConfig",
      ),
    ),
    Links: texts,
    Aliases: texts,
    MacAddress: text(),
    DriverOpts: textMap,
    GwPriority: integer("int"),
    NetworkID: text(),
    EndpointID: text(),
    Gateway: text(),
    IPAddress: text(),
    IPPrefixLen: integer("int"),
    IPv6Gateway: text(),
    GlobalIPv6Address: text(),
    GlobalIPv6PrefixLen: integer("int"),
    DNSNames: texts,
  },
  "network.EndpointSettings",
);

/** The networks of a create request; a network given as null takes the defaults. */
export const decodeNetworkingConfig: Decoder<NetworkingConfig> = struct<NetworkingConfig>(
  { EndpointsConfig: map(decodeEndpointSettings, "map[string]*network.EndpointSettings") },
  "network.NetworkingConfig",
);

const decodeIpam = struct(
  {
    Driver: text(),
    Options: textMap,
    Config: list(
      struct<IpamConfig>(
        {
          Subnet: omitEmpty(text()),
          IPRange: omitEmpty(text()),
          Gateway: omitEmpty(text()),
          AuxiliaryAddresses: omitEmpty(textMap),
        },
        "network.IPAMConfig",
      ),
      "[]network.IPAMConfig",
    ),
  },
  "network.IPAM",
);

const networkCreate = struct<NetworkCreateOptions>(
  {
    Name: text(),
    CheckDuplicate: flag,
    Driver: text(),
    Scope: text(),
    EnableIPv4: pointer(flag),
    EnableIPv6: pointer(flag),
    IPAM: pointer(decodeIpam),
    Internal: flag,
    Attachable: flag,
    Ingress: flag,
    ConfigOnly: flag,
    ConfigFrom: pointer(struct({ Network: text() }, "network.ConfigReference")),
    Options: textMap,
    Labels: textMap,
  },
  "network.CreateRequest",
);

const networkConnect = struct<NetworkConnectOptions>(
  { Container: text(), EndpointConfig: pointer(decodeEndpointSettings) },
  "network.ConnectOptions",
);

const networkDisconnect = struct<NetworkDisconnectOptions>(
  { Container: text(), Force: flag },
  "network.DisconnectOptions",
);

/** Decodes the body of `POST /networks/create`. @see Engine API v1.51, NetworkCreate */
export function decodeNetworkCreate(bytes: Uint8Array): NetworkCreateOptions {
  return decodeBody(bytes, { goType: "network.CreateRequest", decoder: networkCreate });
}

/** Decodes the body of `POST /networks/{id}/connect`. @see Engine API v1.51, NetworkConnect */
export function decodeNetworkConnect(bytes: Uint8Array): NetworkConnectOptions {
  return decodeBody(bytes, { goType: "network.ConnectOptions", decoder: networkConnect });
}

/** Decodes the body of `POST /networks/{id}/disconnect`. @see Engine API v1.51, NetworkDisconnect */
export function decodeNetworkDisconnect(bytes: Uint8Array): NetworkDisconnectOptions {
  return decodeBody(bytes, { goType: "network.DisconnectOptions", decoder: networkDisconnect });
}
