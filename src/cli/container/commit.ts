import { commitContainer } from "../../client/containers.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { listFlag, switchFlag, textFlag } from "../flag/flags.ts";
import { parseReference } from "../../oci/reference.ts";

/** Makes an image of a container. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
  operands: between(1, 2),
  flags: [
    textFlag("author", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', {
      short: "a",
    }),
    listFlag("change", "Apply Dockerfile instruction to the created image", { short: "c" }),
    textFlag("message", "Commit message", { short: "m" }),
    switchFlag("pause", "Pause container during commit", { short: "p", fallback: "true" }),
  ],
  completes: "containers",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const [container = "", target = ""] = operands;
  const reference = target === "" ? undefined : parseReference(target);
  const tag = reference?.tag ?? "";
  const { Id: id } = await commitContainer(await engine(), {
    container,
    repo: tag === "" ? target : target.slice(0, -tag.length - 1),
    tag,
    comment: flags.text("message"),
    author: flags.text("author"),
    changes: flags.list("change"),
    pause: flags.isNotOff("pause"),
  });
  output.out(`${id}\n`);
  return 0;
}
