/** Which engine a command talks to, by flags, environment variables, contexts and the default. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type Endpoint, parseEndpoint, type TlsMaterial } from "../client/endpoint.ts";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";

/** Where the engine is when nothing says otherwise. */
export const defaultHost = "unix:///run/tug.sock";
/** The context that stands for flags, DOCKER_HOST or the default. */
export const defaultContext = "default";

/** Global flags, as given. */
export interface GlobalFlags {
  readonly configDir?: string;
  readonly context?: string;
  readonly hosts: readonly string[];
  readonly isTls: boolean;
  readonly isTlsVerified?: boolean;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly isDebug: boolean;
}

/** What a command may know of its surroundings. */
export interface Environment {
  /** Folder of config.json and contexts. */
  readonly configDir: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly flags: GlobalFlags;
}

/** An engine, and whether it is the one that is started on demand. */
export interface EngineChoice {
  readonly endpoint: Endpoint;
  readonly isDefault: boolean;
}

/** What config.json says that matters here. */
export interface ConfigFile {
  readonly currentContext?: string;
  readonly detachKeys?: string;
  readonly psFormat?: string;
  readonly imagesFormat?: string;
}

/** Gathers the environment; reads nothing yet. */
export function openEnvironment(flags: GlobalFlags): Environment {
  const variables = process.env;
  const configDir =
    flags.configDir ?? nonEmpty(variables["DOCKER_CONFIG"]) ?? join(homedir(), ".docker");
  return { configDir, variables, flags };
}

/**
 * Finds the engine.
 *
 * @throws invalid-argument for several -H, or -H with -c
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

/** The context in force. @throws invalid-argument when flags contradict each other */
export function currentContextName(environment: Environment): string {
  const { flags, variables } = environment;
  const context = nonEmpty(flags.context);
  if (context !== undefined) {
    if (flags.hosts.length > 0) {
      throw new EngineError(
        "invalid-argument",
        "conflicting options: cannot specify both --host and --context",
      );
    }
    return context;
  }
  if (flags.hosts.length > 0 || nonEmpty(variables["DOCKER_HOST"]) !== undefined) {
    return defaultContext;
  }
  return (
    nonEmpty(variables["DOCKER_CONTEXT"]) ??
    nonEmpty(readConfigFile(environment).currentContext) ??
    defaultContext
  );
}

/** Reads config.json; what is not there is empty. @throws invalid-argument when it is no JSON */
export function readConfigFile(environment: Environment): ConfigFile {
  const path = join(environment.configDir, "config.json");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES") return {};
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new EngineError("invalid-argument", `read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (typeof value !== "object" || value === null) return {};
  const members = new Map<string, unknown>(Object.entries(value));
  const config: Record<string, string> = {};
  for (const key of ["currentContext", "detachKeys", "psFormat", "imagesFormat"]) {
    const member = members.get(key);
    if (typeof member === "string") config[key] = member;
  }
  return config;
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

/** The value, unless it is empty. */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
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
