import { readSync, writeSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import { setParentDeathSignal } from "../sys/process.ts";
import { applyLayer } from "./apply.ts";
import {
  decodeUnpackRequest,
  encodeUnpackFailure,
  encodeUnpackResult,
} from "./_unpack-protocol.ts";

/** Largest request; paths of all parents of a layer fit many times. */
const requestSizeMaxBytes = 4 * 1024 * 1024;

/**
 * Runs the unpack helper: reads one request from standard input, writes one line of JSON with the
 * result or the failure, and dies with its parent.
 *
 * @returns the exit code
 */
export async function unpackMain(_argv: readonly string[]): Promise<number> {
  setParentDeathSignal("SIGKILL");
  try {
    const layer = await applyLayer(decodeUnpackRequest(readInput()));
    writeSync(1, `${encodeUnpackResult(layer)}\n`);
    return 0;
  } catch (error) {
    writeSync(1, `${encodeUnpackFailure(error)}\n`);
    return 1;
  }
}

function readInput(): string {
  const chunks: Buffer[] = [];
  for (let sizeBytes = 0; sizeBytes <= requestSizeMaxBytes; ) {
    const chunk = Buffer.alloc(64 * 1024);
    const count = readSync(0, chunk, 0, chunk.length, null);
    if (count === 0) return Buffer.concat(chunks).toString();
    sizeBytes += count;
    chunks.push(chunk.subarray(0, count));
  }
  throw new EngineError("invalid-argument", "unpack layer: the request is too large");
}
