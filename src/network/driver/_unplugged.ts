import type { EndpointRequest } from "../network-service.ts";
import { EngineError } from "../../lib/errors.ts";
import type { EndpointAddresses, NetworkDriver } from "./driver.ts";

/** The endpoint of a network that has no addresses to give. */
const noAddresses: EndpointAddresses = {
  ipAddress: "",
  ipPrefixLength: 0,
  gateway: "",
  macAddress: "",
};

/** Refuses wishes that only a network with addresses can grant. */
function refuseAddresses(request: EndpointRequest): void {
  if (request.ipv4Address !== undefined || request.ipv6Address !== undefined) {
    throw new EngineError(
      "invalid-argument",
      "user specified IP address is supported on user defined networks only",
    );
  }
  if (request.macAddress !== undefined) {
    throw new EngineError(
      "invalid-argument",
      `conflicting options: mac-address and the network mode ${request.network}`,
    );
  }
}

/** A driver that plugs nothing into a sandbox: the work of `host` and `none` alike. */
export function createUnpluggedDriver(name: "host" | "null"): NetworkDriver {
  return {
    name,
    addresses: [],
    options: {},
    allocate: (_endpointId, request) => {
      refuseAddresses(request);
      return noAddresses;
    },
    connect: async () => [],
    publish: async () => undefined,
    disconnect: async () => undefined,
    recover: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}
