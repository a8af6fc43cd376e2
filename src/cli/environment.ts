/** Flags, environment variables and config.json, as commands see them. */
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { findText } from "../sys/fs/text-file.ts";

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

const wantedMembers = new Set<string>([
  "currentContext",
  "detachKeys",
  "psFormat",
  "imagesFormat",
] satisfies (keyof ConfigFile)[]);

/** Gathers the environment; reads nothing yet. */
export function openEnvironment(flags: GlobalFlags): Environment {
  const variables = process.env;
  const configDir =
    flags.configDir ?? nonEmpty(variables["DOCKER_CONFIG"]) ?? `${homeOf(variables)}/.docker`;
  return { configDir, variables, flags };
}

/** Without HOME the users' database is asked, by a module that most calls do without. */
function homeOf(variables: Environment["variables"]): string {
  return nonEmpty(variables["HOME"]) ?? process.getBuiltinModule("node:os").homedir();
}

/** The context in force. @throws invalid-argument when flags contradict each other */
export async function currentContextName(environment: Environment): Promise<string> {
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
    nonEmpty((await readConfigFile(environment)).currentContext) ??
    defaultContext
  );
}

/** Reads config.json; what is not there is empty. @throws invalid-argument when it is no JSON */
export async function readConfigFile(environment: Environment): Promise<ConfigFile> {
  const path = `${environment.configDir}/config.json`;
  let text: string | undefined;
  try {
    text = await findText(path);
  } catch (error) {
    const code = codeOf(error);
    if (code !== "ENOTDIR" && code !== "EACCES") throw error;
  }
  if (text === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new EngineError("invalid-argument", `read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (typeof value !== "object" || value === null) return {};
  const config: Record<string, string> = {};
  for (const [key, member] of Object.entries(value)) {
    if (wantedMembers.has(key) && typeof member === "string") config[key] = member;
  }
  return config;
}

/** The value, unless it is empty. */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
}
