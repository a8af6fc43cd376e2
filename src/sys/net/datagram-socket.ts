/**
 * UDP sockets at the lowest cost in memory: for shims, of which there is one a container.
 *
 * Made while in another network namespace (`inNamespace`), a socket stays of that one.
 */
import { nodeFailure } from "../libc.ts";

/** A bound or connected UDP socket. */
export interface DatagramSocket {
  /** The own port. */
  readonly port: number;
  /** Sends to an address, or to the peer when connected. What the kernel refuses is lost. */
  send(bytes: Uint8Array, to?: DatagramPeer): void;
  close(): void;
}

/** Where a datagram comes from or goes to; `host` is an IP address. */
export interface DatagramPeer {
  readonly host: string;
  readonly port: number;
}

/** What happens to a socket. */
export interface DatagramHandlers {
  /** The bytes are the callee's. */
  onMessage(bytes: Uint8Array, from: DatagramPeer): void;
  /** The peer refused, or the like; the socket is as before. */
  onError?(): void;
}

/** Binds a UDP socket; port 0 lets the kernel choose. @throws conflict with code EADDRINUSE */
export async function bindDatagram(
  at: DatagramPeer,
  handlers: DatagramHandlers,
): Promise<DatagramSocket> {
  try {
    const socket = await Bun.udpSocket({
      hostname: at.host,
      port: at.port,
      socket: {
        data: (_, bytes, port, host) => handlers.onMessage(bytes, { host, port }),
        error: () => handlers.onError?.(),
      },
    });
    return {
      port: socket.port,
      send: (bytes, to) => {
        if (to !== undefined && !socket.closed)
          tolerate(() => socket.send(bytes, to.port, to.host));
      },
      close: () => socket.close(),
    };
  } catch (error) {
    throw nodeFailure(error, `bind ${at.host}:${at.port}`);
  }
}

/** Opens a UDP socket that hears from `peer` alone. */
export async function connectDatagram(
  peer: DatagramPeer,
  handlers: DatagramHandlers,
): Promise<DatagramSocket> {
  try {
    const socket = await Bun.udpSocket({
      connect: { hostname: peer.host, port: peer.port },
      socket: {
        data: (_, bytes, port, host) => handlers.onMessage(bytes, { host, port }),
        error: () => handlers.onError?.(),
      },
    });
    return {
      port: socket.port,
      send: (bytes) => {
        if (!socket.closed) tolerate(() => socket.send(bytes));
      },
      close: () => socket.close(),
    };
  } catch (error) {
    throw nodeFailure(error, `connect to ${peer.host}:${peer.port}`);
  }
}

/** A datagram may be lost; a refusal of the one before is told by the next call. */
function tolerate(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}
