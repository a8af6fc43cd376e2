import { EngineError, type ErrorKind, isKind } from "../../lib/errors.ts";
import { readAll } from "../../lib/stream-limit.ts";
import { type DistributionFault, decodeFaults } from "../../oci/distribution.ts";
import { familiarName, familiarString, type Reference } from "../../oci/reference.ts";
import { faultMaxBytes } from "../transport/limits.ts";
import { parseChallenges } from "./challenge.ts";
import type { HttpAnswer } from "../transport/transport.ts";

/** Characters shown of a body that is not what the specification says. */
const shownMaxLength = 512;

/** What each code says when the registry does not. @see distribution's errcode */
const defaultMessages: Readonly<Record<string, string>> = {
  UNAUTHORIZED: "authentication required",
  DENIED: "requested access to the resource is denied",
  TOOMANYREQUESTS: "too many requests",
  MANIFEST_UNKNOWN: "manifest unknown",
  NAME_UNKNOWN: "repository name not known to registry",
  UNSUPPORTED: "The operation is unsupported.",
  UNAVAILABLE: "service unavailable",
};

/**
 * Makes a failure of an answer that tells one: `code: message` as Docker prints it. Reads the answer.
 *
 * `details`: the first `code`, the HTTP `status`, `isTransient`, and `retryAfterMs` where the
 * registry said when to come back.
 */
export async function answerFailure(answer: HttpAnswer): Promise<EngineError> {
  const { status } = answer;
  const retryAfterMs = readRetryAfter(answer);
  const isTransient = status === 429 || status === 408 || status >= 500;
  const details = {
    status,
    isTransient,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
  if (status >= 500 || status < 400) {
    answer.close();
    const sentence = `received unexpected HTTP status: ${status} ${printable(answer.statusText)}`;
    return new EngineError(status < 400 ? "internal" : "unavailable", sentence, { details });
  }
  const faults = await readFaults(answer);
  const code = faults[0]?.code ?? "UNKNOWN";
  const lines = faults.map(sentenceOf);
  const message = lines.length === 1 ? (lines[0] ?? "") : `errors:\n${lines.join("\n")}\n`;
  return new EngineError(kindOf(code, status), message, { details: { ...details, code } });
}

/** Rephrases the failure of a pull for the image it was about, as Docker does. */
export function pullFailure(error: unknown, reference: Reference): unknown {
  if (!isKind(error) || error.details["isPhrased"] === true) return error;
  const rephrase = (sentence: string): EngineError =>
    // Docker: answers 404 for all three, seen in 28.5
    new EngineError("not-found", `${sentence}: ${error.message}`, {
      cause: error,
      details: { ...error.details, isPhrased: true },
    });
  switch (error.details["code"]) {
    case "DENIED":
      return rephrase(
        `pull access denied for ${familiarName(reference)}, repository does not exist ` +
          "or may require 'docker login'",
      );
    case "MANIFEST_UNKNOWN":
      return rephrase(`manifest for ${familiarString(reference)} not found`);
    case "NAME_UNKNOWN":
      return rephrase(`repository ${familiarName(reference)} not found`);
    default:
      return error;
  }
}

/** Tells the failure of a push as Docker does: why credentials did not do, without the request. */
export function pushFailure(error: unknown): unknown {
  const reason = isKind(error) ? error.details["reason"] : undefined;
  if (!isKind(error) || typeof reason !== "string") return error;
  return new EngineError(error.kind, reason, { cause: error, details: error.details });
}

/** Whether another attempt may do better. */
export function isTransient(error: unknown): boolean {
  return isKind(error) && error.details["isTransient"] === true;
}

/** When a registry wants to be asked again. @returns undefined when it did not say */
export function readRetryAfter(answer: HttpAnswer): number | undefined {
  const text = answer.header("retry-after")?.trim();
  if (text === undefined || text === "") return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const until = Date.parse(text);
  // Their moment is held against their clock: this machine's may be wrong.
  const now = Date.parse(answer.header("date") ?? "");
  if (Number.isNaN(until)) return undefined;
  return Math.max(0, until - (Number.isNaN(now) ? Date.now() : now));
}

async function readFaults(answer: HttpAnswer): Promise<readonly DistributionFault[]> {
  const fromHeader = tokenFault(answer);
  const bytes = await readBounded(answer);
  const fromBody = parseFaults(bytes, answer.status);
  return fromHeader === undefined ? fromBody : [fromHeader];
}

/** What a refused token was refused for. @see RFC 6750, section 3.1 */
function tokenFault(answer: HttpAnswer): DistributionFault | undefined {
  for (const { scheme, parameters } of parseChallenges(answer.header("www-authenticate") ?? "")) {
    if (scheme !== "bearer") continue;
    const error = parameters.get("error");
    const code =
      error === "invalid_token"
        ? "UNAUTHORIZED"
        : error === "insufficient_scope"
          ? "DENIED"
          : undefined;
    if (code === undefined) continue;
    return { code, message: parameters.get("error_description") ?? "" };
  }
  return undefined;
}

function parseFaults(bytes: Uint8Array, status: number): readonly DistributionFault[] {
  try {
    const { faults, details } = decodeFaults(bytes);
    if (details !== undefined) return [{ code: codeOfStatus(status), message: details }];
    if (faults.length > 0) return faults;
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
  }
  const text = Buffer.from(bytes.subarray(0, shownMaxLength)).toString().trim();
  if (text === "" || text === "{}") {
    return [{ code: status === 404 ? "UNKNOWN" : codeOfStatus(status), message: "" }];
  }
  return [{ code: codeOfStatus(status), message: text }];
}

async function readBounded(answer: HttpAnswer): Promise<Uint8Array> {
  try {
    return await readAll(answer.body(), { sizeMaxBytes: faultMaxBytes, what: "registry error" });
  } catch (error) {
    // A body that is too long, or breaks off, takes nothing from the status.
    if (!isKind(error, "invalid-argument", "unavailable")) throw error;
    return new Uint8Array(0);
  }
}

function sentenceOf({ code, message }: DistributionFault): string {
  const name = code.toLowerCase().replaceAll("_", " ");
  const text = message === "" ? (defaultMessages[code] ?? "unknown error") : message;
  return `${printable(name)}: ${printable(text)}`;
}

function codeOfStatus(status: number): string {
  if (status === 401) return "UNAUTHORIZED";
  if (status === 403) return "DENIED";
  if (status === 429) return "TOOMANYREQUESTS";
  return "UNKNOWN";
}

function kindOf(code: string, status: number): ErrorKind {
  if (code === "UNAUTHORIZED" || status === 401) return "unauthorized";
  if (code === "DENIED" || status === 403) return "permission-denied";
  if (status === 404) return "not-found";
  if (status === 408 || status === 429) return "unavailable";
  if (code === "UNSUPPORTED" || status === 405) return "not-implemented";
  return status === 400 ? "invalid-argument" : "internal";
}

/** Text of a stranger without what moves a terminal's cursor, and not too much of it. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "").slice(0, shownMaxLength);
}
