/** Certificates and keys that flags and the environment name. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsMaterial } from "../client/endpoint.ts";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { type Environment, nonEmpty } from "./environment.ts";

/**
 * Reads what TLS to the engine needs.
 *
 * @param options.isVerified the engine's certificate is to be checked
 * @throws invalid-argument for a file that cannot be read, or a CA that is to be had and is not
 */
export function readTlsMaterial(
  environment: Environment,
  options: { readonly isVerified: boolean },
): TlsMaterial {
  const { flags, variables } = environment;
  const { isVerified } = options;
  const folder = nonEmpty(variables["DOCKER_CERT_PATH"]) ?? environment.configDir;
  const file = (given: string | undefined, name: string): string | undefined =>
    given === undefined ? readOptional(join(folder, name)) : readPem(given);
  const ca = file(flags.caFile, "ca.pem");
  // Docker: no other authority stands in for it, seen in 28.5.
  if (isVerified && ca === undefined) {
    throw new EngineError(
      "invalid-argument",
      `unable to resolve docker endpoint: open ${join(folder, "ca.pem")}: no such file or ` +
        "directory: give the engine's CA by --tlscacert, or as ca.pem in DOCKER_CERT_PATH",
    );
  }
  const cert = file(flags.certFile, "cert.pem");
  const key = file(flags.keyFile, "key.pem");
  return {
    isVerified,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/** Reads a file of PEM text. @throws invalid-argument when it cannot be read */
export function readPem(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new EngineError(
      "invalid-argument",
      `read TLS file ${JSON.stringify(path)}: ${codeOf(error) ?? messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
