import { EngineError } from "../../lib/errors.ts";
import type { Location } from "./instruction.ts";

/** Refuses a Dockerfile; `details.location` has the place when it is known. */
export function refuse(sentence: string, location?: Location): EngineError {
  return new EngineError("invalid-argument", sentence, {
    details: location === undefined ? {} : { location },
  });
}

/** Gives a refusal a place, unless it has one. */
export function placed(error: unknown, location: Location): unknown {
  if (!(error instanceof EngineError) || error.details["location"] !== undefined) return error;
  return new EngineError(error.kind, error.message, {
    cause: error.cause,
    details: { ...error.details, location },
  });
}
