/** Finds the operation of a request in the route table. */
import { EngineError } from "../lib/errors.ts";
import { type Route, type RouteName, routes } from "./route-table.ts";
import { compareVersions } from "./versions.ts";

/** A request's operation and what its path says. */
export interface RouteMatch {
  readonly route: Route;
  /** Parameters by name, percent-decoded once. They may hold any character, slashes too. */
  readonly params: Readonly<Record<string, string>>;
  /** The version in the path, unchecked; undefined when there is none. */
  readonly version: string | undefined;
}

/** Longest path that is matched, in characters. */
export const pathLengthMax = 4096;

/**
 * Finds the operation of a request.
 *
 * Runs of slashes count as one. A slash at the end counts: only `/networks/` has one.
 *
 * @param path the path of the request's target, without its query, still encoded
 * @returns undefined when there is none: Docker answers 404 "page not found", for other methods too
 * @throws invalid-argument when the path is not properly encoded, or too long
 */
export function matchRoute(method: string, path: string): RouteMatch | undefined {
  if (path.length > pathLengthMax) {
    throw new EngineError("invalid-argument", `path is longer than ${pathLengthMax} characters`);
  }
  const segments = decodePath(path)
    .replace(/\/{2,}/g, "/")
    .split("/");
  if (segments.shift() !== "") return undefined;
  const version = /^v([0-9.]+)$/.exec(segments[0] ?? "")?.[1];
  if (version !== undefined) segments.shift();
  for (const pattern of patternsByStart.get(`${method} ${segments[0] ?? ""}`) ?? []) {
    const params = matchPattern(pattern, segments);
    if (params !== undefined) return { route: pattern.route, params, version };
  }
  return undefined;
}

/** Tells whether `version` has the operation; where it has not, the path is not found. */
export function isServedIn(route: Route, version: string): boolean {
  if (route.since !== undefined && compareVersions(version, route.since) < 0) return false;
  return route.until === undefined || compareVersions(version, route.until) <= 0;
}

/** The refusal of a path that no operation has. */
export function pageNotFound(): EngineError {
  return new EngineError("not-found", "page not found");
}

/** The operation of a name. */
export function getRoute(name: RouteName): Route {
  const route = routesByName.get(name);
  if (route === undefined) throw new EngineError("internal", `no route is named ${name}`);
  return route;
}

interface Pattern {
  readonly route: Route;
  readonly segments: readonly string[];
}

const routesByName = new Map(routes.map((route) => [route.name, route]));

/** Patterns by method and first segment, those with more fixed segments first. */
const patternsByStart = Map.groupBy(
  routes
    .map((route): Pattern => ({ route, segments: route.path.split("/").slice(1) }))
    .sort((left, right) => fixedCount(right) - fixedCount(left)),
  ({ route, segments }) => `${route.method} ${segments[0]}`,
);

function fixedCount(pattern: Pattern): number {
  return pattern.segments.filter((segment) => !segment.startsWith("{")).length;
}

function decodePath(path: string): string {
  if (!path.includes("%")) return path;
  try {
    return decodeURIComponent(path);
  } catch (cause) {
    if (!(cause instanceof URIError)) throw cause;
    throw new EngineError("invalid-argument", "path is not properly encoded", { cause });
  }
}

/** A parameter takes as many segments as leave enough for the rest of the pattern. */
function matchPattern(
  pattern: Pattern,
  segments: readonly string[],
): Readonly<Record<string, string>> | undefined {
  const params: Record<string, string> = {};
  let at = 0;
  for (const [index, wanted] of pattern.segments.entries()) {
    if (!wanted.startsWith("{")) {
      if (segments[at] !== wanted) return undefined;
      at += 1;
      continue;
    }
    const end = segments.length - (pattern.segments.length - index - 1);
    const isLastParam = !pattern.segments.slice(index + 1).some((next) => next.startsWith("{"));
    const taken = segments.slice(at, isLastParam ? end : at + 1);
    if (taken.join("/") === "") return undefined;
    params[wanted.slice(1, -1)] = taken.join("/");
    at += taken.length;
  }
  return at === segments.length ? params : undefined;
}
