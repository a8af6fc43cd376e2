import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContextOptions } from "node:tls";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";

/** What a host's certificate is held against, and who this side is. PEM. */
export interface HostTrust {
  /** Authorities; all that are trusted, not only additional ones. */
  readonly ca: readonly string[];
  readonly client?: { readonly certificate: string; readonly key: string };
  /** Whether the operator has put certificates there for this host. */
  readonly isConfigured: boolean;
}

/** Where Linux distributions keep the authorities they trust; the first that is there counts. */
const systemBundles = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/ssl/cert.pem",
];

/** Certificates of one host: more are a mistake. */
const filesMax = 100;

/**
 * Reads the certificates for a host: `<dir>/<host>/*.crt` are authorities besides the system's,
 * `*.cert` with `*.key` of the same name are this side's.
 *
 * @param host with its port, as it stands in references
 * @throws invalid-argument with Docker's sentence when one of a pair is missing; for what cannot be read
 */
export function readHostTrust(certsDirs: readonly string[], host: string): HostTrust {
  const system = readSystemAuthorities();
  if (!/^[\w.:[\]-]+$/.test(host) || /^\.+$/.test(host)) return { ca: system, isConfigured: false };
  const folder = certsDirs.map((dir) => join(dir, host)).find((path) => existsSync(path));
  if (folder === undefined) return { ca: system, isConfigured: false };
  const names = namesIn(folder);
  const authorities = names
    .filter((name) => name.endsWith(".crt"))
    .map((name) => readPem(join(folder, name)))
    // Docker: what is no certificate is passed over here, seen in 28.5
    .filter(isCertificate);
  const client = readClientPair(folder, names);
  return {
    ca: [...system, ...authorities],
    ...(client === undefined ? {} : { client }),
    isConfigured: authorities.length > 0 || client !== undefined,
  };
}

function readClientPair(
  folder: string,
  names: readonly string[],
): { readonly certificate: string; readonly key: string } | undefined {
  for (const name of names.filter((file) => file.endsWith(".key"))) {
    const certificate = `${name.slice(0, -".key".length)}.cert`;
    if (!names.includes(certificate)) {
      throw refused(`missing client certificate ${certificate} for key ${name}`);
    }
  }
  for (const name of names.filter((file) => file.endsWith(".cert"))) {
    const key = `${name.slice(0, -".cert".length)}.key`;
    if (!names.includes(key)) {
      throw refused(
        `missing key ${key} for client certificate ${name}. ` +
          "CA certificates must use the extension .crt",
      );
    }
    const pair = { certificate: readPem(join(folder, name)), key: readPem(join(folder, key)) };
    const fault = tlsFault({ cert: pair.certificate, key: pair.key });
    if (fault === undefined) return pair;
    throw refused(`client certificate ${name} with ${key}: tls: ${fault}`);
  }
  return undefined;
}

function readPem(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    throw new EngineError(
      "invalid-argument",
      `read a registry's certificate: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

/** TLS refuses to begin with a text that has no certificate, or begins with a broken one. */
function isCertificate(pem: string): boolean {
  return tlsFault({ ca: [pem] }) === undefined;
}

/** Why TLS cannot use what it is given; undefined when it can. */
function tlsFault(given: SecureContextOptions): string | undefined {
  try {
    createSecureContext(given);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return /KEY_VALUES_MISMATCH/.test(error.message)
      ? "private key does not match public key"
      : error.message;
  }
}

let systemAuthorities: readonly string[] | undefined;

/** Read once: what changes there later counts from the next start on. */
function readSystemAuthorities(): readonly string[] {
  if (systemAuthorities !== undefined) return systemAuthorities;
  const path = systemBundles.find((bundle) => existsSync(bundle));
  systemAuthorities = path === undefined ? rootCertificates : [readFileSync(path, "utf8")];
  return systemAuthorities;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).toSorted().slice(0, filesMax);
  } catch (error) {
    if (codeOf(error) === "ENOTDIR" || codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

function refused(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
