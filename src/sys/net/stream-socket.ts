/**
 * Stream sockets at the lowest cost in memory: for shims, of which there is one a container.
 *
 * Nothing is buffered here: `write` says how much the kernel took, `drain` when it takes more.
 * Made while in another network namespace (`inNamespace`), a socket stays of that one.
 */
import { addressOf, keepAlive, lazyLibc } from "../libc.ts";

const libc = lazyLibc({ sendmsg: { args: ["i32", "ptr", "i32"], returns: "i64" } });
const messageDontWait = 0x40;
const messageNoSignal = 0x4000;

/** One connection. */
export interface StreamConnection {
  /** Writes what the kernel takes now. @returns bytes taken; 0 also when the peer is gone */
  write(bytes: Uint8Array): number;
  /** As `write`, of two pieces with one system call. */
  writeBoth(first: Uint8Array, second: Uint8Array): number;
  /** Stops `data` until `resume`. */
  pause(): void;
  resume(): void;
  /** Says that nothing more will be written; `data` goes on. */
  endWrite(): void;
  /** Closes; the kernel goes on giving the peer what was written. `close` follows. */
  finish(): void;
  /** Closes both directions, by a reset where the protocol has one; `close` follows. */
  close(): void;
}

/** What happens to a connection. `close` comes last, once, whatever the reason. */
export interface StreamHandlers {
  open?(connection: StreamConnection): void;
  /** The bytes are the callee's. */
  data(connection: StreamConnection, bytes: Uint8Array): void;
  drain?(connection: StreamConnection): void;
  /**
   * The peer takes nothing any more, as a write has shown. What it has sent may still come; `close`
   * waits for that, and while the connection is paused is not told at all.
   */
  gone?(connection: StreamConnection): void;
  /** The peer has half-closed. */
  end?(connection: StreamConnection): void;
  close?(connection: StreamConnection): void;
}

/** A listening socket. */
export interface StreamListener {
  close(): void;
}

/** Listens at `path` with mode 0600; `close` removes the file. */
export function listenUnixStream(path: string, handlers: StreamHandlers): StreamListener {
  const mask = process.umask(0o177);
  try {
    const listener = Bun.listen<StreamConnection>({
      unix: path,
      allowHalfOpen: true,
      socket: callbacksOf(handlers),
    });
    return { close: () => listener.stop() };
  } finally {
    process.umask(mask);
  }
}

/** Accepts on a listening TCP socket (`listenTcpFd`); takes the descriptor over. */
export function acceptStreams(fd: number, handlers: StreamHandlers): StreamListener {
  const options = { fd, allowHalfOpen: true, socket: callbacksOf(handlers) };
  // The typings know a host or a path only.
  const listener = Bun.listen<StreamConnection>(
    options as unknown as Bun.UnixSocketOptions<StreamConnection>,
  );
  return { close: () => listener.stop() };
}

/** Connects to an IP address. `close` of `handlers` follows a failure as well. */
export async function connectTcpStream(
  target: { readonly host: string; readonly port: number },
  handlers: StreamHandlers,
): Promise<StreamConnection | undefined> {
  try {
    const socket = await Bun.connect<StreamConnection>({
      hostname: target.host,
      port: target.port,
      allowHalfOpen: true,
      socket: callbacksOf(handlers),
    });
    return socket.data;
  } catch (error) {
    // Whoever connects is told by the missing connection; the reason is of no use to it.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/**
 * Takes a connected socket over, with its descriptor; `open` of `handlers` is called at once.
 *
 * @throws the runtime's error when it is no socket
 */
export async function adoptStream(fd: number, handlers: StreamHandlers): Promise<void> {
  const options = { fd, allowHalfOpen: true, socket: callbacksOf(handlers) };
  // The typings know a host or a path only.
  await Bun.connect<StreamConnection>(
    options as unknown as Bun.UnixSocketOptions<StreamConnection>,
  );
}

function callbacksOf(handlers: StreamHandlers): Bun.SocketHandler<StreamConnection> {
  return {
    open(socket) {
      socket.data = connectionOf(socket, handlers);
      handlers.open?.(socket.data);
    },
    data: (socket, bytes) => handlers.data(socket.data, bytes),
    drain: (socket) => handlers.drain?.(socket.data),
    end: (socket) => handlers.end?.(socket.data),
    close: (socket) => handlers.close?.(socket.data),
    error: (socket) => socket.data.close(),
    connectError: () => undefined,
  };
}

function connectionOf(
  socket: Bun.Socket<StreamConnection>,
  handlers: StreamHandlers,
): StreamConnection {
  const write = (bytes: Uint8Array): number => {
    const taken = socket.write(bytes);
    if (taken >= 0) return taken;
    // Not in the middle of what the writer does.
    queueMicrotask(() => handlers.gone?.(socket.data));
    return 0;
  };
  return {
    write,
    writeBoth: (first, second) => {
      const sent = sendBoth(socket, first, second);
      if (sent === first.length + second.length) return sent;
      // The runtime tells of room once it has met the want of it.
      const rest =
        sent < first.length
          ? Buffer.concat([first.subarray(sent), second])
          : second.subarray(sent - first.length);
      return sent + write(rest);
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    endWrite: () => socket.shutdown(),
    finish: () => void socket.end(),
    close: () => socket.terminate(),
  };
}

// struct iovec[2], and a struct msghdr that is nothing but them: those of a 64-bit Linux.
const pieces = new BigUint64Array(4);
const message = new BigUint64Array(7);

/** Past the runtime, which has no call for it and keeps nothing back itself. */
function sendBoth(
  socket: Bun.Socket<StreamConnection>,
  first: Uint8Array,
  second: Uint8Array,
): number {
  const fd: unknown = Reflect.get(socket, "fd");
  if (typeof fd !== "number" || fd < 0) return 0;
  pieces[0] = addressOf(first);
  pieces[1] = BigInt(first.length);
  pieces[2] = addressOf(second);
  pieces[3] = BigInt(second.length);
  message[2] = addressOf(new Uint8Array(pieces.buffer));
  message[3] = 2n;
  const flags = messageDontWait | messageNoSignal;
  const sent = Number(libc().sendmsg(fd, new Uint8Array(message.buffer), flags));
  keepAlive(first, second);
  // What went wrong is told by the write that follows.
  return Math.max(0, sent);
}
