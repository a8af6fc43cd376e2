import { closeSync, openSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { codeOf, EngineError } from "../lib/errors.ts";
import type { BodyStream } from "../client/exchange.ts";
import { type Output, writeBytes } from "./output.ts";
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

async function writeFile(
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
      `failed to ${what}: invalid output path: open ${path}: ${codeOf(error)}`,
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
