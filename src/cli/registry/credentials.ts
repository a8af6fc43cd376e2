/**
 * Credentials for registries as Docker keeps them: in the `auths` of config.json, or with a helper
 * program (`docker-credential-<name>`) that `credHelpers` or `credsStore` names.
 *
 * A password goes to a file of mode 0600 or to a helper's standard input; it is never printed.
 */
import {
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { AuthConfig } from "../../api/image.ts";
import { codeOf, EngineError, isKind, messageOf } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { defaultDomain, parseReference } from "../../oci/reference.ts";
import type { Environment } from "../environment.ts";
import type { Output } from "../output.ts";
import { callHelper, decodeAnswer, decodeObject, objectOf } from "./credential-helper.ts";

/** Holds what `auths` of config.json holds, and goes before it. Docker: since 28.3 */
const authVariable = "DOCKER_AUTH_CONFIG";

/** The key of Docker Hub, an address of a time before this API. */
export const indexServer = "https://index.docker.io/v1/";

/** The username that stands for an identity token in a helper's answer. */
const tokenUsername = "<token>";

/** The key under which credentials for a reference's registry are kept. */
export function serverOf(domain: string): string {
  return domain === defaultDomain || domain === "index.docker.io" ? indexServer : domain;
}

/** The key for an image's registry. @throws invalid-argument when it is no reference */
export function serverOfImage(image: string): string {
  return serverOf(parseReference(image).domain);
}

/** `X-Registry-Auth` for a server; credentials that are not there are an empty object. */
export async function registryAuthHeader(
  environment: Environment,
  server: string,
): Promise<Readonly<Record<string, string>>> {
  const credentials = (await findUsableCredentials(environment, server)) ?? {};
  return { "X-Registry-Auth": encodeAuth(credentials) };
}

/** `X-Registry-Config` of a build: all that is known, by server. */
export async function allCredentials(
  environment: Environment,
): Promise<Readonly<Record<string, AuthConfig>>> {
  const config = readConfig(environment);
  const servers = new Set([...Object.keys(config.auths), ...Object.keys(config.credHelpers)]);
  const all: Record<string, AuthConfig> = {};
  for (const server of servers) {
    const found = await findUsableCredentials(environment, server);
    if (found !== undefined) all[server] = found;
  }
  return all;
}

/** Encodes credentials as headers carry them: base64url of JSON. */
export function encodeAuth(credentials: AuthConfig): string {
  return Buffer.from(JSON.stringify(credentials)).toString("base64url");
}

/**
 * What is kept for a server, for a request that may do without: a helper that fails, or is not there
 * any more, is warned of.
 */
export async function findUsableCredentials(
  environment: Environment,
  server: string,
): Promise<AuthConfig | undefined> {
  try {
    return await findCredentials(environment, server);
  } catch (error) {
    // Docker: goes on without a word, seen in 28.2
    if (!isKind(error, "unavailable", "not-found")) throw error;
    process.stderr.write(`WARNING: ${escapeControls(error.message)}: going on without\n`);
    return undefined;
  }
}

/** What is kept for a server; undefined when nothing is. @throws when a helper fails */
export async function findCredentials(
  environment: Environment,
  server: string,
): Promise<AuthConfig | undefined> {
  const given = findInVariable(environment, server);
  if (given !== undefined) return given;
  const config = readConfig(environment);
  const helper = helperOf(config, server);
  if (helper === undefined) return findInFile(config, server);
  const answer = await callHelper(helper, { verb: "get", input: server, environment });
  if (answer === undefined) return undefined;
  const { Username = "", Secret = "" } = decodeAnswer(answer, helper);
  return Username === tokenUsername
    ? { identitytoken: String(Secret), serveraddress: server }
    : { username: String(Username), password: String(Secret), serveraddress: server };
}

/** Keeps credentials. @returns the file they stand in as plain text, where that is so */
export async function storeCredentials(
  environment: Environment,
  credentials: AuthConfig & { readonly serveraddress: string },
): Promise<string | undefined> {
  const config = readConfig(environment);
  const { serveraddress: server, username = "", password = "", identitytoken } = credentials;
  const helper = helperOf(config, server);
  if (helper !== undefined) {
    const entry = {
      ServerURL: server,
      Username: identitytoken === undefined ? username : tokenUsername,
      Secret: identitytoken ?? password,
    };
    await callHelper(helper, { verb: "store", input: JSON.stringify(entry), environment });
    writeAuths(environment, { ...config.auths, [server]: {} });
    return undefined;
  }
  const auth = Buffer.from(`${username}:${identitytoken === undefined ? password : ""}`);
  const entry = {
    auth: auth.toString("base64"),
    ...(identitytoken === undefined ? {} : { identitytoken }),
  };
  writeAuths(environment, { ...config.auths, [server]: entry });
  return configPath(environment);
}

/** Forgets credentials. @returns whether there were any */
export async function eraseCredentials(environment: Environment, server: string): Promise<boolean> {
  const config = readConfig(environment);
  const helper = helperOf(config, server);
  const bare = bareHost(server);
  const kept = Object.entries(config.auths).filter(([key]) => bareHost(key) !== bare);
  const isKnown = kept.length < Object.keys(config.auths).length;
  // Whoever logged in may have told the helper alone.
  if (helper !== undefined) {
    await callHelper(helper, { verb: "erase", input: server, environment });
  }
  if (isKnown) writeAuths(environment, Object.fromEntries(kept));
  return isKnown;
}

/** Says so when what is kept or forgotten has no effect. */
export function warnOfVariable({ variables }: Environment, output: Output): void {
  if ((variables[authVariable] ?? "") === "") return;
  output.err(
    `WARNING: ${authVariable} is set and takes precedence.\n` +
      `Unset ${authVariable} to restore the CLI auth behaviour.\n`,
  );
}

interface CredentialsConfig {
  readonly auths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly credHelpers: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

function configPath(environment: Environment): string {
  return join(environment.configDir, "config.json");
}

function readDocument(environment: Environment): Readonly<Record<string, unknown>> {
  try {
    const text = readFileSync(configPath(environment), "utf8");
    // An empty file is one that nobody has written to yet.
    return text.trim() === "" ? {} : decodeObject(text, configPath(environment));
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES") return {};
    throw error;
  }
}

function readConfig(environment: Environment): CredentialsConfig {
  const document = readDocument(environment);
  const { credHelpers, credsStore } = document;
  return {
    auths: authsOf(document),
    credHelpers: Object.fromEntries(
      Object.entries(objectOf(credHelpers)).filter(
        (entry): entry is [string, string] => typeof entry[1] === "string",
      ),
    ),
    ...(typeof credsStore === "string" && credsStore !== "" ? { credsStore } : {}),
  };
}

/** Changes `auths` and leaves everything else of the file as it is, where and whose it is. */
function writeAuths(environment: Environment, auths: Readonly<Record<string, unknown>>): void {
  const path = targetOf(configPath(environment));
  const temporary = `${path}.${process.pid}.tmp`;
  mkdirSync(environment.configDir, { recursive: true, mode: 0o700 });
  try {
    const document = { ...readDocument(environment), auths };
    writeFileSync(temporary, `${JSON.stringify(document, undefined, "\t")}\n`, { mode: 0o600 });
    const before = statSync(path, { throwIfNoEntry: false });
    if (before !== undefined) keepOwner(temporary, before);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new EngineError("internal", `write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** The file that a link leads to, whether it is there yet or not; else the path itself. */
function targetOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  const link = lstatSync(path, { throwIfNoEntry: false });
  return link?.isSymbolicLink() === true ? resolve(dirname(path), readlinkSync(path)) : path;
}

/** Only root may give a file away; for others it stays theirs. */
function keepOwner(path: string, before: { readonly uid: number; readonly gid: number }): void {
  try {
    chownSync(path, before.uid, before.gid);
  } catch (error) {
    if (codeOf(error) !== "EPERM") throw error;
  }
}

function helperOf(config: CredentialsConfig, server: string): string | undefined {
  const name = config.credHelpers[bareHost(server)] ?? config.credHelpers[server];
  // Docker: an empty name is the file's, also where there is a store, seen in 28.2
  return name === "" ? undefined : (name ?? config.credsStore);
}

/** What the environment says of a server, as pipelines do who have no place for a file. */
function findInVariable({ variables }: Environment, server: string): AuthConfig | undefined {
  const text = variables[authVariable] ?? "";
  if (text === "") return undefined;
  try {
    return findInFile({ auths: authsOf(decodeObject(text, authVariable)) }, server);
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
    // The sentence would quote the variable, which may hold a password.
    process.stderr.write(`WARNING: ${authVariable} is no JSON: going on without\n`);
    return undefined;
  }
}

function authsOf(document: Readonly<Record<string, unknown>>): CredentialsConfig["auths"] {
  const auths = Object.entries(objectOf(document["auths"]));
  return Object.fromEntries(auths.map(([server, entry]) => [server, objectOf(entry)]));
}

function findInFile(
  config: Pick<CredentialsConfig, "auths">,
  server: string,
): AuthConfig | undefined {
  const bare = bareHost(server);
  const key = Object.keys(config.auths).find((each) => each === server || bareHost(each) === bare);
  const entry = key === undefined ? undefined : config.auths[key];
  if (entry === undefined) return undefined;
  const { auth, identitytoken, registrytoken } = entry;
  const pair = typeof auth === "string" ? Buffer.from(auth, "base64").toString("utf8") : "";
  const colon = pair.indexOf(":");
  const username = colon < 0 ? entry["username"] : pair.slice(0, colon);
  // Docker: NUL bytes at the end of old entries are no part of the password, seen in 28.2.
  const password = colon < 0 ? entry["password"] : pair.slice(colon + 1).replace(/\0+$/, "");
  return {
    ...(typeof username === "string" && username !== "" ? { username } : {}),
    ...(typeof password === "string" && password !== "" ? { password } : {}),
    ...(typeof identitytoken === "string" && identitytoken !== "" ? { identitytoken } : {}),
    ...(typeof registrytoken === "string" && registrytoken !== "" ? { registrytoken } : {}),
    serveraddress: server,
  };
}

/** `https://host/v1/` and `host` are one server. */
function bareHost(server: string): string {
  const host = server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return host === "index.docker.io" || host === "registry-1.docker.io" ? defaultDomain : host;
}
