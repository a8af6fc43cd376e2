/**
 * A connection to a unix socket, for a question and its answer.
 *
 * It reads as fast as bytes come: for streams that must hold their sender up there are sockets of
 * node:net, which take longer to load than such a question takes in all.
 */

import type { UnixConnection, UnixConnectionEvents } from "../../lib/unix-connection.ts";

/** Connects. @throws the system's error: ENOENT, ECONNREFUSED, EACCES */
export async function connectUnix(
  path: string,
  events: UnixConnectionEvents,
): Promise<UnixConnection> {
  let waiting: Uint8Array = new Uint8Array(0);
  let isClosed = false;
  const close = (error?: Error): void => {
    if (isClosed) return;
    isClosed = true;
    events.onClose(error);
  };
  const socket = await Bun.connect({
    unix: path,
    socket: {
      data: (_, chunk) => {
        if (!isClosed) events.onData(chunk);
      },
      drain: () => {
        pump();
      },
      end: () => {
        close();
      },
      close: (_, error) => {
        close(error);
      },
      error: (_, error) => {
        close(error);
      },
    },
  });
  function pump(): void {
    if (waiting.length === 0) return;
    const sentBytes = socket.write(waiting);
    if (sentBytes > 0) waiting = waiting.subarray(sentBytes);
  }
  return {
    send: (bytes) => {
      waiting = waiting.length === 0 ? bytes : Buffer.concat([waiting, bytes]);
      pump();
    },
    close: () => {
      close();
      socket.terminate();
    },
  };
}
