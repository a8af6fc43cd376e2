/**
 * Where the daemon listens: unix sockets, TCP with mutual TLS, sockets handed over by systemd.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { EngineError, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { listenUnixSocket } from "../sys/net/socket.ts";
import type { DaemonConfig, TlsConfig } from "./config.ts";

/** The default listener, when neither a flag nor the configuration names one. */
export const defaultHost = "unix:///run/tug.sock";
const socketMode = 0o660;
const tcpPortPlain = 2375;
const tcpPortTls = 2376;
const keepAliveMs = 15_000;
/** Nobody is known before the handshake is over: an open connection is all that it may hold till then. */
const handshakeMaxMs = 10_000;
/** First descriptor that systemd hands over. man 3 sd_listen_fds */
const activationFdFirst = 3;

/** Open listeners. */
export interface Listeners {
  /** As given: `unix:///run/tug.sock`, … */
  readonly hosts: readonly string[];
  close(): void;
}

/**
 * Opens all listeners of a configuration, or none.
 *
 * @throws invalid-argument for TCP without client certificates that was not asked for in so many
 * words; conflict when an address is taken
 */
export async function openListeners(
  config: DaemonConfig,
  options: { readonly accept: (socket: Socket) => void; readonly logger: Logger },
): Promise<Listeners> {
  const hosts = config.hosts.length === 0 ? [defaultHost] : config.hosts;
  const servers: { readonly server: Server; readonly path?: string }[] = [];
  const close = (): void => {
    for (const { server, path } of servers) {
      server.close();
      if (path !== undefined) rmSync(path, { force: true });
    }
  };
  try {
    for (const host of hosts) {
      if (host.startsWith("unix://")) {
        const path = host.slice("unix://".length);
        servers.push({ server: await openUnix(path, { ...options, group: config.group }), path });
      } else if (host.startsWith("fd://")) {
        for (const fd of activationFds()) {
          servers.push({ server: await listenOn(createServer(halfOpen, options.accept), { fd }) });
        }
      } else {
        servers.push({ server: await openTcp(host, { ...options, config }) });
      }
      options.logger.info("API listen", { host });
    }
  } catch (error) {
    close();
    throw error;
  }
  return { hosts, close };
}

const halfOpen = { allowHalfOpen: true } as const;

async function openUnix(
  path: string,
  options: {
    readonly accept: (socket: Socket) => void;
    readonly logger: Logger;
    readonly group: string;
  },
): Promise<Server> {
  mkdirSync(dirname(path), { recursive: true });
  const gid = groupId(options.group);
  if (gid === undefined) {
    options.logger.debug("the socket belongs to root alone: there is no such group", {
      group: options.group,
    });
  }
  const fd = listenUnixSocket(path, { mode: socketMode, gid: gid ?? 0 });
  return await listenOn(createServer(halfOpen, options.accept), { fd });
}

/** Reads a group's number from /etc/group. */
function groupId(group: string): number | undefined {
  if (/^\d+$/.test(group)) return Number(group);
  // A small system may have no groups at all.
  const path = "/etc/group";
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  for (const line of text.split("\n")) {
    const [name, , gid] = line.split(":");
    if (name === group && gid !== undefined) return Number(gid);
  }
  return undefined;
}

async function openTcp(
  host: string,
  options: {
    readonly accept: (socket: Socket) => void;
    readonly logger: Logger;
    readonly config: DaemonConfig;
  },
): Promise<Server> {
  const { tls, isUnauthenticatedTcpAllowed } = options.config;
  if (!tls.isVerified && !isUnauthenticatedTcpAllowed) {
    throw new EngineError(
      "invalid-argument",
      `${host}: tcp is served only with --tlsverify; without client certificates whoever reaches ` +
        "the port is root on this machine. To do it all the same, say --allow-unauthenticated-tcp",
    );
  }
  if (!tls.isVerified) {
    options.logger.warn("API without client certificates: whoever reaches it is root here", {
      host,
    });
  }
  const url = new URL(host);
  const address = {
    host: url.hostname.replace(/^\[|\]$/g, "") || "127.0.0.1",
    port: Number(url.port) || (tls.isOn ? tcpPortTls : tcpPortPlain),
  };
  const accept = (socket: Socket): void => {
    // A client that is gone without a word is found out by probes.
    socket.setKeepAlive(true, keepAliveMs);
    options.accept(socket);
  };
  const server = tls.isOn ? createTls(tls, accept) : createServer(halfOpen, accept);
  return await listenOn(server, address);
}

function createTls(tls: TlsConfig, accept: (socket: Socket) => void): Server {
  const server = createTlsServer(
    {
      ...halfOpen,
      key: readPem(tls.keyPath),
      cert: readPem(tls.certPath),
      ...(tls.isVerified ? { ca: readPem(tls.caPath) } : {}),
      requestCert: tls.isVerified,
      rejectUnauthorized: tls.isVerified,
      minVersion: "TLSv1.2",
      handshakeTimeout: handshakeMaxMs,
    },
    accept,
  );
  // A handshake that is late is told and no more, seen in Bun 1.4.5.
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new EngineError("invalid-argument", `TLS: ${messageOf(error)}`, { cause: error });
  }
}

async function listenOn(
  server: Server,
  address: { readonly fd: number } | { readonly host: string; readonly port: number },
): Promise<Server> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const kind = error.code === "EADDRINUSE" ? "conflict" : "unavailable";
      reject(new EngineError(kind, `listen: ${error.message}`, { cause: error }));
    });
    server.listen(address, () => resolve());
  });
  server.on("error", () => undefined);
  return server;
}

/** Descriptors of a systemd socket unit. @throws unavailable when there are none */
function activationFds(): readonly number[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = process.env;
  if (Number(pid) !== process.pid || !(Number(count) > 0)) {
    throw new EngineError(
      "unavailable",
      "fd://: no sockets were handed over; is the daemon started by its systemd socket unit?",
    );
  }
  return Array.from({ length: Number(count) }, (_, index) => activationFdFirst + index);
}
