import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { EngineError, messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { type AccessRules, defaultRules, parseAccessRules } from "./access-rules.ts";
import type { AuthConfig } from "../config.ts";
import { createPasswordGate, createTokenGate, type Gate, openGate } from "./gate.ts";
import { openHtpasswd } from "./htpasswd.ts";
import { createTokenServer, type TokenServer } from "./token-server.ts";
import { createTokenVerifier, openTokenSigner, parseTrust } from "./token.ts";

/** Reads the access rules again; what it returns makes them hold. */
export type Prepare = () => () => void;

/** Makes the gate, and the token server where the registry is its own. */
export function openAuth(
  auth: AuthConfig,
  options: { readonly logger: Logger; readonly hasTls: boolean },
): { readonly gate: Gate; readonly tokenServer?: TokenServer; readonly prepare: Prepare } {
  const { token, htpasswdPath } = auth;
  let current = rulesOf(auth);
  const rules: AccessRules = (...what) => current(...what);
  const prepare: Prepare = () => {
    const next = rulesOf(auth);
    return () => {
      current = next;
    };
  };
  const users = htpasswdPath === undefined ? undefined : openHtpasswd(htpasswdPath, options);
  if (token === undefined) {
    return { gate: users === undefined ? openGate : createPasswordGate({ users, rules }), prepare };
  }
  const { service } = token;
  const signer =
    token.keyPath === undefined ? undefined : openTokenSigner(readNamed(token.keyPath), token);
  const trust =
    token.certPath === undefined
      ? { keys: [], certificates: [] }
      : parseTrust(readNamed(token.certPath).toString("utf8"));
  const keys = signer === undefined ? trust.keys : [signer.publicKey, ...trust.keys];
  const scheme = options.hasTls ? "https" : "http";
  const gate = createTokenGate({
    verify: createTokenVerifier({ keys, certificates: trust.certificates }, token),
    service,
    realm: (request) => token.realm ?? `${scheme}://${hostOf(request)}/token`,
    rules: (user, action, repository) => action === "pull" && rules(user, action, repository),
  });
  if (signer === undefined || users === undefined) return { gate, prepare };
  return { gate, tokenServer: createTokenServer({ users, rules, signer, service }), prepare };
}

function rulesOf({ accessPath, isAnonymousPull }: AuthConfig): AccessRules {
  const fallback = defaultRules({ isAnonymousPull });
  if (accessPath === undefined) return fallback;
  const rules = parseAccessRules(readNamed(accessPath).toString("utf8"));
  return (user, action, repository) =>
    rules(user, action, repository) || (isAnonymousPull && action === "pull");
}

/** The host that the client asked, fit for a header's quotes. */
function hostOf(request: IncomingMessage): string {
  const host = request.headers.host ?? "";
  return /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host) ? host : "localhost";
}

/** Reads a file that a flag names. @throws invalid-argument */
export function readNamed(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new EngineError("invalid-argument", `read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
