/** Bytes of containers to this process's output. */
import { createMuxDecoder } from "../api/mux.ts";
import { EngineError } from "../lib/errors.ts";
import { ByteSink, sinkHighWaterBytes } from "./byte-sink.ts";

/** Longest message of the engine inside a stream that is kept. */
const messageMaxBytes = 64 * 1024;

/** Takes the bytes of a stream apart and writes them. */
export interface OutputCopier {
  /** Takes bytes. @returns a promise when the source has to wait */
  push(chunk: Uint8Array): Promise<void> | undefined;
  /** Waits until all is written. @throws the engine's message, when it sent one */
  end(): Promise<void>;
}

/**
 * Makes a copier to standard output and error.
 *
 * @param options.isFramed both streams come in one (api/mux.ts)
 */
export function openOutputCopier(options: { readonly isFramed: boolean }): OutputCopier {
  const sink = new ByteSink();
  const message: Uint8Array[] = [];
  let messageBytes = 0;
  const decoder = createMuxDecoder((stream, payload) => {
    if (stream !== "error") sink.push(stream === "stderr" ? 2 : 1, payload);
    else if (messageBytes < messageMaxBytes) {
      message.push(payload);
      messageBytes += payload.length;
    }
  });
  return {
    push(chunk) {
      if (options.isFramed) decoder.push(chunk);
      else sink.push(1, chunk);
      return sink.waitingBytes < sinkHighWaterBytes ? undefined : sink.drained();
    },
    async end() {
      await sink.drained();
      if (messageBytes > 0) {
        const text = Buffer.concat(message).toString().trim();
        throw new EngineError("internal", `error from daemon in stream: ${text}`);
      }
    },
  };
}

/** Copies a whole stream to standard output and error. */
export async function copyOutput(
  source: AsyncIterable<Uint8Array>,
  options: { readonly isFramed: boolean },
): Promise<void> {
  const copier = openOutputCopier(options);
  for await (const chunk of source) {
    const wait = copier.push(chunk);
    if (wait !== undefined) await wait;
  }
  await copier.end();
}
