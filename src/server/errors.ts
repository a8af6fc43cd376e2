import type { ServerResponse } from "node:http";
import { EngineError, type ErrorKind, messageOf } from "../lib/errors.ts";

/** HTTP status of each kind, as moby's httpstatus gives it. */
export const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  "invalid-argument": 400,
  "not-found": 404,
  "already-exists": 409,
  conflict: 409,
  "not-modified": 304,
  unauthorized: 401,
  "permission-denied": 403,
  unavailable: 503,
  "not-implemented": 501,
  canceled: 500,
  "deadline-exceeded": 504,
  "data-loss": 500,
  internal: 500,
};

/** The HTTP status for anything thrown; `details.httpStatus` overrides where Docker's differs. */
export function statusOf(error: unknown): number {
  if (!(error instanceof EngineError)) return 500;
  const override = error.details["httpStatus"];
  return typeof override === "number" ? override : statusOfKind[error.kind];
}

/** Answers with a failure: `{"message": …}`, or nothing for 304. Ends a stream already begun. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const status = statusOf(error);
  response.statusCode = status;
  if (status === 304) {
    response.end();
    return;
  }
  response.setHeader("Content-Type", "application/json");
  response.end(`${JSON.stringify({ message: messageOf(error) })}\n`);
}
