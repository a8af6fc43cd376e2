/**
 * Where an engine is reached: a unix socket, or TCP with or without TLS.
 *
 * Terms: an *endpoint* is the address with what is needed to trust it; a *transport* (transport.ts)
 * sends requests there; the resource files (containers.ts, images.ts, …) are the operations.
 * This folder starts no process, reads no environment and prints nothing.
 */
import { EngineError } from "../lib/errors.ts";

/** Certificates for TCP, as PEM text. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The engine's certificate is checked against `ca`. */
  readonly isVerified: boolean;
}

/** One engine's address. */
export type Endpoint =
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "tcp";
      readonly host: string;
      readonly port: number;
      /** Prefix of all paths; empty or with a leading slash and no trailing one. */
      readonly basePath: string;
      readonly tls?: TlsMaterial;
    };

/** Port that is meant when tcp:// names none. */
export const plainPort = 2375;
/** The same with TLS. */
export const tlsPort = 2376;

/**
 * Reads a host as `-H` and DOCKER_HOST give it.
 *
 * @param options.tls makes tcp:// use TLS
 * @throws invalid-argument for an address that does not parse
 * @throws not-implemented for ssh:// and other schemes
 */
export function parseEndpoint(
  text: string,
  options: { readonly tls?: TlsMaterial } = {},
): Endpoint {
  const split = text.indexOf("://");
  const scheme = split < 0 ? "tcp" : text.slice(0, split);
  const rest = split < 0 ? text : text.slice(split + 3);
  switch (scheme) {
    case "unix":
      if (rest === "") throw refused(text);
      return { kind: "unix", path: rest };
    case "tcp":
    case "http":
    case "https":
      return parseTcp(text, { rest, ...(options.tls === undefined ? {} : { tls: options.tls }) });
    case "ssh":
    case "npipe":
    case "fd":
      throw new EngineError(
        "not-implemented",
        `connect to ${JSON.stringify(text)}: ${scheme}:// is not there yet, use unix:// or tcp://`,
      );
    default:
      throw refused(text);
  }
}

/** The address as people write it. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint.kind === "unix") return `unix://${endpoint.path}`;
  const host = endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host;
  return `tcp://${host}:${endpoint.port}${endpoint.basePath}`;
}

function parseTcp(
  text: string,
  input: { readonly rest: string; readonly tls?: TlsMaterial },
): Endpoint {
  const match = /^(\[[0-9a-fA-F:.%]+\]|[^:/?#[\]\s]*)(?::(\d{1,5}))?(\/[^?#\s]*)?$/.exec(
    input.rest,
  );
  if (match === null) throw refused(text);
  const [, host = "", port, path = ""] = match;
  const number = port === undefined ? defaultPort(input.tls) : Number(port);
  if (number < 1 || number > 65_535) throw refused(text);
  return {
    kind: "tcp",
    host: host === "" ? "localhost" : host.replace(/^\[|\]$/g, ""),
    port: number,
    basePath: path.replace(/\/+$/, ""),
    ...(input.tls === undefined ? {} : { tls: input.tls }),
  };
}

function defaultPort(tls: TlsMaterial | undefined): number {
  return tls === undefined ? plainPort : tlsPort;
}

function refused(text: string): EngineError {
  return new EngineError("invalid-argument", `invalid bind address format: ${text}`);
}
