/** Reads the changes of snapshots in helper processes, so that the daemon goes on serving. */
import { closeSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { type FdReader, makePipe, openFdReader } from "../../sys/fd-stream.ts";
import { run, selfExecutable } from "../../sys/process/process.ts";
import {
  decodeChange,
  type DiffOperation,
  encodeDiffMessage,
  failureOfEnd,
} from "./_diff-protocol.ts";
import type { Change, DiffRequest } from "./diff.ts";

/** How to run the helper. */
export interface DiffRun {
  /** Its abort kills the helper; the stream fails with `canceled` then. */
  readonly signal?: AbortSignal;
  /** The helper's argv; this program's when absent. */
  readonly helper?: readonly string[];
}

/** The argv that starts the diff helper. */
export function diffHelperCommand(): readonly string[] {
  return [...selfExecutable(), "layer-diff"];
}

/** Bytes that may wait for a slow reader, besides the pipe. */
const queueMaxBytes = 1024 * 1024;
/** Changes that are listed at most. */
const changesSizeMaxBytes = 512 * 1024 * 1024;

/**
 * Streams the changes of a snapshot (or all its files) as a tar. A slow reader makes the helper
 * wait; a reader that cancels ends it.
 *
 * @throws (the stream) what `writeDiff` throws; canceled; internal when the helper died
 */
export function openDiff(request: DiffRequest, how: DiffRun = {}): ReadableStream<Uint8Array> {
  const stop = new AbortController();
  let reader: FdReader | undefined;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const helper = startHelper({ operation: "tar", request }, { ...how, stop });
        const finish = async (): Promise<void> => {
          const failure = await helper.ended;
          if (failure === undefined) controller.close();
          else controller.error(failure);
        };
        reader = openFdReader(helper.output, {
          onData(chunk) {
            controller.enqueue(chunk);
            if ((controller.desiredSize ?? 0) <= 0) reader?.pause();
          },
          onEnd: () => void finish(),
        });
      },
      pull: () => reader?.resume(),
      cancel() {
        stop.abort();
        reader?.close();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: queueMaxBytes }),
  );
}

/** Lists the changes of a snapshot, sorted by path. @throws as the stream of `openDiff` */
export async function listChanges(
  request: DiffRequest,
  how: DiffRun = {},
): Promise<readonly Change[]> {
  const stop = new AbortController();
  const helper = startHelper({ operation: "list", request }, { ...how, stop });
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  const isWhole = await new Promise<boolean>((resolve) => {
    const reader = openFdReader(helper.output, {
      onData(chunk) {
        sizeBytes += chunk.length;
        chunks.push(chunk);
        if (sizeBytes <= changesSizeMaxBytes) return;
        reader.close();
        stop.abort();
        resolve(false);
      },
      onEnd: () => resolve(true),
    });
  });
  const failure = await helper.ended;
  if (!isWhole) throw new EngineError("unavailable", "list changes: there are too many");
  if (failure !== undefined) throw failure;
  const lines = Buffer.concat(chunks).toString().split("\n");
  return lines.filter((line) => line !== "").map(decodeChange);
}

interface Helper {
  /** The reading end of its output; the caller's to close. */
  readonly output: number;
  /** Resolves with what went wrong; never rejects. */
  readonly ended: Promise<unknown>;
}

function startHelper(
  message: { readonly operation: DiffOperation; readonly request: DiffRequest },
  how: DiffRun & { readonly stop: AbortController },
): Helper {
  const pipe = makePipe();
  const signals = how.signal === undefined ? [] : [how.signal];
  const ended = run({
    argv: how.helper ?? diffHelperCommand(),
    input: encodeDiffMessage(message),
    stdio: { stdout: pipe.write },
    signal: AbortSignal.any([how.stop.signal, ...signals]),
  }).then(
    (end) => (end.exitCode === 0 ? undefined : failureOfEnd(end)),
    (error: unknown) => error,
  );
  closeSync(pipe.write);
  return { output: pipe.read, ended };
}
