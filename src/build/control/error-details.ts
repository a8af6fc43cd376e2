/** Failures of a build with what BuildKit's clients draw from: the lines of the Dockerfile. */
import type { SourceInfo } from "../../api/buildkit/llb.ts";
import { EngineError } from "../../lib/errors.ts";
import { type AnyMessage, statusDetailsKey } from "../../lib/grpc/status.ts";
import { placeOf } from "../failure.ts";

/** BuildKit, solver/errdefs: registered under this name, its value is JSON. */
const sourceType = "github.com/moby/buildkit/errdefs.Source+json";

/** The same failure, with the place in the Dockerfile as clients read it. */
export function withSource(error: unknown, source: SourceInfo | undefined): unknown {
  const place = placeOf(error);
  if (!(error instanceof EngineError) || place === undefined || source === undefined) return error;
  const position = (line: number) => ({ line });
  const value = JSON.stringify({
    info: {
      filename: source.filename,
      data: Buffer.from(source.data).toString("base64"),
      language: source.language,
    },
    ranges: [{ start: position(place.startLine), end: position(place.endLine) }],
  });
  const detail: AnyMessage = { typeUrl: sourceType, value: Buffer.from(value) };
  return new EngineError(error.kind, error.message, {
    cause: error,
    details: { ...error.details, [statusDetailsKey]: [detail] },
  });
}
