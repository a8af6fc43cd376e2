/** Which engine a command talks to, by flags, environment variables, contexts and the default. */
import { type Endpoint, parseEndpoint, type TlsMaterial } from "../client/endpoint.ts";
import { EngineError } from "../lib/errors.ts";
import {
  currentContextName,
  defaultContext,
  defaultHost,
  type Environment,
  nonEmpty,
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
  const name = await currentContextName(environment);
  if (name !== defaultContext) {
    const { contextEndpoint } = await import("./context/store.ts");
    return { endpoint: contextEndpoint(environment, name), isDefault: false };
  }
  const endpoint = parseEndpoint(host ?? defaultHost, await tlsOptions(environment));
  return { endpoint, isDefault: host === undefined };
}

async function tlsOptions(environment: Environment): Promise<{ readonly tls?: TlsMaterial }> {
  const { flags, variables } = environment;
  const isVerified = flags.isTlsVerified ?? nonEmpty(variables["DOCKER_TLS_VERIFY"]) !== undefined;
  if (!flags.isTls && !isVerified && nonEmpty(variables["DOCKER_TLS"]) === undefined) return {};
  const { readTlsMaterial } = await import("./tls-files.ts");
  return { tls: readTlsMaterial(environment, { isVerified }) };
}
