/** Flags, environment variables and config.json, as commands see them. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
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
