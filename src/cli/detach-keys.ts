/** Which keys leave a session. */
import type { Invocation } from "./command.ts";
import { readConfigFile } from "./environment.ts";

/** The keys of the flag, or of config.json; "" for the default ones. */
export async function detachKeysOf({
  flags,
  environment,
}: Pick<Invocation, "flags" | "environment">): Promise<string> {
  const given = flags.text("detach-keys");
  return given === "" ? ((await readConfigFile(environment)).detachKeys ?? "") : given;
}
