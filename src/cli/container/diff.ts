import type { FilesystemChange } from "../../api/container.ts";
import { listContainerChanges } from "../../client/containers.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { type Command, exactly, type Invocation } from "../command.ts";

/** Lists what a container has changed over its image. */
export const command: Command = {
  usage: "CONTAINER",
  operands: exactly(1),
  flags: [],
  completes: "containers",
  run,
};

const letters: Readonly<Record<FilesystemChange["Kind"], string>> = { 0: "C", 1: "A", 2: "D" };

async function run({ operands, output, engine }: Invocation): Promise<number> {
  const [container = ""] = operands;
  const changes = await listContainerChanges(await engine(), container);
  const shown = (path: string): string => (output.isTerminal ? escapeControls(path) : path);
  output.out((changes ?? []).map(({ Kind, Path }) => `${letters[Kind]} ${shown(Path)}\n`).join(""));
  return 0;
}
