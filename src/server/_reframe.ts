/** The output of a process, framed as the client asked for where that is not how the process has it. */
import { Duplex } from "node:stream";
import { createMuxDecoder, encodeMuxFrame } from "../api/mux.ts";

/**
 * Frames the output of a terminal as stdout, for a client that reads frames; or takes the frames off, for
 * one that reads what a terminal shows: of two outputs it gets stdout. Input passes as it is.
 *
 * The stream given belongs to the one returned from then on, and is destroyed with it.
 *
 * @param options.hasTty whether the process has a terminal, and so no frames
 */
export function reframe(stream: Duplex, options: { readonly hasTty: boolean }): Duplex {
  let hasEnded = false;
  const reframed = new Duplex({
    read: () => void stream.resume(),
    write: (chunk: Buffer, _encoding, done) => void stream.write(chunk, done),
    final: (done) => void stream.end(done),
    destroy: (error, done) => {
      stream.destroy();
      done(error);
    },
  });
  const push = (bytes: Uint8Array): void => {
    if (!reframed.push(bytes)) stream.pause();
  };
  const decoder = createMuxDecoder((from, payload) => {
    if (from === "stdout") push(payload);
  });
  stream.on("data", (chunk: Buffer) => {
    try {
      if (options.hasTty) push(encodeMuxFrame("stdout", chunk));
      else decoder.push(chunk);
    } catch (error) {
      reframed.destroy(error instanceof Error ? error : undefined);
    }
  });
  stream.on("end", () => {
    hasEnded = true;
    reframed.push(null);
  });
  stream.on("error", (error) => reframed.destroy(error));
  stream.on("close", () => {
    if (!hasEnded) reframed.destroy();
  });
  return reframed;
}
