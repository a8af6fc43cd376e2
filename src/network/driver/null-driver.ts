import { createUnpluggedDriver } from "./_unplugged.ts";
import type { NetworkDriver } from "./driver.ts";

/** Makes the driver of `none`: a sandbox of its own, with nothing but loopback. */
export function createNullDriver(): NetworkDriver {
  return createUnpluggedDriver("null");
}
