import { noAddresses, refuseAddresses } from "./_unplugged.ts";
import type { NetworkDriver } from "./driver.ts";

/** Makes the driver of `host`: containers live in the namespace of the host itself. */
export function createHostDriver(): NetworkDriver {
  return {
    name: "host",
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
