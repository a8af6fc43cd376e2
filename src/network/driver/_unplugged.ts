import type { EndpointRequest } from "../network-service.ts";
import { EngineError } from "../../lib/errors.ts";
import type { EndpointAddresses } from "./driver.ts";

/** The endpoint of a network that has no addresses to give. */
export const noAddresses: EndpointAddresses = {
  ipAddress: "",
  ipPrefixLength: 0,
  gateway: "",
  macAddress: "",
};

/** Refuses wishes that only a network with addresses can grant. */
export function refuseAddresses(request: EndpointRequest): void {
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
