import { removeImage } from "../../client/images.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { listFlag, switchFlag } from "../flag/flags.ts";
import { EngineError } from "../../lib/errors.ts";
import { parsePlatform } from "./platform.ts";

/** Removes images. */
export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  operands: atLeast(1),
  flags: [
    switchFlag("force", "Force removal of the image", { short: "f" }),
    switchFlag("no-prune", "Do not delete untagged parents"),
    listFlag(
      "platform",
      'Remove only the given platform variant. Formatted as "os[/arch[/variant]]"',
      {
        placeholder: "strings",
      },
    ),
  ],
  completes: "images",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const transport = await engine();
  const force = flags.isOn("force");
  const platforms = flags
    .list("platform")
    .flatMap((value) => value.split(","))
    .map((value) => JSON.stringify(parsePlatform(value)));
  return forEachOperand(operands, {
    output,
    act: async (image) => {
      try {
        const removed = await removeImage(transport, image, {
          force,
          noprune: flags.isOn("no-prune"),
          ...(platforms.length === 0 ? {} : { platforms }),
        });
        const lines = removed.map(({ Deleted: deleted, Untagged: untagged }) =>
          deleted === undefined || deleted === ""
            ? `Untagged: ${untagged}\n`
            : `Deleted: ${deleted}\n`,
        );
        output.out(lines.join(""));
      } catch (error) {
        const isGone = error instanceof EngineError && error.kind === "not-found";
        if (!isGone || !force) throw error;
        output.err(`Error response from daemon: ${error.message}\n`);
      }
    },
  });
}
