/**
 * What a container has said, from its log files.
 */
import { noLogStream } from "../../lib/docker-messages.ts";
import { EngineError } from "../../lib/errors.ts";
import { toReadableStream } from "../../lib/stream-limit.ts";
import { readJsonLog } from "../../runtime/log/json-file-reader.ts";
import { type Context, logPath } from "../context.ts";
import type { LogQuery } from "../container-service.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { planLog } from "../configuration/log-config.ts";

/**
 * Reads the log; with `follow` as long as the container runs. Stdcopy frames, or raw bytes for a
 * container with a terminal.
 *
 * @throws invalid-argument when neither stream is wanted, not-implemented when nothing is logged
 */
export function readLogs(
  context: Context,
  container: LiveContainer,
  query: LogQuery,
): AsyncIterable<Uint8Array> {
  if (!query.stdout && !query.stderr) throw noLogStream();
  const { id, hostConfig, config } = container.record;
  const plan = planLog({
    config: hostConfig.LogConfig,
    defaults: context.defaults.logOptions,
    path: logPath(context, id),
    labels: {},
    env: [],
  });
  if (plan.driver === "none") {
    throw new EngineError("not-implemented", "configured logging driver does not support reading");
  }
  return readWhileAlive(container, query.signal, (signal, ended) =>
    readJsonLog({
      ...query,
      path: logPath(context, id),
      countMax: plan.countMax,
      frame: !config.Tty,
      signal,
      ended,
      onSkipped: (count) => context.logger.warn("damaged log records", { container: id, count }),
    }),
  );
}

type Read = (signal: AbortSignal, ended: AbortSignal) => AsyncIterable<Uint8Array>;

/** Ends a follower when the container ends: its log is complete before its end is told. */
async function* readWhileAlive(
  container: LiveContainer,
  signal: AbortSignal | undefined,
  read: Read,
): AsyncGenerator<Uint8Array> {
  const ended = new AbortController();
  const stopped = new AbortController();
  const isAlive = container.isRunning || container.record.phase === "starting";
  if (!isAlive) ended.abort();
  const takeBack = container.on("end", () => ended.abort());
  const onAbort = (): void => stopped.abort();
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) stopped.abort();
  try {
    yield* read(stopped.signal, ended.signal);
  } finally {
    takeBack();
    stopped.abort();
    signal?.removeEventListener("abort", onAbort);
  }
}

/** The same as a web stream. */
export function openLogStream(
  context: Context,
  container: LiveContainer,
  query: LogQuery,
): ReadableStream<Uint8Array> {
  return toReadableStream(readLogs(context, container, query));
}
