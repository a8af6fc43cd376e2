/** How a question and its answer go over a unix socket, whatever connects there. */

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
