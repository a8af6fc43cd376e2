/**
 * Failures of a build: which lines of the Dockerfile they come from, and a picture of them.
 */
import { EngineError } from "../lib/errors.ts";
import type { Location } from "./dockerfile/instruction.ts";

/** Runs `work`; what it throws learns its place in the Dockerfile, unless it knows one. */
export function atPlace<T>(location: Location, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw placed(error, location);
  }
}

/** The same failure with its place in the Dockerfile, unless it has one or is none of the engine. */
export function placed(error: unknown, location: Location | undefined): unknown {
  return error instanceof EngineError ? placedError(error, location) : error;
}

/** As `placed`, of a failure that is one of the engine. */
export function placedError(error: EngineError, location: Location | undefined): EngineError {
  if (location === undefined || error.details["location"] !== undefined) return error;
  return new EngineError(error.kind, error.message, {
    cause: error.cause,
    details: { ...error.details, location },
  });
}

/** The same failure with what was most likely meant, when it is about what is not there. */
export function hinted(error: unknown, hint: string | undefined): unknown {
  if (hint === undefined || !(error instanceof EngineError) || error.kind !== "not-found") {
    return error;
  }
  return new EngineError(error.kind, `${error.message} (${hint})`, {
    cause: error.cause,
    details: error.details,
  });
}

/** Where a failure comes from; undefined when it says none. */
export function placeOf(error: unknown): Location | undefined {
  const location = error instanceof EngineError ? error.details["location"] : undefined;
  if (typeof location !== "object" || location === null) return undefined;
  const { startLine, endLine } = location as Partial<Location>;
  if (typeof startLine !== "number" || typeof endLine !== "number") return undefined;
  return { startLine, endLine };
}
