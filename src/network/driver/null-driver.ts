import { noAddresses, refuseAddresses } from "./_unplugged.ts";
import type { NetworkDriver } from "./driver.ts";

/** Makes the driver of `none`: a sandbox of its own, with nothing but loopback. */
export function createNullDriver(): NetworkDriver {
  return {
    name: "null",
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
