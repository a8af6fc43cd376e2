/** Bytes that a command reads from a file. */
import { closeSync, openSync, readSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import { describeCode } from "./options/env.ts";

const chunkSizeBytes = 256 * 1024;

/** Reads a file in pieces. @throws invalid-argument when it cannot be opened */
export async function* readFileChunks(path: string): AsyncGenerator<Uint8Array> {
  const fd = openInput(path);
  try {
    for (;;) {
      const chunk = new Uint8Array(chunkSizeBytes);
      const count = readInput(fd, { chunk, path });
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
    throw new EngineError("invalid-argument", `open ${path}: ${describeCode(error)}`, {
      cause: error,
    });
  }
}

function readInput(
  fd: number,
  into: { readonly chunk: Uint8Array; readonly path: string },
): number {
  try {
    return readSync(fd, into.chunk);
  } catch (error) {
    throw new EngineError("invalid-argument", `read ${into.path}: ${describeCode(error)}`, {
      cause: error,
    });
  }
}
