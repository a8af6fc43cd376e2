/**
 * A connection to a unix socket, for a question and its answer.
 *
 * It reads as fast as bytes come: for streams that must hold their sender up there are sockets of
 * node:net, which take longer to load than such a question takes in all.
 */

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
