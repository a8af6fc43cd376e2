/**
 * Streams that can take the socket they are joined to, so that nobody needs to pass bytes on.
 */
import type { Duplex } from "node:stream";

/** What stands behind a stream and can serve a socket itself. */
export interface SocketTaker {
  /**
   * Has it take a descriptor of its own of a socket; its output is held back from now on.
   *
   * @returns undefined when it cannot: all is as before
   */
  take(fd: number): Promise<TakenSocket | undefined>;
}

/** A socket that was taken and is not served yet. */
export interface TakenSocket {
  /** How many bytes come by the stream in all, from its first on. */
  readonly outputBytes: number;
  /**
   * Has it serve the socket, which must be closed here by now. The stream says nothing more but that it
   * has ended, or, by a byte, that the socket's other side is gone; destroyed, it ends the socket too.
   *
   * @param inputBytes how many bytes were written to the stream in all
   */
  serve(inputBytes: number): void;
  /** Says that the end of the stream was seen: the socket is told it now. */
  end(): void;
}

const takers = new WeakMap<Duplex, () => SocketTaker | undefined>();

/** Notes what stands behind a stream; `find` is asked each time. */
export function setSocketTaker(stream: Duplex, find: () => SocketTaker | undefined): void {
  takers.set(stream, find);
}

/** What stands behind a stream and can take a socket; undefined when there is nothing. */
export function socketTakerOf(stream: Duplex): SocketTaker | undefined {
  return takers.get(stream)?.();
}
