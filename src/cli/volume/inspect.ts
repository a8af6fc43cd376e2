import { pathSegment } from "../../client/transport.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { inspectFormatFlag } from "../flag/flags.ts";
import { inspectAll } from "../inspect.ts";

/** Shows all that the engine knows of volumes. */
export const command: Command = {
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  operands: atLeast(1),
  flags: [inspectFormatFlag],
  completes: "volumes",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const transport = await invocation.engine();
  return inspectAll(invocation, (name) => transport.text(`GET /volumes/${pathSegment(name)}`));
}
