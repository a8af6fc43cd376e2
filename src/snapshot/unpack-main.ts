import { writeSync } from "node:fs";
import { setParentDeathSignal } from "../sys/process.ts";
import { applyLayer } from "./apply.ts";
import { requestLines } from "./_request-lines.ts";
import {
  decodeUnpackRequest,
  encodeUnpackFailure,
  encodeUnpackResult,
} from "./_unpack-protocol.ts";

/**
 * Runs the unpack helper: answers each request, a line of standard input, with one line of JSON: the
 * result or the failure. Ends with its input, and with its parent.
 *
 * @returns the exit code
 */
export async function unpackMain(_argv: readonly string[]): Promise<number> {
  setParentDeathSignal("SIGKILL");
  for (const line of requestLines()) {
    try {
      const layer = await applyLayer(decodeUnpackRequest(line));
      writeSync(1, `${encodeUnpackResult(layer)}\n`);
    } catch (error) {
      writeSync(1, `${encodeUnpackFailure(error)}\n`);
    }
  }
  return 0;
}
