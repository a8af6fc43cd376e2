import { topContainer } from "../../client/containers.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { alignCells } from "../format/table.ts";
import { escapeControls } from "../../lib/terminal-text.ts";

/** Lists the processes of a container. */
export const command: Command = {
  usage: "CONTAINER [ps OPTIONS]",
  operands: atLeast(1),
  flags: [],
  stopsAtOperand: true,
  completes: "running",
  run,
};

async function run({ operands, output, engine }: Invocation): Promise<number> {
  const [container = "", ...psArguments] = operands;
  const { Titles: titles, Processes: processes } = await topContainer(
    await engine(),
    container,
    psArguments.join(" "),
  );
  const rows = [titles, ...(processes ?? [])].map((row) =>
    row.map((cell) => escapeControls(cell)).join("\t"),
  );
  output.out(`${alignCells(rows.join("\n"), { minWidth: 20, padding: 3 })}\n`);
  return 0;
}
