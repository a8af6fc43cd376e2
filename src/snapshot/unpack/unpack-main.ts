import { writeSync } from "node:fs";
import { newsMark } from "../../sys/process/helper-pool.ts";
import { setParentDeathSignal } from "../../sys/process/process.ts";
import { applyLayer } from "./apply.ts";
import { requestLines } from "../request-lines.ts";
import {
  decodeUnpackRequest,
  encodeUnpackFailure,
  encodeUnpackResult,
} from "./_unpack-protocol.ts";

/** Time between two lines that tell how far it is. */
const newsPeriodMs = 100;

/**
 * Runs the unpack helper: answers each request, a line of standard input, with one line of JSON: the
 * result or the failure; before it come lines that tell how much of the blob has been read. Ends with
 * its input, and with its parent.
 *
 * @returns the exit code
 */
export async function unpackMain(_argv: readonly string[]): Promise<number> {
  setParentDeathSignal("SIGKILL");
  for (const line of requestLines()) {
    try {
      const layer = await applyLayer(decodeUnpackRequest(line), { onRead: newsWriter() });
      writeSync(1, `${encodeUnpackResult(layer)}\n`);
    } catch (error) {
      writeSync(1, `${encodeUnpackFailure(error)}\n`);
    }
  }
  return 0;
}

function newsWriter(): (readBytes: number) => void {
  let toldMs = performance.now();
  return (readBytes) => {
    const nowMs = performance.now();
    if (nowMs - toldMs < newsPeriodMs) return;
    toldMs = nowMs;
    writeSync(1, `${newsMark}${readBytes}\n`);
  };
}
