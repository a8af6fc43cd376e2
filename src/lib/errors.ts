/**
 * The one failure type of the engine.
 *
 * A failure is a kind, a sentence and a cause. Callers branch on `kind`; each border translates it
 * once: `server/errors.ts` to an HTTP status, `cli/errors.ts` to an exit code.
 */

/** Every kind there is, with the meaning moby and containerd give it. */
export const errorKinds = [
  "invalid-argument",
  "not-found",
  "already-exists",
  "conflict",
  "not-modified",
  "unauthorized",
  "permission-denied",
  "unavailable",
  "not-implemented",
  "canceled",
  "deadline-exceeded",
  "data-loss",
  "internal",
] as const;

/** What kind of failure it is; the set is closed. */
export type ErrorKind = (typeof errorKinds)[number];

/** What travels with a failure besides its sentence. */
export interface ErrorOptions {
  readonly cause?: unknown;
  /** Facts for a program; `code` only where a client must tell two failures of one kind apart. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A failure of a kind, told in one sentence that the caller may read. */
export class EngineError extends Error {
  readonly kind: ErrorKind;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(kind: ErrorKind, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "EngineError";
    this.kind = kind;
    this.details = options.details ?? {};
  }
}

/** Tells whether `error` is an EngineError of one of `kinds` (of any kind when none is named). */
export function isKind(error: unknown, ...kinds: readonly ErrorKind[]): error is EngineError {
  return error instanceof EngineError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a system error (`ENOENT`, …); undefined for any other thing thrown. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
