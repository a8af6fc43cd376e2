import { closeSync, openSync, renameSync, rmSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { EngineError } from "../lib/errors.ts";
import type { BodyStream } from "../client/exchange.ts";
import { writeBytes } from "./byte-sink.ts";
import { describeCode } from "./options/env.ts";
import type { Output } from "./output.ts";
import { copyOutput } from "./stream.ts";

/** Refuses to write an archive to a person. */
export function refuseTerminal(path: string, output: Output): void {
  if (path !== "" || !output.isTerminal) return;
  throw new EngineError(
    "invalid-argument",
    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
  );
}

/** Writes an answer to a file, which is there whole or not at all, or to standard output ("", "-"). */
export async function writeArchive(
  stream: BodyStream,
  target: { readonly path: string; readonly what: string },
): Promise<void> {
  const { path, what } = target;
  if (path === "" || path === "-") await copyOutput(stream.bytes(), { isFramed: false });
  else await writeFile(stream.bytes(), { path, what });
}

/** What a path must not be. Docker: in these words, seen in 28.5. */
const refusals: readonly (readonly [(stat: Stats) => boolean, string])[] = [
  [(stat) => stat.isDirectory(), "is a directory"],
  [(stat) => stat.isCharacterDevice(), "cannot write to a character device file"],
  [(stat) => stat.isBlockDevice(), "cannot write to a device file"],
  [(stat) => !stat.isFile(), "must be a regular file"],
];

/** Refuses an output path that is anything but a file, before the engine is asked. */
export function checkOutputPath(path: string, what: string): void {
  if (path === "" || path === "-") return;
  const stat = statSync(path, { throwIfNoEntry: false });
  const reason = stat === undefined ? undefined : refusals.find(([is]) => is(stat))?.[1];
  if (reason === undefined) return;
  throw new EngineError("invalid-argument", `failed to ${what}: ${reason}`);
}

/** Writes a file, which is there whole or not at all. @param options.what for sentences: "save image" */
export async function writeFile(
  source: AsyncIterable<Uint8Array>,
  { path, what }: { readonly path: string; readonly what: string },
): Promise<void> {
  const temporary = join(dirname(path), `.tmp-${basename(path)}${process.pid}`);
  let fd: number;
  try {
    fd = openSync(temporary, "wx", 0o600);
  } catch (error) {
    throw new EngineError(
      "invalid-argument",
      `failed to ${what}: invalid output path: open ${path}: ${describeCode(error)}`,
      { cause: error },
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
