/** Which engine a command talks to, by flags, environment variables, contexts and the default. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Endpoint, parseEndpoint, type TlsMaterial } from "../client/endpoint.ts";
import { codeOf, EngineError } from "../lib/errors.ts";
import {
  currentContextName,
  defaultContext,
  defaultHost,
  type Environment,
  nonEmpty,
  readPem,
} from "./environment.ts";

/** An engine, and whether it is the one that is started on demand. */
export interface EngineChoice {
  readonly endpoint: Endpoint;
  readonly isDefault: boolean;
}

/**
 * Finds the engine.
 *
 * @throws invalid-argument for several -H, or -H with -c
 * @throws invalid-argument for a TLS file that cannot be read, or a CA that is to be had and is not
 * @throws not-found for a context that is not there
 */
export async function chooseEngine(environment: Environment): Promise<EngineChoice> {
  const { flags, variables } = environment;
  if (flags.hosts.length > 1) {
    throw new EngineError(
      "invalid-argument",
      "unable to resolve docker endpoint: Specify only one -H",
    );
  }
  const host = flags.hosts[0] ?? nonEmpty(variables["DOCKER_HOST"]);
  const name = currentContextName(environment);
  if (name !== defaultContext) {
    const { contextEndpoint } = await import("./context/store.ts");
    return { endpoint: contextEndpoint(environment, name), isDefault: false };
  }
  const tls = tlsMaterial(environment);
  const endpoint = parseEndpoint(host ?? defaultHost, tls === undefined ? {} : { tls });
  return { endpoint, isDefault: host === undefined };
}

function tlsMaterial(environment: Environment): TlsMaterial | undefined {
  const { flags, variables } = environment;
  const isVerified = flags.isTlsVerified ?? nonEmpty(variables["DOCKER_TLS_VERIFY"]) !== undefined;
  if (!flags.isTls && !isVerified && nonEmpty(variables["DOCKER_TLS"]) === undefined) {
    return undefined;
  }
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

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
