import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { EngineError } from "../lib/errors.ts";

/**
 * Refuses what a web page makes a browser send: the API is for programs.
 *
 * A page can reach a TCP listener by a simple request, which carries its origin, or by having its own
 * name resolve to this machine, which shows in the Host header. A body-less POST needs no preflight.
 *
 * @throws permission-denied
 */
export function refuseForeignOrigin(request: IncomingMessage): void {
  const { origin, host } = request.headers;
  const site = request.headers["sec-fetch-site"];
  if (isPlainTcp(request) && !isOwnName(host ?? "")) {
    throw refusal(`the host name ${JSON.stringify(host ?? "")} is not this machine's`);
  }
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
    throw refusal(`the request comes from ${JSON.stringify(origin)}`);
  }
  if (site !== undefined && site !== "same-origin" && site !== "none") {
    throw refusal("the request comes from a page of another site");
  }
}

/** TCP without client certificates: nothing else tells who asks. */
function isPlainTcp({ socket }: IncomingMessage): boolean {
  const isAuthorized = "authorized" in socket && socket.authorized === true;
  return socket.remoteAddress !== undefined && !isAuthorized;
}

/** An address, `localhost`, or this machine's own name; with or without a port. */
function isOwnName(host: string): boolean {
  const name = host
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
  return isIP(name) !== 0 || name === "localhost" || name === hostname().toLowerCase();
}

function refusal(reason: string): EngineError {
  return new EngineError("permission-denied", `${reason}: the API is not for web pages`);
}
