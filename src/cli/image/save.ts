import { closeSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname, basename, join } from "node:path";
import { saveImages } from "../../client/images.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { textFlag } from "../flags.ts";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { writeBytes } from "../output.ts";
import { copyOutput } from "../stream.ts";
import { platformQuery } from "./platform.ts";

/** Writes images as a tar. */
export const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  operands: atLeast(1),
  flags: [
    textFlag("output", "Write to a file, instead of STDOUT", { short: "o" }),
    textFlag(
      "platform",
      'Save only the given platform variant. Formatted as "os[/arch[/variant]]"',
    ),
  ],
  completes: "images",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const path = flags.text("output");
  if (path === "" && output.isTerminal) {
    throw new EngineError(
      "invalid-argument",
      "cowardly refusing to save to a terminal. Use the -o flag or redirect",
    );
  }
  const stream = await saveImages(await engine(), operands, platformQuery(flags.text("platform")));
  await using _ = stream;
  if (path === "" || path === "-") await copyOutput(stream.bytes(), { isFramed: false });
  else await writeFile(path, stream.bytes());
  return 0;
}

/** The file is there whole or not at all. */
async function writeFile(path: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = join(dirname(path), `.tmp-${basename(path)}${process.pid}`);
  let fd: number;
  try {
    fd = openSync(temporary, "wx", 0o600);
  } catch (error) {
    throw new EngineError(
      "invalid-argument",
      `failed to save image: invalid output path: open ${path}: ${codeOf(error)}`,
      {
        cause: error,
      },
    );
  }
  try {
    for await (const chunk of source) await writeBytes(fd, chunk);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}
