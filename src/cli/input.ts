/** Bytes that a command reads from a file. */
import { closeSync, openSync, readSync } from "node:fs";
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

function openInput(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    const code = codeOf(error);
    const reason = code === "ENOENT" ? "no such file or directory" : (code ?? "cannot be read");
    throw new EngineError("invalid-argument", `open ${path}: ${reason}`, { cause: error });
  }
}
