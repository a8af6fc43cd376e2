/** Handing a client of an attach connection over to the shim: the daemon's side. */
import { isKind } from "../lib/errors.ts";
import type { SocketTaker } from "../lib/socket-taker.ts";
import type { ShimConnection } from "./_shim-connection.ts";
import type { ClientTaken } from "./shim-protocol.ts";

let count = 0;

/** A name for an attach connection; no other daemon's is the same. */
export function createAttachKey(): string {
  count += 1;
  return `${process.pid}-${performance.timeOrigin}-${count}`;
}

/** The shim behind an attach connection, as the one who can take its client's socket. */
export function shimAsSocketTaker(control: ShimConnection, key: string): SocketTaker {
  /** A shim that is gone has dropped the client, and says so by the attach connection. */
  const tell = (request: Parameters<ShimConnection["request"]>[0]): void => {
    control.request(request).catch((error: unknown) => {
      if (!isKind(error)) throw error;
    });
  };
  return {
    async take(fd) {
      try {
        const request = { op: "takeClient", key, pid: process.pid, fd } as const;
        const { outputBytes } = (await control.request(request)) as ClientTaken;
        return {
          outputBytes,
          serve: (inputBytes) => tell({ op: "serveClient", key, inputBytes }),
          end: () => tell({ op: "endClient", key }),
        };
      } catch (error) {
        // An older shim does not know how; a kernel may not let it.
        if (isKind(error)) return undefined;
        throw error;
      }
    },
  };
}
