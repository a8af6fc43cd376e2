/** `--secret` and `--ssh`: what a build may use and never keeps. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { splitCsv } from "../options/mount.ts";

/** BuildKit takes no larger ones. */
const secretMaxBytes = 500 * 1024;

type Variables = Readonly<Record<string, string | undefined>>;

/** Reads `--secret`: the value is read when it is asked for, and never printed. @throws invalid-argument */
export function readSecrets(
  texts: readonly string[],
  variables: Variables,
): (id: string) => Promise<Uint8Array | undefined> {
  const secrets = new Map(texts.map((text) => readSecret(text, variables)));
  return async (id) => await Promise.resolve(secrets.get(id)?.());
}

function readSecret(text: string, variables: Variables): [string, () => Uint8Array] {
  const fields = new Map<string, string>();
  for (const field of splitCsv(text)) {
    const at = field.indexOf("=");
    if (at <= 0) {
      throw refused(text, `invalid field ${JSON.stringify(field)} must be a key=value pair`);
    }
    fields.set(field.slice(0, at).toLowerCase(), field.slice(at + 1));
  }
  const id = fields.get("id");
  if (id === undefined || id === "") throw refused(text, "secret missing ID");
  const path = fields.get("src") ?? fields.get("source");
  const name = fields.get("env");
  const isFromEnv =
    fields.get("type") === "env" ||
    name !== undefined ||
    (path === undefined && fields.get("type") !== "file" && variables[id] !== undefined);
  if (isFromEnv) {
    const key = name ?? path ?? id;
    const value = variables[key];
    if (value === undefined) throw refused(text, `environment variable ${key} is not set`);
    return [id, () => Buffer.from(value)];
  }
  const file = path ?? id;
  if (!existsSync(file)) throw refused(text, `failed to stat ${file}: no such file or directory`);
  return [id, () => readFile(file)];
}

function readFile(path: string): Uint8Array {
  const { size } = statSync(path);
  if (size > secretMaxBytes) {
    throw new EngineError(
      "invalid-argument",
      `invalid secret size ${size}: ${secretMaxBytes} bytes are taken at most`,
    );
  }
  try {
    return readFileSync(path);
  } catch (error) {
    throw new EngineError("invalid-argument", `read secret ${path}: ${codeOf(error)}`, {
      cause: error,
    });
  }
}

/** Reads `--ssh`: the sockets of agents by ID. @throws invalid-argument */
export function readSshAgents(
  texts: readonly string[],
  variables: Variables,
): ReadonlyMap<string, string> {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf("=");
      const id = at < 0 ? text : text.slice(0, at);
      const path = at < 0 ? variables["SSH_AUTH_SOCK"] : text.slice(at + 1);
      if (path === undefined || path === "") {
        throw new EngineError(
          "invalid-argument",
          `invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set`,
        );
      }
      if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) {
        throw new EngineError(
          "not-implemented",
          `--ssh ${text}: ${path} is no agent's socket, and key files are not served: add the key to an agent (ssh-add) and name its socket`,
        );
      }
      return [id === "" ? "default" : id, path];
    }),
  );
}

function refused(text: string, reason: string): EngineError {
  return new EngineError(
    "invalid-argument",
    `invalid argument ${JSON.stringify(text)} for "--secret" flag: ${reason}`,
    { details: { isUsage: true, flag: "--secret" } },
  );
}
