/** Failures of a build with what BuildKit's clients draw from: the lines of the Dockerfile. */
import type { SourceInfo } from "../../api/buildkit/llb.ts";
import { EngineError } from "../../lib/errors.ts";
import {
  type AnyMessage,
  grpcCode,
  statusCodeKey,
  statusDetailsKey,
} from "../../lib/grpc/status.ts";
import type { Location } from "../dockerfile/instruction.ts";
import { placeOf } from "../failure.ts";

/** BuildKit, solver/errdefs: registered under this name, its value is JSON. */
const sourceType = "github.com/moby/buildkit/errdefs.Source+json";

/**
 * The same failure as BuildKit tells it: of no kind, unless it is a cancellation, and with the place
 * in the Dockerfile. Clients print a kind in front of the sentence.
 */
export function asSolveFailure(error: unknown, source: SourceInfo | undefined): unknown {
  if (!(error instanceof EngineError) || error.kind === "canceled") return error;
  const place = placeOf(error);
  return new EngineError(error.kind, error.message, {
    cause: error.cause,
    details: {
      [statusCodeKey]: grpcCode.unknown,
      ...error.details,
      ...(place === undefined || source === undefined
        ? {}
        : { [statusDetailsKey]: [sourceDetail(place, source)] }),
    },
  });
}

function sourceDetail(place: Location, source: SourceInfo): AnyMessage {
  const value = JSON.stringify({
    info: {
      filename: source.filename,
      data: Buffer.from(source.data).toString("base64"),
      language: source.language,
    },
    ranges: [{ start: { line: place.startLine }, end: { line: place.endLine } }],
  });
  return { typeUrl: sourceType, value: Buffer.from(value) };
}
