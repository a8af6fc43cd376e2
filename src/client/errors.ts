/** The engine's refusals as EngineErrors. */
import { EngineError, type ErrorKind } from "../lib/errors.ts";

const kinds: Readonly<Record<number, ErrorKind>> = {
  304: "not-modified",
  400: "invalid-argument",
  401: "unauthorized",
  403: "permission-denied",
  404: "not-found",
  409: "conflict",
  501: "not-implemented",
  503: "unavailable",
};

/**
 * Makes the failure that a refused request stands for.
 *
 * `details.isDaemon` tells it from failures on this side, `details.status` is the HTTP status.
 *
 * @param body what followed the head: `{"message": …}`, or anything else of a proxy
 */
export function engineRefusal(status: number, body: string): EngineError {
  return new EngineError(kinds[status] ?? "internal", messageIn(body, status), {
    details: { isDaemon: true, status },
  });
}

/** Tells whether the engine itself refused (and not the way to it). */
export function isDaemonRefusal(error: unknown): error is EngineError {
  return error instanceof EngineError && error.details["isDaemon"] === true;
}

/** The version that a refusal of the client's version names; undefined for other refusals. */
export function versionWanted(error: EngineError): string | undefined {
  const match =
    /client version \S+ is too (?:new|old)\b.*\b(?:Maximum|Minimum) supported API version is (\d+\.\d+)/s.exec(
      error.message,
    );
  return match?.[1];
}

function messageIn(body: string, status: number): string {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null && "message" in value) {
      if (typeof value.message === "string" && value.message !== "") return value.message.trimEnd();
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const text = body.trim();
  return text === "" ? `request failed with status ${status}` : text.slice(0, 4096);
}
