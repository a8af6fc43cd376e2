import { statSync } from "node:fs";
import { loadImages, progressOf } from "../../client/images.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { readFileChunks } from "../input.ts";
import { isInputTerminal, readStandardInput } from "../standard-input.ts";
import { EngineError } from "../../lib/errors.ts";
import { platformQuery } from "./platform.ts";
import { folderTar, isFolder } from "./_folder-tar.ts";
import { openBar, showProgress } from "./progress.ts";

/** Takes images out of a tar. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    textFlag("input", "Read from tar archive file or image layout folder, instead of STDIN", {
      short: "i",
    }),
    textFlag(
      "platform",
      'Load only the given platform variant. Formatted as "os[/arch[/variant]]"',
    ),
    switchFlag("quiet", "Suppress the load output", { short: "q" }),
  ],
  run,
};

async function run({ flags, output, engine }: Invocation): Promise<number> {
  const given = flags.text("input");
  const path = given === "-" ? "" : given;
  if (path === "" && isInputTerminal()) {
    throw new EngineError("invalid-argument", "requested load from stdin, but stdin is empty");
  }
  const isQuiet = flags.isOn("quiet") || !output.isTerminal;
  const bar = openBar(output, !isQuiet);
  const total = path === "" ? 0 : sizeOf(path);
  async function* source(): AsyncGenerator<Uint8Array> {
    let current = 0;
    for await (const chunk of openInput(path)) {
      current += chunk.length;
      bar.show("Sending", { current, total });
      yield chunk;
    }
    bar.clear();
  }
  await using stream = await loadImages(await engine(), source(), {
    quiet: isQuiet,
    ...platformQuery(flags.text("platform")),
  });
  bar.clear();
  await showProgress(progressOf(stream), { output, isQuiet });
  return 0;
}

/** A file, a folder that holds an image layout, or standard input. */
function openInput(path: string): AsyncGenerator<Uint8Array> {
  if (path === "") return readStandardInput();
  return isFolder(path) ? folderTar(path) : readFileChunks(path);
}

function sizeOf(path: string): number {
  if (isFolder(path)) return 0;
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
