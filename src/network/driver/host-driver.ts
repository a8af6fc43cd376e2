import { createUnpluggedDriver } from "./_unplugged.ts";
import type { NetworkDriver } from "./driver.ts";

/** Makes the driver of `host`: containers live in the namespace of the host itself. */
export function createHostDriver(): NetworkDriver {
  return createUnpluggedDriver("host");
}
