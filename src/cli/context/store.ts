/**
 * Contexts as Docker keeps them: `contexts/meta/<sha256 of the name>/meta.json` and
 * `contexts/tls/<same>/docker/{ca,cert,key}.pem` in the folder of config.json.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Endpoint, parseEndpoint, type TlsMaterial } from "../../client/endpoint.ts";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { defaultContext, defaultHost, type Environment, nonEmpty } from "../environment.ts";

/** A context. */
export interface Context {
  readonly name: string;
  readonly description: string;
  readonly host: string;
  readonly skipsTlsVerify: boolean;
  /** What else its file holds, kept as it is. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Where it is kept; undefined for the default context. */
  readonly folders?: { readonly meta: string; readonly tls: string };
}

/** Names of TLS files of a context, with the key each has in `--docker`. */
export const tlsFiles: readonly (readonly [option: "ca" | "cert" | "key", file: string])[] = [
  ["ca", "ca.pem"],
  ["cert", "cert.pem"],
  ["key", "key.pem"],
];

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/;

/** All contexts, the default one first, then by name. */
export function listContexts(environment: Environment): readonly Context[] {
  const root = join(environment.configDir, "contexts", "meta");
  let ids: string[] = [];
  try {
    ids = readdirSync(root);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  const stored = ids
    .filter((id) => existsSync(join(root, id, "meta.json")))
    .map((id) => readContext(environment, id))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
  return [defaultOf(environment), ...stored];
}

/** A context by name. @throws not-found in Docker's words */
export function getContext(environment: Environment, name: string): Context {
  if (name === defaultContext) return defaultOf(environment);
  const folders = foldersOf(environment, idOf(name));
  if (!existsSync(join(folders.meta, "meta.json"))) {
    throw new EngineError(
      "not-found",
      `context ${JSON.stringify(name)}: context not found: open ${join(folders.meta, "meta.json")}: ` +
        "no such file or directory",
    );
  }
  return readContext(environment, idOf(name));
}

/** Tells whether a context is there. */
export function hasContext(environment: Environment, name: string): boolean {
  return (
    name === defaultContext ||
    existsSync(join(foldersOf(environment, idOf(name)).meta, "meta.json"))
  );
}

/** The engine of a context. @throws not-found, invalid-argument */
export function contextEndpoint(environment: Environment, name: string): Endpoint {
  const context = getContext(environment, name);
  const tls = readTls(context);
  return parseEndpoint(context.host, tls === undefined ? {} : { tls });
}

/** Keeps a context, replacing the one of that name, whole or not at all. */
export function putContext(
  environment: Environment,
  context: Omit<Context, "folders">,
  tls: ReadonlyMap<string, string> = new Map(),
): void {
  const folders = foldersOf(environment, idOf(context.name));
  const { Description: _, ...metadata } = context.metadata;
  const meta = {
    Name: context.name,
    Metadata: {
      ...metadata,
      ...(context.description === "" ? {} : { Description: context.description }),
    },
    Endpoints: { docker: { Host: context.host, SkipTLSVerify: context.skipsTlsVerify } },
  };
  mkdirSync(folders.meta, { recursive: true, mode: 0o755 });
  for (const [file, pem] of tls) {
    const folder = join(folders.tls, "docker");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    replaceFile(join(folder, file), pem);
  }
  replaceFile(join(folders.meta, "meta.json"), JSON.stringify(meta));
}

/** Forgets a context. */
export function removeContext(environment: Environment, name: string): void {
  const folders = foldersOf(environment, idOf(name));
  rmSync(folders.meta, { recursive: true, force: true });
  rmSync(folders.tls, { recursive: true, force: true });
}

/** Sets the current context in config.json, leaving the rest of it alone. */
export function useContext(environment: Environment, name: string): void {
  const path = join(environment.configDir, "config.json");
  let config: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value === "object" && value !== null) config = { ...value };
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw refusedFile(path, error);
  }
  if (name === defaultContext) delete config["currentContext"];
  else config["currentContext"] = name;
  mkdirSync(environment.configDir, { recursive: true, mode: 0o700 });
  replaceFile(path, JSON.stringify(config, null, "\t"));
}

/** Refuses a name that may not be a new context's. */
export function checkContextName(name: string): void {
  if (name === "") throw new EngineError("invalid-argument", "context name cannot be empty");
  if (name === defaultContext) {
    throw new EngineError("invalid-argument", `"${defaultContext}" is a reserved context name`);
  }
  if (!namePattern.test(name)) {
    throw new EngineError(
      "invalid-argument",
      `context name ${JSON.stringify(name)} is invalid, names are validated against regexp ` +
        '"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"',
    );
  }
}

/** TLS files that a context keeps. */
export function tlsFileNames(context: Context): readonly string[] {
  if (context.folders === undefined) return [];
  const folder = join(context.folders.tls, "docker");
  return tlsFiles.map(([, file]) => file).filter((file) => existsSync(join(folder, file)));
}

function readTls(context: Context): TlsMaterial | undefined {
  const names = tlsFileNames(context);
  // Docker: who wants no verification wants TLS, seen in 28.5.
  if (context.folders === undefined || (names.length === 0 && !context.skipsTlsVerify)) {
    return undefined;
  }
  const material: Record<string, string> = {};
  for (const [option, file] of tlsFiles) {
    if (!names.includes(file)) continue;
    material[option] = readFileSync(join(context.folders.tls, "docker", file), "utf8");
  }
  return { ...material, isVerified: !context.skipsTlsVerify };
}

function defaultOf(environment: Environment): Context {
  const host =
    environment.flags.hosts[0] ?? nonEmpty(environment.variables["DOCKER_HOST"]) ?? defaultHost;
  return {
    name: defaultContext,
    description: "Current DOCKER_HOST based configuration",
    host,
    skipsTlsVerify: false,
    metadata: {},
  };
}

function readContext(environment: Environment, id: string): Context {
  const folders = foldersOf(environment, id);
  const path = join(folders.meta, "meta.json");
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw refusedFile(path, error);
  }
  const top = members(value);
  const metadata = members(top.get("Metadata"));
  const docker = members(members(top.get("Endpoints")).get("docker"));
  return {
    name: textOf(top.get("Name")),
    description: textOf(metadata.get("Description")),
    host: textOf(docker.get("Host")) || defaultHost,
    skipsTlsVerify: docker.get("SkipTLSVerify") === true,
    metadata: Object.fromEntries(metadata),
    folders,
  };
}

function members(value: unknown): Map<string, unknown> {
  return new Map(typeof value === "object" && value !== null ? Object.entries(value) : []);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function idOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

function foldersOf(
  environment: Environment,
  id: string,
): { readonly meta: string; readonly tls: string } {
  const root = join(environment.configDir, "contexts");
  return { meta: join(root, "meta", id), tls: join(root, "tls", id) };
}

function replaceFile(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}

function refusedFile(path: string, error: unknown): EngineError {
  return new EngineError("invalid-argument", `read ${path}: ${messageOf(error)}`, { cause: error });
}
