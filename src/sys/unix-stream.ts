/**
 * Unix stream sockets at the lowest cost in memory: for shims, of which there is one a container.
 *
 * Nothing is buffered here: `write` says how much the kernel took, `drain` when it takes more.
 */

/** One connection. */
export interface UnixConnection {
  /** Writes what the kernel takes now. @returns bytes taken; 0 also when the peer is gone */
  write(bytes: Uint8Array): number;
  /** Stops `data` until `resume`. */
  pause(): void;
  resume(): void;
  /** Says that nothing more will be written; `data` goes on. */
  endWrite(): void;
  /** Closes both directions; `close` follows. */
  close(): void;
}

/** What happens to a connection. `close` comes last, once, whatever the reason. */
export interface UnixHandlers {
  open?(connection: UnixConnection): void;
  /** The bytes are the callee's. */
  data(connection: UnixConnection, bytes: Uint8Array): void;
  drain?(connection: UnixConnection): void;
  /** The peer has half-closed. */
  end?(connection: UnixConnection): void;
  close?(connection: UnixConnection): void;
}

/** Listens at `path` with mode 0600. */
export function listenUnixStream(path: string, handlers: UnixHandlers): { close(): void } {
  const mask = process.umask(0o177);
  try {
    const listener = Bun.listen<UnixConnection>({
      unix: path,
      allowHalfOpen: true,
      socket: {
        open(socket) {
          socket.data = connectionOf(socket);
          handlers.open?.(socket.data);
        },
        data: (socket, bytes) => handlers.data(socket.data, bytes),
        drain: (socket) => handlers.drain?.(socket.data),
        end: (socket) => handlers.end?.(socket.data),
        close: (socket) => handlers.close?.(socket.data),
        error: (socket) => socket.data.close(),
      },
    });
    return { close: () => listener.stop() };
  } finally {
    process.umask(mask);
  }
}

function connectionOf(socket: Bun.Socket<UnixConnection>): UnixConnection {
  return {
    write: (bytes) => Math.max(0, socket.write(bytes)),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    endWrite: () => void socket.shutdown(),
    close: () => void socket.terminate(),
  };
}
