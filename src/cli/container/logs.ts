import { inspectContainer, readLogs } from "../../client/containers.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { copyOutput } from "../stream.ts";
import { engineTime } from "../times.ts";

/** Prints a container's log. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  operands: exactly(1),
  flags: [
    switchFlag("details", "Show extra details provided to logs"),
    switchFlag("follow", "Follow log output", { short: "f" }),
    textFlag(
      "since",
      'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
    textFlag("tail", "Number of lines to show from the end of the logs", {
      short: "n",
      fallback: "all",
    }),
    switchFlag("timestamps", "Show timestamps", { short: "t" }),
    textFlag(
      "until",
      'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
  ],
  completes: "containers",
  run,
};

async function run({ operands, flags, engine }: Invocation): Promise<number> {
  const [name = ""] = operands;
  const transport = await engine();
  const { Config: config, Id: id } = await inspectContainer(transport, name);
  await using stream = await readLogs(transport, id, {
    details: flags.isOn("details"),
    follow: flags.isOn("follow"),
    since: engineTime(flags.text("since")),
    until: engineTime(flags.text("until")),
    timestamps: flags.isOn("timestamps"),
    tail: flags.text("tail") === "" ? "all" : flags.text("tail"),
  });
  await copyOutput(stream.bytes(), { isFramed: !config.Tty });
  return 0;
}
