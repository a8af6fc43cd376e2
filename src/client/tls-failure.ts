/**
 * Why a connection to an engine does not come about when certificates are in play, and what helps.
 *
 * An engine that does not take a client's certificate mostly closes the connection without a word, and
 * what does not fit in the client's own files is told by TLS libraries in words of their own. So all that
 * can be known here is looked at, but only after a failure.
 */
import type { X509Certificate } from "node:crypto";
import { codeOf, messageOf } from "../lib/errors.ts";
import type { Endpoint, TlsMaterial } from "./endpoint.ts";

type TcpEndpoint = Extract<Endpoint, { readonly kind: "tcp" }>;

const wrongAuthority = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
]);
/** The other side has not come to TLS, or not at all. */
const unreachable =
  /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|ENOTFOUND|EAI_\w+|ConnectionRefused)$/;
const closed = /^(ECONNRESET|EPIPE|ConnectionClosed|)$/;

/**
 * Says what is the matter; undefined when certificates have nothing to do with it.
 *
 * @param error what the attempt ended with; undefined when the engine hung up without an answer
 */
export function explainTls(endpoint: TcpEndpoint, error: unknown): string | undefined {
  const code = codeOf(error) ?? "";
  if (unreachable.test(code) || /timed out|canceled/.test(messageOf(error))) return undefined;
  const { tls } = endpoint;
  if (tls === undefined) {
    return closed.test(code)
      ? "it hung up without an answer: if it asks for TLS, use --tlsverify or DOCKER_TLS_VERIFY=1"
      : undefined;
  }
  return ownFault(tls) ?? faultOfEngine(endpoint, code) ?? faultOfClient(tls);
}

/** What is wrong with the files of the client, whatever the engine may say. */
function ownFault(tls: TlsMaterial): string | undefined {
  const { ca, cert, key } = tls;
  if (ca !== undefined && readCertificate(ca) === undefined) {
    return "the CA certificate (--tlscacert, ca.pem) is no certificate in PEM form";
  }
  if (cert !== undefined && key === undefined) {
    return "a client certificate is of no use without its key: give it by --tlskey, or as key.pem";
  }
  if (cert === undefined && key !== undefined) {
    return "a client key is of no use without its certificate: give it by --tlscert, or as cert.pem";
  }
  if (cert === undefined || key === undefined) return undefined;
  const certificate = readCertificate(cert);
  if (certificate === undefined) {
    return "the client certificate (--tlscert, cert.pem) is no certificate in PEM form";
  }
  try {
    if (certificate.checkPrivateKey(crypto().createPrivateKey(key))) return undefined;
  } catch (error) {
    return `the client key (--tlskey, key.pem) cannot be read: ${messageOf(error)}`;
  }
  return "the client key (--tlskey, key.pem) is not that of the client certificate";
}

/** What the certificate of the engine lacks. */
function faultOfEngine(endpoint: TcpEndpoint, code: string): string | undefined {
  if (wrongAuthority.has(code)) {
    return (
      "the engine's certificate is not signed by the CA that is trusted here: give the CA of the " +
      "engine by --tlscacert, or as ca.pem in DOCKER_CERT_PATH"
    );
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return (
      `the engine's certificate is not for "${endpoint.host}": connect by a name that it has, or ` +
      "have it made with this one as subjectAltName"
    );
  }
  if (code === "CERT_HAS_EXPIRED") {
    return "the engine's certificate has expired: have it renewed on the engine's machine";
  }
  if (code === "CERT_NOT_YET_VALID") {
    return "the engine's certificate is not valid yet: compare the clocks of both machines";
  }
  return undefined;
}

/** Why an engine that hung up may not have taken the client. */
function faultOfClient(tls: TlsMaterial): string {
  const certificate = tls.cert === undefined ? undefined : readCertificate(tls.cert);
  if (certificate === undefined) {
    return (
      "the engine hung up: it may ask for a client certificate, and none was given " +
      "(--tlscert and --tlskey, or cert.pem and key.pem in DOCKER_CERT_PATH), or not speak TLS " +
      "on this port"
    );
  }
  const now = Date.now();
  const until = new Date(certificate.validTo);
  if (until.getTime() < now) {
    return `the client certificate expired on ${dayOf(until)}: have a new one made`;
  }
  const from = new Date(certificate.validFrom);
  if (from.getTime() > now) {
    return `the client certificate is valid from ${dayOf(from)} on: look at the clock`;
  }
  const issuer = certificate.issuer.replaceAll("\n", ", ");
  return (
    "the engine hung up: it may not take the client certificate, which is signed by " +
    `"${issuer}" (have one made by the CA that the engine has), or not speak TLS on this port`
  );
}

function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/** Loaded when something has gone wrong, not by everybody who connects. */
function crypto(): typeof import("node:crypto") {
  return process.getBuiltinModule("node:crypto");
}

function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return new (crypto().X509Certificate)(pem);
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}
