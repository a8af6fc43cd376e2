/**
 * The border where a failure becomes an answer of the distribution API: a code, a sentence, a status.
 *
 * @see OCI distribution-spec v1.1, "Error Codes"
 */
import { EngineError, type ErrorKind } from "../lib/errors.ts";

/** What a code means. */
export interface CodeFacts {
  readonly status: number;
  readonly kind: ErrorKind;
  readonly message: string;
}

/** One code of the distribution API. */
export type DistributionCode =
  | "BLOB_UNKNOWN"
  | "BLOB_UPLOAD_INVALID"
  | "BLOB_UPLOAD_UNKNOWN"
  | "DIGEST_INVALID"
  | "MANIFEST_BLOB_UNKNOWN"
  | "MANIFEST_INVALID"
  | "MANIFEST_UNKNOWN"
  | "NAME_INVALID"
  | "NAME_UNKNOWN"
  | "PAGINATION_NUMBER_INVALID"
  | "RANGE_INVALID"
  | "SIZE_INVALID"
  | "TAG_INVALID"
  | "UNAUTHORIZED"
  | "DENIED"
  | "TOOMANYREQUESTS"
  | "UNSUPPORTED"
  | "UNAVAILABLE"
  | "UNKNOWN";

/** Every code that is answered, with its status and its usual sentence (docker-registry's). */
export const distributionCodes: Readonly<Record<DistributionCode, CodeFacts>> = {
  BLOB_UNKNOWN: { status: 404, kind: "not-found", message: "blob unknown to registry" },
  BLOB_UPLOAD_INVALID: { status: 400, kind: "invalid-argument", message: "blob upload invalid" },
  BLOB_UPLOAD_UNKNOWN: {
    status: 404,
    kind: "not-found",
    message: "blob upload unknown to registry",
  },
  DIGEST_INVALID: {
    status: 400,
    kind: "invalid-argument",
    message: "provided digest did not match uploaded content",
  },
  MANIFEST_BLOB_UNKNOWN: {
    status: 400,
    kind: "invalid-argument",
    message: "blob unknown to registry",
  },
  MANIFEST_INVALID: { status: 400, kind: "invalid-argument", message: "manifest invalid" },
  MANIFEST_UNKNOWN: { status: 404, kind: "not-found", message: "manifest unknown" },
  NAME_INVALID: { status: 400, kind: "invalid-argument", message: "invalid repository name" },
  NAME_UNKNOWN: {
    status: 404,
    kind: "not-found",
    message: "repository name not known to registry",
  },
  PAGINATION_NUMBER_INVALID: {
    status: 400,
    kind: "invalid-argument",
    message: "invalid number of results requested",
  },
  RANGE_INVALID: { status: 416, kind: "invalid-argument", message: "invalid content range" },
  SIZE_INVALID: {
    status: 400,
    kind: "invalid-argument",
    message: "provided length did not match content length",
  },
  TAG_INVALID: { status: 400, kind: "invalid-argument", message: "manifest tag did not match URI" },
  UNAUTHORIZED: { status: 401, kind: "unauthorized", message: "authentication required" },
  DENIED: {
    status: 403,
    kind: "permission-denied",
    message: "requested access to the resource is denied",
  },
  TOOMANYREQUESTS: { status: 429, kind: "unavailable", message: "too many requests" },
  UNSUPPORTED: { status: 405, kind: "not-implemented", message: "The operation is unsupported." },
  UNAVAILABLE: { status: 503, kind: "unavailable", message: "service unavailable" },
  UNKNOWN: { status: 500, kind: "internal", message: "unknown error" },
};

/** What goes with a refusal. */
export interface RefusalOptions {
  readonly message?: string;
  /** For programs: the digest, the name, … */
  readonly detail?: unknown;
  /** Instead of the code's own. */
  readonly status?: number;
  /** Headers of the answer: a challenge, the bytes that are there. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Makes the failure that is answered with a code of the distribution API. */
export function refusal(code: DistributionCode, options: RefusalOptions = {}): EngineError {
  const { kind, message } = distributionCodes[code];
  return new EngineError(kind, options.message ?? message, {
    cause: options.cause,
    details: {
      distributionCode: code,
      detail: options.detail,
      status: options.status,
      headers: options.headers,
    },
  });
}

/** An answer for a failure. */
export interface FailureAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly code: DistributionCode;
}

/** The code for a kind that nobody gave a code. */
export const codeOfKind: Readonly<Record<ErrorKind, DistributionCode>> = {
  "invalid-argument": "UNSUPPORTED",
  "not-found": "NAME_UNKNOWN",
  "already-exists": "UNSUPPORTED",
  conflict: "UNSUPPORTED",
  "not-modified": "UNKNOWN",
  unauthorized: "UNAUTHORIZED",
  "permission-denied": "DENIED",
  unavailable: "UNAVAILABLE",
  "not-implemented": "UNSUPPORTED",
  canceled: "UNKNOWN",
  "deadline-exceeded": "UNAVAILABLE",
  "data-loss": "UNKNOWN",
  internal: "UNKNOWN",
};

/** Status of a kind where it is not that of its code. */
const statusOfKind: Partial<Readonly<Record<ErrorKind, number>>> = {
  "invalid-argument": 400,
  "already-exists": 409,
  conflict: 409,
  "not-implemented": 501,
  "deadline-exceeded": 504,
};

/** What is said of a fault whose sentence is for the log. */
const faultSentence = "the registry met a fault: its log says more";

/** Translates anything thrown; what is no EngineError, or an internal one, is told to the log alone. */
export function answerOf(error: unknown): FailureAnswer {
  if (!(error instanceof EngineError)) return answer("UNKNOWN", { message: faultSentence });
  const { details, message, kind } = error;
  const code = details["distributionCode"];
  if (isCode(code)) {
    return answer(code, {
      message,
      detail: details["detail"],
      ...(typeof details["status"] === "number" ? { status: details["status"] } : {}),
      headers: headersOf(details["headers"]),
    });
  }
  if (isDiskFull(error)) return answer("UNKNOWN", { message, status: 507 });
  if (kind === "internal" || kind === "data-loss") {
    return answer("UNKNOWN", { message: faultSentence });
  }
  const status = statusOfKind[kind];
  return answer(codeOfKind[kind], { message, ...(status === undefined ? {} : { status }) });
}

/** Tells whether a failure says that there is no space left. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  const code = error.details["code"];
  return code === "ENOSPC" || code === "EDQUOT";
}

function answer(
  code: DistributionCode,
  options: RefusalOptions & { readonly message: string },
): FailureAnswer {
  const { message, detail, status, headers } = options;
  const entry = detail === undefined ? { code, message } : { code, message, detail };
  return {
    status: status ?? distributionCodes[code].status,
    headers: headers ?? {},
    body: `${JSON.stringify({ errors: [entry] })}\n`,
    code,
  };
}

function isCode(value: unknown): value is DistributionCode {
  return typeof value === "string" && Object.hasOwn(distributionCodes, value);
}

function headersOf(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
  );
}
