import { EngineError, errorKinds, messageOf } from "../lib/errors.ts";

/** A failure as one helper process tells it to the daemon. */
export interface HelperFailure {
  readonly kind: string;
  readonly message: string;
  readonly code?: unknown;
}

/** Says what was thrown in a form that passes a pipe. */
export function encodeHelperFailure(error: unknown, what: string): HelperFailure {
  const failure =
    error instanceof EngineError
      ? error
      : new EngineError("internal", `${what}: ${messageOf(error)}`, { cause: error });
  const code = failure.details["code"];
  return {
    kind: failure.kind,
    message: failure.message,
    ...(code === undefined ? {} : { code }),
  };
}

/** The failure to throw for what a helper told. */
export function decodeHelperFailure(failure: unknown, what: string): EngineError {
  const fields = Object(failure) as Partial<Record<keyof HelperFailure, unknown>>;
  const kind = errorKinds.find((one) => one === fields.kind) ?? "internal";
  const message = typeof fields.message === "string" ? fields.message : what;
  const { code } = fields;
  return new EngineError(kind, message, code === undefined ? {} : { details: { code } });
}
