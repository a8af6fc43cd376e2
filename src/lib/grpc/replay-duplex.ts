import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/**
 * A connection that was taken from HTTP/1.1, for HTTP/2: gives what was read already, then the rest.
 *
 * Both directions hold back. Needed since HTTP/2 on the bare socket misses bytes and events that came
 * before it. The end of what comes is the end of all: HTTP/2 knows no half-closed connection. The
 * socket must be listened to in the same turn in which it was taken.
 */
export function replayDuplex(
  socket: Socket,
  options: { readonly early?: Uint8Array } = {},
): Duplex {
  const duplex = new Duplex({
    allowHalfOpen: true,
    read: () => {
      socket.resume();
    },
    write: (chunk: Uint8Array, _encoding, done) => {
      if (socket.destroyed) done();
      else socket.write(chunk, () => done());
    },
    // Many small frames, of windows above all, leave in one write.
    writev: (chunks, done) => {
      const bytes = chunks.map(({ chunk }) => chunk as Uint8Array);
      if (socket.destroyed) done();
      else socket.write(Buffer.concat(bytes), () => done());
    },
    final: (done) => {
      if (socket.destroyed) done();
      else socket.end(() => done());
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.on("data", (chunk: Buffer) => {
    if (!duplex.push(chunk)) socket.pause();
  });
  socket.on("end", () => duplex.push(null));
  duplex.once("end", () => duplex.destroy());
  socket.on("close", () => duplex.destroy());
  socket.on("error", () => duplex.destroy());
  duplex.on("error", () => undefined);
  const { early } = options;
  if (early !== undefined && early.length > 0) duplex.push(early);
  return duplex;
}
