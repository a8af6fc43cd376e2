/** Credential helpers: programs that keep what config.json should not. @see docker-credential-helpers */
import { spawn } from "node:child_process";
import { codeOf, EngineError, isKind, messageOf } from "../../lib/errors.ts";
import type { Environment } from "../environment.ts";

/** An answer of a helper is bounded. */
const helperOutputMaxBytes = 1024 * 1024;
const helperMaxMs = 60_000;
/** What helpers say of a server they know nothing of. @see docker-credential-helpers */
const notFoundSentence = "credentials not found in native keychain";
/**
 * Asks a helper.
 *
 * @returns its answer; undefined when it knows nothing of the server
 * @throws not-found when there is no such program, unavailable when it fails
 */
export async function callHelper(
  helper: string,
  call: {
    readonly verb: "get" | "store" | "erase";
    readonly input: string;
    readonly environment: Environment;
  },
): Promise<string | undefined> {
  // The name becomes part of a program's: it must not lead out of the search path.
  if (!/^[\w.-]+$/.test(helper)) {
    throw new EngineError(
      "invalid-argument",
      `credential helper ${JSON.stringify(helper)}: not a name`,
    );
  }
  const program = `docker-credential-${helper}`;
  const child = spawn(program, [call.verb], {
    env: { ...call.environment.variables },
    stdio: ["pipe", "pipe", "inherit"],
    timeout: helperMaxMs,
  });
  const ended = Promise.withResolvers<number>();
  child.once("error", (error) => {
    const reason =
      codeOf(error) === "ENOENT" ? "executable file not found in $PATH" : messageOf(error);
    const sentence = `error getting credentials - err: exec: "${program}": ${reason}`;
    ended.reject(new EngineError("not-found", sentence, { cause: error }));
  });
  child.once("close", (code) => ended.resolve(code ?? 1));
  // A helper that ends without reading is told by its code.
  child.stdin.on("error", () => undefined);
  child.stdin.end(call.input);
  const [code, text] = await Promise.all([ended.promise, readBounded(child.stdout)]);
  if (code === 0) return text;
  const reason = text.trim();
  if (call.verb !== "store" && reason === notFoundSentence) return undefined;
  throw new EngineError(
    "unavailable",
    `error ${deeds[call.verb]} credentials - err: exit status ${code}, out: \`${reason}\``,
  );
}

const deeds = { get: "getting", store: "saving", erase: "erasing" } as const;

/** Reads the answer to `get`. @throws unavailable for what is none: the helper has failed */
export function decodeAnswer(answer: string, helper: string): Readonly<Record<string, unknown>> {
  try {
    return decodeObject(answer, `docker-credential-${helper}`);
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
    throw new EngineError("unavailable", `error getting credentials - ${error.message}`, {
      cause: error,
    });
  }
}

async function readBounded(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of stream) {
    sizeBytes += part.length;
    if (sizeBytes > helperOutputMaxBytes) {
      throw new EngineError("invalid-argument", "the credential helper's answer is too long");
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Reads an object of JSON. @param what names it in a refusal @throws invalid-argument */
export function decodeObject(text: string, what: string): Readonly<Record<string, unknown>> {
  try {
    return objectOf(JSON.parse(text) as unknown);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new EngineError("invalid-argument", `read ${what}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** The value, when it is an object; else an empty one. */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}
