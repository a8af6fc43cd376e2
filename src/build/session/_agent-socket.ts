/** A socket on this machine that leads to the client's ssh agent. */
import { chmodSync } from "node:fs";
import net from "node:net";
import { sessionKeys, sessionMethods } from "../../api/buildkit/session.ts";
import { isKind } from "../../lib/errors.ts";
import type { Session } from "./session-pool.ts";

/** Connections that a step may have open at once. */
const connectionCountMax = 32;

/** What listens; closing ends its connections. */
export interface AgentListener {
  close(): void;
}

/** Listens at `path`; each connection is one to the agent `id` of the client. */
export async function forwardAgent(options: {
  readonly session: Session;
  readonly id: string;
  readonly path: string;
  readonly signal: AbortSignal;
}): Promise<AgentListener> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    void join(options, socket);
  });
  server.maxConnections = connectionCountMax;
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(options.path, listening.resolve);
  await listening.promise;
  chmodSync(options.path, 0o600);
  return {
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function join(
  options: { readonly session: Session; readonly id: string; readonly signal: AbortSignal },
  socket: net.Socket,
): Promise<void> {
  const { session, id, signal } = options;
  try {
    const call = session.client.open(sessionMethods.forwardAgent, {
      signal,
      metadata: new Map([[sessionKeys.sshId, [id]]]),
    });
    const outward = (async (): Promise<void> => {
      for await (const chunk of socket) await call.send({ data: chunk as Buffer });
      call.end();
    })().catch(() => call.cancel());
    for (let next = await call.next(); next !== undefined; next = await call.next()) {
      if (!socket.write(next.data)) {
        await new Promise<void>((resolve) => socket.once("drain", resolve).once("close", resolve));
      }
    }
    socket.end();
    await outward;
  } catch (error) {
    // The step sees a closed connection; what is no failure of the call is a fault.
    socket.destroy();
    if (!isKind(error)) throw error;
  }
}
