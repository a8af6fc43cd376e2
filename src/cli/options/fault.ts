/** The refusal of an option's value. */
import { EngineError } from "../../lib/errors.ts";

/** A value that cannot be meant. */
export function fault(sentence: string, cause?: unknown): EngineError {
  return new EngineError("invalid-argument", sentence, cause === undefined ? {} : { cause });
}
