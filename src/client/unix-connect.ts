/**
 * How a question reaches a unix socket: whoever opens a transport may bring a way of its own, where its
 * runtime has a quicker one than node:net.
 */
import { createConnection } from "node:net";
import type { UnixConnect, UnixConnection } from "../lib/unix-connection.ts";

/** Connects by node:net. */
export const connectByNet: UnixConnect = async (path, events) => {
  const opened = Promise.withResolvers<UnixConnection>();
  let failure: Error | undefined;
  const socket = createConnection({ path });
  socket.on("connect", () => {
    opened.resolve({
      send: (bytes) => void socket.write(bytes),
      close: () => void socket.destroy(),
    });
  });
  socket.on("data", (chunk: Buffer) => events.onData(chunk));
  socket.on("end", () => void socket.destroy());
  socket.on("error", (error) => {
    failure = error;
    opened.reject(error);
  });
  socket.on("close", () => events.onClose(failure));
  return await opened.promise;
};
