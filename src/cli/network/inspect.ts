import { pathSegment } from "../../client/transport.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { inspectFormatFlag, switchFlag } from "../flag/flags.ts";
import { inspectAll } from "../inspect.ts";

/** Shows all that the engine knows of networks. */
export const command: Command = {
  usage: "[OPTIONS] NETWORK [NETWORK...]",
  operands: atLeast(1),
  flags: [
    inspectFormatFlag,
    switchFlag("verbose", "Verbose output for diagnostics", { short: "v" }),
  ],
  completes: "networks",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const transport = await invocation.engine();
  return inspectAll(invocation, (name) =>
    transport.text(`GET /networks/${pathSegment(name)}`, {
      query: { verbose: invocation.flags.isOn("verbose") },
    }),
  );
}
