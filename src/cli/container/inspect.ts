import { pathSegment } from "../../client/transport.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { inspectFormatFlag, switchFlag } from "../flag/flags.ts";
import { inspectAll } from "../inspect.ts";

/** Shows all that the engine knows of containers. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  operands: atLeast(1),
  flags: [inspectFormatFlag, switchFlag("size", "Display total file sizes", { short: "s" })],
  completes: "containers",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const transport = await invocation.engine();
  return inspectAll(invocation, (name) =>
    transport.text(`GET /containers/${pathSegment(name)}/json`, {
      query: { size: invocation.flags.isOn("size") },
    }),
  );
}
