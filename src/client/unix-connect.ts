/**
 * How a question reaches a unix socket: whoever opens a transport may bring a way of its own, where its
 * runtime has a quicker one than node:net.
 */
import { createConnection } from "node:net";

/** What becomes of a connection. Nothing is called after `onClose`. */
export interface UnixConnectionEvents {
  /** Bytes that came; they are the receiver's. */
  onData(chunk: Buffer): void;
  /** It has ended, in whatever way; `error` when it broke. */
  onClose(error?: Error): void;
}

/** An open connection. */
export interface UnixConnection {
  /** Sends bytes; what the kernel does not take at once follows when it does. */
  send(bytes: Uint8Array): void;
  /** Ends it at once, both ways. */
  close(): void;
}

/** Connects. @throws the system's error: ENOENT, ECONNREFUSED, EACCES */
export type UnixConnect = (path: string, events: UnixConnectionEvents) => Promise<UnixConnection>;

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
