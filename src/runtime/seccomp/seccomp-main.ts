/** `tug seccomp`: reads a filter as JSON, writes its program in base64. A helper of the daemon. */
import { readFileSync } from "node:fs";
import { messageOf } from "../../lib/errors.ts";
import type { RuntimeSeccomp } from "../../oci/runtime-spec.ts";
import { compileSeccomp } from "./seccomp-program.ts";

/** Runs the helper; its caller is the daemon, which made the filter. */
export function seccompMain(): number {
  try {
    const filter = JSON.parse(readFileSync(0, "utf8")) as RuntimeSeccomp;
    process.stdout.write(`${Buffer.from(compileSeccomp(filter)).toString("base64")}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    return 1;
  }
}
