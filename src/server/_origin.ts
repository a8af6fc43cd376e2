import type { IncomingMessage } from "node:http";
import { EngineError } from "../lib/errors.ts";

/**
 * Refuses what a web page makes a browser send: the API is for programs. A page can reach a TCP
 * listener by a simple request or by rebinding a name, and a body-less POST needs no preflight.
 *
 * @throws permission-denied
 */
export function refuseForeignOrigin(request: IncomingMessage): void {
  const { headers } = request;
  const site = headers["sec-fetch-site"];
  if (headers.origin !== undefined && headers.origin !== "" && !isSameOrigin(request)) {
    throw refusal(`the origin ${JSON.stringify(headers.origin)}`);
  }
  if (site !== undefined && site !== "same-origin" && site !== "none") {
    throw refusal(`a page of another site (${JSON.stringify(site)})`);
  }
}

/** A WebSocket library of a program may send its own address as origin. */
function isSameOrigin(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  return origin === `http://${host}` || origin === `https://${host}`;
}

function refusal(who: string): EngineError {
  return new EngineError(
    "permission-denied",
    `requests from ${who} are refused: the API is not for web pages`,
  );
}
