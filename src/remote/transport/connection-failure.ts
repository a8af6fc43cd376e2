import { isIP } from "node:net";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { redactText } from "../../lib/redact.ts";

/** What failed to be asked. */
export interface AskedRequest {
  readonly method: string;
  readonly url: URL;
}

const certificateReasons: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "certificate has expired or is not yet valid",
  CERT_NOT_YET_VALID: "certificate has expired or is not yet valid",
  DEPTH_ZERO_SELF_SIGNED_CERT: "certificate signed by unknown authority",
  SELF_SIGNED_CERT_IN_CHAIN: "certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT: "certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "certificate signed by unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "certificate signed by unknown authority",
};

/** Alerts that Go names in other words than their own. @see RFC 8446, section 6 */
const alertWords: Readonly<Record<string, string>> = {
  UNKNOWN_CA: "unknown certificate authority",
  PROTOCOL_VERSION: "protocol version not supported",
};

const unconnectedCodes: ReadonlySet<string> = new Set([
  ...["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"],
  ...["ENOTFOUND", "EAI_AGAIN", "ESERVFAIL", "EAI_FAIL"],
]);

/** A request and why it had no answer, as Go's net/url writes it: `Get "https://…": reason`. */
export function requestFailure(
  asked: AskedRequest,
  reason: string,
  options: { readonly cause?: unknown; readonly isTransient?: boolean } = {},
): EngineError {
  const method = `${asked.method.slice(0, 1)}${asked.method.slice(1).toLowerCase()}`;
  const { isTransient = true, cause } = options;
  return new EngineError("unavailable", `${method} "${shownUrl(asked.url)}": ${reason}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { code: codeOf(cause), isTransient },
  });
}

/** A URL without what may be a secret in it. */
export function shownUrl(url: URL): string {
  return redactText(url.href);
}

/** Tells the sentence of Docker, which is Go's, for what a socket, TLS or HTTP failed with. */
export function connectionFailure(asked: AskedRequest, error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const reason = reasonOf(asked.url, error);
  return requestFailure(asked, reason, { cause: error, isTransient: !isTrust(codeOf(error)) });
}

/** Tells what the connection to a proxy failed with: its address is the proxy's. */
export function proxyFailure(
  asked: AskedRequest,
  { proxy, error }: { readonly proxy: URL; readonly error: unknown },
): EngineError {
  if (error instanceof EngineError) return error;
  const reason = reasonOf(proxy, error);
  const isTransient = !isTrust(codeOf(error));
  return requestFailure(asked, `proxyconnect tcp: ${reason}`, { cause: error, isTransient });
}

/** Whether there never was a connection: its address was not found, or did not answer. */
export function isUnconnected(error: unknown): boolean {
  return unconnectedCodes.has(codeOf(error) ?? "");
}

function reasonOf(url: URL, error: unknown): string {
  const code = codeOf(error) ?? "";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const trust = certificateReasons[code];
  if (trust !== undefined) return `tls: failed to verify certificate: x509: ${trust}`;
  switch (code) {
    case "ECONNREFUSED":
      return `dial tcp ${addressOf(url, error)}: connect: connection refused`;
    case "EHOSTUNREACH":
      return `dial tcp ${addressOf(url, error)}: connect: no route to host`;
    case "ENETUNREACH":
      return `dial tcp ${addressOf(url, error)}: connect: network is unreachable`;
    case "ETIMEDOUT":
      return `dial tcp ${addressOf(url, error)}: i/o timeout`;
    case "ENOTFOUND":
      return `dial tcp: lookup ${host}: no such host`;
    case "EAI_AGAIN":
    case "ESERVFAIL":
    case "EAI_FAIL":
      return `dial tcp: lookup ${host}: server misbehaving`;
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `tls: failed to verify certificate: x509: certificate is not valid for ${host}`;
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return "http: server gave HTTP response to HTTPS client";
    case "HPE_INVALID_CONSTANT":
      return "net/http: HTTP/1.x transport connection broken: malformed HTTP response";
    case "HPE_HEADER_OVERFLOW":
      return "net/http: server response headers are too long";
    case "ECONNRESET":
      return messageOf(error).includes("hang up") ? "EOF" : "connection reset by peer";
    case "EPIPE":
      return "write: broken pipe";
    default:
      return alertOf(messageOf(error)) ?? messageOf(error);
  }
}

/** What the other side of TLS refuses, from BoringSSL's words to Go's. */
function alertOf(message: string): string | undefined {
  const alert = /(?:TLSV1|SSLV3|TLSV13)_ALERT_([A-Z_]+)/.exec(message)?.[1];
  if (alert === undefined) return undefined;
  const words = alert.toLowerCase().replaceAll("_", " ");
  return `remote error: tls: ${alertWords[alert] ?? words}`;
}

function isTrust(code: string | undefined): boolean {
  if (code === undefined) return false;
  return certificateReasons[code] !== undefined || code === "ERR_TLS_CERT_ALTNAME_INVALID";
}

function addressOf(url: URL, error: unknown): string {
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  const known = error instanceof Error && "address" in error ? error.address : undefined;
  const host = typeof known === "string" && isIP(known) !== 0 ? known : bare(url.hostname);
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
