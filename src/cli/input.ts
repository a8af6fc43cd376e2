/** Bytes that a command reads: a file, or standard input. */
import { closeSync, openSync, readSync } from "node:fs";
import { isatty } from "node:tty";
import { codeOf, EngineError } from "../lib/errors.ts";

const chunkSizeBytes = 256 * 1024;

/** Reads a file in pieces. @throws invalid-argument when it cannot be opened */
export async function* readFileChunks(path: string): AsyncGenerator<Uint8Array> {
  const fd = openInput(path);
  try {
    for (;;) {
      const chunk = new Uint8Array(chunkSizeBytes);
      const count = readSync(fd, chunk);
      if (count === 0) return;
      yield chunk.subarray(0, count);
    }
  } finally {
    closeSync(fd);
  }
}

/** Standard input in pieces. */
export async function* readStandardInput(): AsyncGenerator<Uint8Array> {
  for await (const chunk of process.stdin) yield Buffer.from(chunk as Uint8Array);
}

/** Standard input is a terminal. */
export function isInputTerminal(): boolean {
  return isatty(0);
}

function openInput(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    const code = codeOf(error);
    const reason = code === "ENOENT" ? "no such file or directory" : (code ?? "cannot be read");
    throw new EngineError("invalid-argument", `open ${path}: ${reason}`, { cause: error });
  }
}
