import { EngineError } from "../lib/errors.ts";
import { run, selfExecutable } from "../sys/process.ts";
import { decodeUnpackResult, encodeUnpackRequest } from "./_unpack-protocol.ts";
import type { AppliedLayer, ApplyOptions } from "./apply.ts";

/** How to run the helper. */
export interface UnpackRun {
  /** Its abort kills the helper; `canceled` is thrown then. */
  readonly signal?: AbortSignal;
  /** The helper's argv; this program's `unpack` when absent. */
  readonly helper?: readonly string[];
}

/** An answer is one line; anything longer is not one. */
const answerSizeMaxBytes = 64 * 1024;

/**
 * Unpacks a layer in a helper process, so that the daemon goes on serving.
 *
 * After a failure the target holds part of the layer: the caller removes the snapshot.
 *
 * @throws what `applyLayer` throws; canceled; internal when the helper died
 */
export async function unpackLayer(
  options: ApplyOptions,
  how: UnpackRun = {},
): Promise<AppliedLayer> {
  const argv = how.helper ?? [...selfExecutable(), "unpack"];
  const ended = await run({
    argv,
    input: encodeUnpackRequest(options),
    outputSizeMaxBytes: answerSizeMaxBytes,
    ...(how.signal === undefined ? {} : { signal: how.signal }),
  });
  if (ended.stdout !== "") return decodeUnpackResult(ended.stdout);
  const end = ended.signalName ?? `exit code ${ended.exitCode}`;
  throw new EngineError("internal", `unpack layer: the helper ended with ${end}`, {
    details: { stderr: ended.stderr.slice(-2000) },
  });
}
