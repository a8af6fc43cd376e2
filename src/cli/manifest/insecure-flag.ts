/** `--insecure` of the manifest commands. */
import type { FlagDefinition } from "../../lib/flags.ts";
import { switchFlag } from "../flag/flags.ts";

/** Taken for scripts that give it: which registries may be spoken to in clear is the engine's to say. */
export const insecureFlag: FlagDefinition = switchFlag(
  "insecure",
  "Allow communication with an insecure registry (the engine's insecure-registries decide)",
);
