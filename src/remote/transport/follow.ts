import { requestFailure, shownUrl } from "./connection-failure.ts";
import { redirectsMax } from "./limits.ts";
import type { HttpAnswer, HttpRequest, HttpTransport } from "./transport.ts";

/** Headers that are for one host alone. */
const secretHeaders: ReadonlySet<string> = new Set([
  "authorization",
  "cookie",
  "proxy-authorization",
]);

/**
 * Sends a request and follows redirects, ten at most.
 *
 * Once another origin is asked, it and all after it get no credentials. A redirect from TLS to none
 * is refused, and one to another origin with a body that holds a secret.
 */
export async function sendFollowing(
  transport: HttpTransport,
  request: HttpRequest,
): Promise<HttpAnswer> {
  let current = request;
  for (let hop = 0; ; hop += 1) {
    const answer = await transport.send(current);
    const next = redirected(answer, current);
    if (next === undefined) return answer;
    answer.close();
    if (hop === redirectsMax) {
      throw requestFailure(request, `stopped after ${redirectsMax} redirects`, {
        isTransient: false,
      });
    }
    current = next;
  }
}

/** The request that an answer redirects to; undefined when it does not. */
function redirected(answer: HttpAnswer, current: HttpRequest): HttpRequest | undefined {
  const location = answer.header("location");
  if (location === undefined || ![301, 302, 303, 307, 308].includes(answer.status)) {
    return undefined;
  }
  const isRead = current.method === "GET" || current.method === "HEAD";
  // A changed method would be another request than the one that was meant.
  if (!isRead && answer.status !== 307 && answer.status !== 308) return undefined;
  const url = URL.parse(location, current.url.href);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw refused(current, "to what is no URL of a registry");
  }
  if (current.url.protocol === "https:" && url.protocol === "http:") {
    throw refused(current, `from TLS to ${shownUrl(new URL(url.origin))}`);
  }
  url.username = "";
  url.password = "";
  if (url.origin === current.url.origin) return { ...current, url };
  if (current.body?.isSecret === true) throw refused(current, `with a secret to ${url.origin}`);
  const open = Object.entries(current.headers).filter(([name]) => !secretHeaders.has(name));
  return { ...current, url, headers: Object.fromEntries(open) };
}

function refused(request: HttpRequest, where: string): Error {
  return requestFailure(request, `refused to follow a redirect ${where}`, { isTransient: false });
}
