/**
 * Raw connections to an endpoint, for what `fetch` cannot do: hijacked streams, long uploads and
 * downloads with real backpressure.
 */
import net from "node:net";
import type { ConnectionOptions } from "node:tls";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { type Endpoint, formatEndpoint } from "./endpoint.ts";
import { explainTls } from "./tls-failure.ts";

/** Longest wait for a connection. */
const connectTimeoutMs = 30_000;

/**
 * Connects. The socket is paused, stays half-open after the other side's end, and belongs to the
 * caller.
 *
 * @throws unavailable, permission-denied in Docker's words
 */
export function connect(
  endpoint: Endpoint,
  options: { readonly signal?: AbortSignal } = {},
): Promise<net.Socket> {
  const opened = Promise.withResolvers<net.Socket>();
  let socket: net.Socket;
  try {
    socket = openSocket(endpoint);
  } catch (error) {
    // Certificates that are none are found out before anything is sent.
    return Promise.reject(connectFailure(endpoint, error));
  }
  const ready = endpoint.kind === "tcp" && endpoint.tls !== undefined ? "secureConnect" : "connect";
  const timer = setTimeout(() => {
    socket.destroy(new Error("connection timed out"));
  }, connectTimeoutMs);
  const abort = (): void => {
    socket.destroy(new Error("canceled"));
  };
  options.signal?.addEventListener("abort", abort, { once: true });
  const fail = (error: Error): void => {
    opened.reject(connectFailure(endpoint, error));
  };
  socket.once("error", fail);
  socket.once(ready, () => {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", abort);
    socket.off("error", fail);
    socket.setNoDelay(true);
    opened.resolve(socket);
  });
  socket.once("close", () => {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", abort);
    fail(new Error("connection closed"));
  });
  return opened.promise;
}

/** The failure to reach `endpoint`, in the words that people and scripts know. */
export function connectFailure(endpoint: Endpoint, error: unknown): EngineError {
  const address = formatEndpoint(endpoint);
  const code = codeOf(error) ?? "";
  const details = { code, endpoint: address, isConnect: true };
  if (code === "EACCES" || code === "EPERM") {
    return new EngineError(
      "permission-denied",
      "permission denied while trying to connect to the Docker daemon socket at " +
        `${address}: use sudo, or join the group that owns the socket`,
      { cause: error, details },
    );
  }
  const reason = endpoint.kind === "tcp" ? explainTls(endpoint, error) : undefined;
  if (reason !== undefined) {
    return new EngineError("unavailable", `error during connect to ${address}: ${reason}`, {
      cause: error,
      details,
    });
  }
  return new EngineError(
    "unavailable",
    `Cannot connect to the Docker daemon at ${address}. Is the docker daemon running?`,
    { cause: error, details },
  );
}

/** What the engine's silence means, after a connection that was made. */
export function hungUp(endpoint: Endpoint, cause?: unknown): EngineError {
  const reason = endpoint.kind === "tcp" ? explainTls(endpoint, cause) : undefined;
  const how = cause === undefined ? "connection closed early" : messageOf(cause);
  return new EngineError("unavailable", `read the engine's answer: ${reason ?? how}`, { cause });
}

function openSocket(endpoint: Endpoint): net.Socket {
  if (endpoint.kind === "unix") {
    return net.connect({ path: endpoint.path, allowHalfOpen: true });
  }
  const { host, port, tls: material } = endpoint;
  if (material === undefined) return net.connect({ host, port, allowHalfOpen: true });
  const options: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    host,
    port,
    allowHalfOpen: true,
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    ...(material.ca === undefined ? {} : { ca: material.ca }),
    ...(material.cert === undefined ? {} : { cert: material.cert }),
    ...(material.key === undefined ? {} : { key: material.key }),
    rejectUnauthorized: material.isVerified,
  };
  // Few have an engine with TLS, and all would wait for the module.
  return process.getBuiltinModule("node:tls").connect(options);
}
