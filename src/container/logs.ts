/**
 * What a container has said, from its log files.
 */
import { EngineError } from "../lib/errors.ts";
import { noLogStream } from "../lib/docker-messages.ts";
import { toReadableStream } from "../lib/stream-limit.ts";
import { type Context, logPath } from "./_context.ts";
import type { LogQuery } from "./container-service.ts";
import type { LiveContainer } from "./_live-container.ts";

/**
 * Reads the log; while `follow` is asked, as long as the container runs.
 *
 * @throws invalid-argument when neither stream is wanted, or when nothing is logged
 */
export async function openLogs(
  context: Context,
  container: LiveContainer,
  query: LogQuery,
): Promise<AsyncIterable<Uint8Array>> {
  if (!query.stdout && !query.stderr) throw noLogStream();
  const { record } = container;
  if (record.hostConfig.LogConfig.Type === "none") {
    throw new EngineError("not-implemented", "configured logging driver does not support reading");
  }
  const ended = new AbortController();
  const isAlive = container.isRunning || record.phase === "starting";
  const takeBack = isAlive ? container.on("exit", () => ended.abort()) : () => undefined;
  const { signal, follow, ...rest } = query;
  void rest;
  void signal;
  void follow;
  void takeBack;
  void logPath(context, record.id);
  throw new EngineError("not-implemented", "logs");
}

/** The same as a web stream. */
export async function openLogStream(
  context: Context,
  container: LiveContainer,
  query: LogQuery,
): Promise<ReadableStream<Uint8Array>> {
  return toReadableStream(await openLogs(context, container, query));
}
