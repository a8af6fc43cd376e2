import { createPrivateKey, X509Certificate } from "node:crypto";
import { EngineError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { readNamed } from "./auth/open-auth.ts";
import type { TlsPaths } from "./config.ts";
import type { FrontTls } from "./http/front.ts";

/**
 * Reads the files of a TLS listener. What OpenSSL says of them names no file, so each is looked at here.
 *
 * @throws invalid-argument naming the flag and the file that is no good
 */
export function readTls(
  paths: TlsPaths,
  options: { readonly logger: Logger; readonly nowMs?: number },
): FrontTls {
  const { certPath, keyPath, caPath } = paths;
  const cert = readNamed(certPath);
  const key = readNamed(keyPath);
  const ca = caPath === undefined ? undefined : readNamed(caPath);
  const certificate = taken(`--tls-cert ${certPath}: no certificate`, () => {
    return new X509Certificate(cert);
  });
  const privateKey = taken(`--tls-key ${keyPath}: no private key, or one with a passphrase`, () => {
    return createPrivateKey(key);
  });
  if (!certificate.checkPrivateKey(privateKey)) {
    throw refused(`--tls-key ${keyPath}: not the key of the certificate in ${certPath}`);
  }
  if (ca !== undefined) {
    taken(`--tls-ca ${caPath}: no certificate`, () => new X509Certificate(ca));
  }
  if (Date.parse(certificate.validTo) < (options.nowMs ?? Date.now())) {
    const { validTo } = certificate;
    options.logger.warn("the certificate has expired: clients will refuse it", {
      certPath,
      validTo,
    });
  }
  return { key, cert, ...(ca === undefined ? {} : { ca }) };
}

function taken<T>(sentence: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw refused(sentence, error);
  }
}

function refused(sentence: string, cause?: unknown): EngineError {
  return new EngineError("invalid-argument", sentence, { cause });
}
