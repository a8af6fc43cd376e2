/**
 * API versions: which are spoken and how they compare.
 *
 * A version is text of numbers joined by dots ("1.43"); "1.043" and "1.43.0" are the same version.
 */
import { EngineError } from "../lib/errors.ts";

/** Oldest version that is served. @see Engine API v1.24 */
export const apiVersionMin = "1.24";

/** Newest version that is served, and the one meant when a path names none. */
export const apiVersionMax = "1.51";

/** Orders two versions: negative, zero or positive. */
export function compareVersions(left: string, right: string): number {
  const lefts = left.split(".");
  const rights = right.split(".");
  for (let at = 0; at < Math.max(lefts.length, rights.length); at += 1) {
    const difference = Number(lefts[at] || 0) - Number(rights[at] || 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * Settles the version of a request.
 *
 * @param requested what the path says; undefined when it has no version
 * @throws invalid-argument in Docker's words when it is not served
 */
export function negotiateVersion(requested: string | undefined): string {
  if (requested === undefined) return apiVersionMax;
  if (compareVersions(requested, apiVersionMax) > 0) {
    throw new EngineError(
      "invalid-argument",
      `client version ${requested} is too new. ` +
        `Maximum supported API version is ${apiVersionMax}`,
    );
  }
  if (compareVersions(requested, apiVersionMin) < 0) {
    throw new EngineError(
      "invalid-argument",
      `client version ${requested} is too old. Minimum supported API version is ` +
        `${apiVersionMin}, please upgrade your client to a newer version`,
    );
  }
  return requested;
}
