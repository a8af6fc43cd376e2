import { EngineError } from "../../lib/errors.ts";

/** What a caller gets who has canceled; Go's words, as Docker tells it. */
export function canceled(signal: AbortSignal | undefined): EngineError {
  return new EngineError("canceled", "context canceled", { cause: signal?.reason });
}
