import { describe, expect, test } from "bun:test";
import { EngineError } from "../lib/errors.ts";
import { connectFailure, hungUp } from "./connection.ts";
import type { Endpoint, TlsMaterial } from "./endpoint.ts";
import { explainTls } from "./tls-failure.ts";

type TcpEndpoint = Extract<Endpoint, { readonly kind: "tcp" }>;

function endpoint(tls?: Partial<TlsMaterial>): TcpEndpoint {
  const material = tls === undefined ? {} : { tls: { isVerified: true, ...tls } };
  return { kind: "tcp", host: "far.test", port: 2376, basePath: "", ...material };
}

const failure = (code: string, message = code): Error =>
  Object.assign(new Error(message), { code });

describe("what certificates have to do with a failure", () => {
  // Certificates that are real ones are tried with a real engine, in test/e2e/tls-clients.test.ts.
  test.each<readonly [string, TcpEndpoint, unknown, RegExp]>([
    ["no TLS", endpoint(), failure("ECONNRESET"), /if it asks for TLS, use --tlsverify/],
    ["no TLS, no answer", endpoint(), undefined, /if it asks for TLS, use --tlsverify/],
    ["none given", endpoint({}), failure("EPROTO"), /none was given/],
    ["none given, no answer", endpoint({}), undefined, /none was given/],
    ["a broken CA", endpoint({ ca: "x" }), failure("FailedToOpenSocket"), /CA certificate.*PEM/],
    ["no key", endpoint({ cert: "x" }), failure("EPROTO"), /without its key/],
    ["no certificate", endpoint({ key: "x" }), failure("EPROTO"), /without its certificate/],
    ["a broken one", endpoint({ cert: "x", key: "y" }), undefined, /certificate.*PEM/],
    ["wrong CA", endpoint({}), failure("DEPTH_ZERO_SELF_SIGNED_CERT"), /not signed by the CA/],
    ["wrong name", endpoint({}), failure("ERR_TLS_CERT_ALTNAME_INVALID"), /not for "far.test"/],
    ["old", endpoint({}), failure("CERT_HAS_EXPIRED"), /engine's certificate has expired/],
    ["new", endpoint({}), failure("CERT_NOT_YET_VALID"), /engine's certificate is not valid yet/],
  ])("%s", (_, to, error, expected) => {
    expect(explainTls(to, error)).toMatch(expected);
  });

  test.each<readonly [string, TcpEndpoint, unknown]>([
    ["nobody listens", endpoint({ ca: "x" }), failure("ECONNREFUSED")],
    ["nobody listens, as fetch says it", endpoint({}), failure("ConnectionRefused")],
    ["no such host", endpoint({}), failure("ENOTFOUND")],
    ["no route", endpoint(), failure("EHOSTUNREACH")],
    ["too late", endpoint({}), new Error("connection timed out")],
    ["given up", endpoint({}), new Error("canceled")],
    ["something else without TLS", endpoint(), failure("EMFILE")],
  ])("nothing: %s", (_, to, error) => {
    expect(explainTls(to, error)).toBeUndefined();
    expect(connectFailure(to, error).message).toBe(
      "Cannot connect to the Docker daemon at tcp://far.test:2376. Is the docker daemon running?",
    );
  });

  test("a socket that hangs up is no matter of TLS", () => {
    const unix: Endpoint = { kind: "unix", path: "/x" };
    expect(hungUp(unix)).toBeInstanceOf(EngineError);
    expect(hungUp(unix).message).toBe("read the engine's answer: connection closed early");
    expect(hungUp(unix, failure("EPIPE", "broken pipe")).message).toEndWith(": broken pipe");
  });
});
