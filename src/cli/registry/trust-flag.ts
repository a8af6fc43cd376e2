/** The flag of Docker's first image signatures, whose servers are gone. */
import type { FlagDefinition } from "../../lib/flags.ts";
import { switchFlag } from "../flag/flags.ts";

/** `--disable-content-trust`: taken for scripts that give it; there is nothing to disable. */
export function trustFlag(help: string): FlagDefinition {
  return switchFlag("disable-content-trust", `${help} (default true)`, { isHidden: true });
}
