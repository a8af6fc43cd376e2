import { pathSegment } from "../../client/transport.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { inspectFormatFlag, textFlag } from "../flag/flags.ts";
import { inspectAll } from "../inspect.ts";
import { platformQuery } from "./platform.ts";

/** Shows all that the engine knows of images. */
export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  operands: atLeast(1),
  flags: [
    inspectFormatFlag,
    textFlag("platform", "Inspect a specific platform of the multi-platform image"),
  ],
  completes: "images",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const transport = await invocation.engine();
  return inspectAll(invocation, (name) =>
    transport.text(`GET /images/${pathSegment(name)}/json`, {
      query: platformQuery(invocation.flags.text("platform")),
    }),
  );
}
