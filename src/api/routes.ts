/**
 * The table of all operations of the Engine API, and the matcher over it.
 *
 * The server registers from it, the client and the documents are checked against it, and
 * `test/golden/routes.txt` is its rendering.
 */
import { EngineError } from "../lib/errors.ts";

/** HTTP methods that the API uses. */
export type Method = "GET" | "HEAD" | "POST" | "PUT" | "DELETE";

/**
 * What follows the answer's head.
 *
 * json: one value. ndjson: values as they come. raw: bytes, framed unless a terminal. tar: an
 * archive. hijack: the connection becomes a two-way stream. upgrade: a websocket. text: plain
 * text. none: nothing.
 */
export type StreamKind = "json" | "ndjson" | "raw" | "tar" | "hijack" | "upgrade" | "text" | "none";

/** One operation. */
export interface Route {
  /** The published operation ID; unpublished operations are named in its manner. */
  readonly name: RouteName;
  readonly method: Method;
  /** Parameters in braces; each takes one or more segments, so that image names fit. */
  readonly path: string;
  /** First API version that has it; the oldest served when omitted. */
  readonly since?: string;
  /** Last API version that has it. */
  readonly until?: string;
  /** Name of the body's type, or "tar" for a stream. */
  readonly request?: string;
  /** Name of the answer's type; with `ndjson`, of each value. */
  readonly response?: string;
  readonly stream: StreamKind;
  /** A planned operation is answered 501 by name. */
  readonly status: "implemented" | "planned";
}

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

/** Names of all operations. */
export type RouteName =
  | "SystemPing"
  | "SystemPingHead"
  | "SystemVersion"
  | "SystemInfo"
  | "SystemEvents"
  | "SystemAuth"
  | "SystemDataUsage"
  | "ContainerList"
  | "ContainerPrune"
  | "ContainerCreate"
  | "ContainerInspect"
  | "ContainerTop"
  | "ContainerLogs"
  | "ContainerChanges"
  | "ContainerExport"
  | "ContainerStats"
  | "ContainerAttachWebsocket"
  | "ContainerArchiveInfo"
  | "ContainerArchive"
  | "PutContainerArchive"
  | "ContainerStart"
  | "ContainerStop"
  | "ContainerRestart"
  | "ContainerKill"
  | "ContainerRename"
  | "ContainerPause"
  | "ContainerUnpause"
  | "ContainerAttach"
  | "ContainerResize"
  | "ContainerWait"
  | "ContainerUpdate"
  | "ContainerDelete"
  | "ContainerExec"
  | "ExecStart"
  | "ExecResize"
  | "ExecInspect"
  | "CheckpointList"
  | "CheckpointCreate"
  | "CheckpointDelete"
  | "ImageList"
  | "ImageSearch"
  | "ImageGetAll"
  | "ImageInspect"
  | "ImageHistory"
  | "ImageGet"
  | "ImageCreate"
  | "ImageLoad"
  | "ImagePrune"
  | "ImagePush"
  | "ImageTag"
  | "ImageDelete"
  | "ImageCommit"
  | "ImageBuild"
  | "BuildPrune"
  | "BuildCancel"
  | "Session"
  | "Grpc"
  | "DistributionInspect"
  | "VolumeList"
  | "VolumeInspect"
  | "VolumeCreate"
  | "VolumePrune"
  | "VolumeUpdate"
  | "VolumeDelete"
  | "NetworkList"
  | "NetworkListSlash"
  | "NetworkInspect"
  | "NetworkCreate"
  | "NetworkPrune"
  | "NetworkConnect"
  | "NetworkDisconnect"
  | "NetworkDelete"
  | "SwarmInspect"
  | "SwarmInit"
  | "SwarmJoin"
  | "SwarmLeave"
  | "SwarmUpdate"
  | "SwarmUnlockkey"
  | "SwarmUnlock"
  | "NodeList"
  | "NodeInspect"
  | "NodeDelete"
  | "NodeUpdate"
  | "ServiceList"
  | "ServiceCreate"
  | "ServiceInspect"
  | "ServiceDelete"
  | "ServiceUpdate"
  | "ServiceLogs"
  | "TaskList"
  | "TaskInspect"
  | "TaskLogs"
  | "SecretList"
  | "SecretCreate"
  | "SecretInspect"
  | "SecretDelete"
  | "SecretUpdate"
  | "ConfigList"
  | "ConfigCreate"
  | "ConfigInspect"
  | "ConfigDelete"
  | "ConfigUpdate"
  | "PluginList"
  | "GetPluginPrivileges"
  | "PluginInspect"
  | "PluginDelete"
  | "PluginEnable"
  | "PluginDisable"
  | "PluginPull"
  | "PluginPush"
  | "PluginUpgrade"
  | "PluginSet"
  | "PluginCreate";

/** Every operation: first those with fixed paths, within one group of paths. */
export const routes: readonly Route[] = [
  {
    name: "SystemPing",
    method: "GET",
    path: "/_ping",
    response: "Ping",
    stream: "text",
    status: "implemented",
  },
  {
    name: "SystemPingHead",
    method: "HEAD",
    path: "/_ping",
    response: "Ping",
    stream: "none",
    status: "implemented",
  },
  {
    name: "SystemVersion",
    method: "GET",
    path: "/version",
    response: "SystemVersion",
    stream: "json",
    status: "implemented",
  },
  {
    name: "SystemInfo",
    method: "GET",
    path: "/info",
    response: "SystemInfo",
    stream: "json",
    status: "implemented",
  },
  {
    name: "SystemEvents",
    method: "GET",
    path: "/events",
    response: "EventMessage",
    stream: "ndjson",
    status: "implemented",
  },
  {
    name: "SystemAuth",
    method: "POST",
    path: "/auth",
    request: "AuthConfig",
    response: "AuthResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "SystemDataUsage",
    method: "GET",
    path: "/system/df",
    response: "SystemDiskUsage",
    stream: "json",
    status: "planned",
  },
  {
    name: "ContainerList",
    method: "GET",
    path: "/containers/json",
    response: "ContainerSummary[]",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ContainerPrune",
    method: "POST",
    path: "/containers/prune",
    since: "1.25",
    response: "ContainerPruneResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ContainerCreate",
    method: "POST",
    path: "/containers/create",
    request: "ContainerCreateRequest",
    response: "ContainerCreateResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ContainerInspect",
    method: "GET",
    path: "/containers/{id}/json",
    response: "ContainerInspectResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ContainerTop",
    method: "GET",
    path: "/containers/{id}/top",
    response: "ContainerTopResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ContainerLogs",
    method: "GET",
    path: "/containers/{id}/logs",
    stream: "raw",
    status: "implemented",
  },
  {
    name: "ContainerChanges",
    method: "GET",
    path: "/containers/{id}/changes",
    response: "FilesystemChange[]",
    stream: "json",
    status: "planned",
  },
  {
    name: "ContainerExport",
    method: "GET",
    path: "/containers/{id}/export",
    stream: "tar",
    status: "planned",
  },
  {
    name: "ContainerStats",
    method: "GET",
    path: "/containers/{id}/stats",
    response: "ContainerStatsResponse",
    stream: "ndjson",
    status: "planned",
  },
  {
    name: "ContainerAttachWebsocket",
    method: "GET",
    path: "/containers/{id}/attach/ws",
    stream: "upgrade",
    status: "implemented",
  },
  {
    name: "ContainerArchiveInfo",
    method: "HEAD",
    path: "/containers/{id}/archive",
    stream: "none",
    status: "planned",
  },
  {
    name: "ContainerArchive",
    method: "GET",
    path: "/containers/{id}/archive",
    stream: "tar",
    status: "planned",
  },
  {
    name: "PutContainerArchive",
    method: "PUT",
    path: "/containers/{id}/archive",
    request: "tar",
    stream: "none",
    status: "planned",
  },
  {
    name: "ContainerStart",
    method: "POST",
    path: "/containers/{id}/start",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerStop",
    method: "POST",
    path: "/containers/{id}/stop",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerRestart",
    method: "POST",
    path: "/containers/{id}/restart",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerKill",
    method: "POST",
    path: "/containers/{id}/kill",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerRename",
    method: "POST",
    path: "/containers/{id}/rename",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerPause",
    method: "POST",
    path: "/containers/{id}/pause",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerUnpause",
    method: "POST",
    path: "/containers/{id}/unpause",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerAttach",
    method: "POST",
    path: "/containers/{id}/attach",
    stream: "hijack",
    status: "implemented",
  },
  {
    name: "ContainerResize",
    method: "POST",
    path: "/containers/{id}/resize",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerWait",
    method: "POST",
    path: "/containers/{id}/wait",
    response: "ContainerWaitResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ContainerUpdate",
    method: "POST",
    path: "/containers/{id}/update",
    request: "ContainerUpdateRequest",
    response: "ContainerUpdateResponse",
    stream: "json",
    status: "planned",
  },
  {
    name: "ContainerDelete",
    method: "DELETE",
    path: "/containers/{id}",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ContainerExec",
    method: "POST",
    path: "/containers/{id}/exec",
    request: "ExecCreateRequest",
    response: "ExecCreateResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ExecStart",
    method: "POST",
    path: "/exec/{id}/start",
    request: "ExecStartRequest",
    stream: "hijack",
    status: "implemented",
  },
  {
    name: "ExecResize",
    method: "POST",
    path: "/exec/{id}/resize",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ExecInspect",
    method: "GET",
    path: "/exec/{id}/json",
    response: "ExecInspectResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "CheckpointList",
    method: "GET",
    path: "/containers/{id}/checkpoints",
    stream: "json",
    status: "planned",
  },
  {
    name: "CheckpointCreate",
    method: "POST",
    path: "/containers/{id}/checkpoints",
    stream: "none",
    status: "planned",
  },
  {
    name: "CheckpointDelete",
    method: "DELETE",
    path: "/containers/{id}/checkpoints/{checkpoint}",
    stream: "none",
    status: "planned",
  },
  {
    name: "ImageList",
    method: "GET",
    path: "/images/json",
    response: "ImageSummary[]",
    stream: "json",
    status: "implemented",
  },
  { name: "ImageSearch", method: "GET", path: "/images/search", stream: "json", status: "planned" },
  { name: "ImageGetAll", method: "GET", path: "/images/get", stream: "tar", status: "implemented" },
  {
    name: "ImageInspect",
    method: "GET",
    path: "/images/{name}/json",
    response: "ImageInspect",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ImageHistory",
    method: "GET",
    path: "/images/{name}/history",
    response: "HistoryResponseItem[]",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ImageGet",
    method: "GET",
    path: "/images/{name}/get",
    stream: "tar",
    status: "implemented",
  },
  {
    name: "ImageCreate",
    method: "POST",
    path: "/images/create",
    request: "tar",
    response: "JsonMessage",
    stream: "ndjson",
    status: "implemented",
  },
  {
    name: "ImageLoad",
    method: "POST",
    path: "/images/load",
    request: "tar",
    response: "JsonMessage",
    stream: "ndjson",
    status: "implemented",
  },
  {
    name: "ImagePrune",
    method: "POST",
    path: "/images/prune",
    since: "1.25",
    response: "ImagePruneResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ImagePush",
    method: "POST",
    path: "/images/{name}/push",
    response: "JsonMessage",
    stream: "ndjson",
    status: "planned",
  },
  {
    name: "ImageTag",
    method: "POST",
    path: "/images/{name}/tag",
    stream: "none",
    status: "implemented",
  },
  {
    name: "ImageDelete",
    method: "DELETE",
    path: "/images/{name}",
    response: "ImageDeleteResponseItem[]",
    stream: "json",
    status: "implemented",
  },
  {
    name: "ImageCommit",
    method: "POST",
    path: "/commit",
    request: "ContainerConfig",
    response: "IdResponse",
    stream: "json",
    status: "planned",
  },
  {
    name: "ImageBuild",
    method: "POST",
    path: "/build",
    request: "tar",
    response: "JsonMessage",
    stream: "ndjson",
    status: "planned",
  },
  {
    name: "BuildPrune",
    method: "POST",
    path: "/build/prune",
    since: "1.31",
    stream: "json",
    status: "planned",
  },
  {
    name: "BuildCancel",
    method: "POST",
    path: "/build/cancel",
    since: "1.39",
    stream: "none",
    status: "planned",
  },
  {
    name: "Session",
    method: "POST",
    path: "/session",
    since: "1.31",
    stream: "hijack",
    status: "planned",
  },
  {
    name: "Grpc",
    method: "POST",
    path: "/grpc",
    since: "1.39",
    stream: "hijack",
    status: "planned",
  },
  {
    name: "DistributionInspect",
    method: "GET",
    path: "/distribution/{name}/json",
    since: "1.30",
    stream: "json",
    status: "planned",
  },
  {
    name: "VolumeList",
    method: "GET",
    path: "/volumes",
    response: "VolumeListResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "VolumeInspect",
    method: "GET",
    path: "/volumes/{name}",
    response: "Volume",
    stream: "json",
    status: "implemented",
  },
  {
    name: "VolumeCreate",
    method: "POST",
    path: "/volumes/create",
    request: "VolumeCreateRequest",
    response: "Volume",
    stream: "json",
    status: "implemented",
  },
  {
    name: "VolumePrune",
    method: "POST",
    path: "/volumes/prune",
    since: "1.25",
    response: "VolumePruneResponse",
    stream: "json",
    status: "implemented",
  },
  {
    name: "VolumeUpdate",
    method: "PUT",
    path: "/volumes/{name}",
    since: "1.42",
    stream: "none",
    status: "planned",
  },
  {
    name: "VolumeDelete",
    method: "DELETE",
    path: "/volumes/{name}",
    stream: "none",
    status: "implemented",
  },
  {
    name: "NetworkList",
    method: "GET",
    path: "/networks",
    response: "Network[]",
    stream: "json",
    status: "planned",
  },
  {
    name: "NetworkListSlash",
    method: "GET",
    path: "/networks/",
    response: "Network[]",
    stream: "json",
    status: "planned",
  },
  {
    name: "NetworkInspect",
    method: "GET",
    path: "/networks/{id}",
    response: "Network",
    stream: "json",
    status: "planned",
  },
  {
    name: "NetworkCreate",
    method: "POST",
    path: "/networks/create",
    request: "NetworkCreateRequest",
    response: "NetworkCreateResponse",
    stream: "json",
    status: "planned",
  },
  {
    name: "NetworkPrune",
    method: "POST",
    path: "/networks/prune",
    since: "1.25",
    response: "NetworkPruneResponse",
    stream: "json",
    status: "planned",
  },
  {
    name: "NetworkConnect",
    method: "POST",
    path: "/networks/{id}/connect",
    request: "NetworkConnectOptions",
    stream: "none",
    status: "planned",
  },
  {
    name: "NetworkDisconnect",
    method: "POST",
    path: "/networks/{id}/disconnect",
    request: "NetworkDisconnectOptions",
    stream: "none",
    status: "planned",
  },
  {
    name: "NetworkDelete",
    method: "DELETE",
    path: "/networks/{id}",
    stream: "none",
    status: "planned",
  },
  { name: "SwarmInspect", method: "GET", path: "/swarm", stream: "json", status: "planned" },
  { name: "SwarmInit", method: "POST", path: "/swarm/init", stream: "json", status: "planned" },
  { name: "SwarmJoin", method: "POST", path: "/swarm/join", stream: "json", status: "planned" },
  { name: "SwarmLeave", method: "POST", path: "/swarm/leave", stream: "json", status: "planned" },
  { name: "SwarmUpdate", method: "POST", path: "/swarm/update", stream: "json", status: "planned" },
  {
    name: "SwarmUnlockkey",
    method: "GET",
    path: "/swarm/unlockkey",
    stream: "json",
    status: "planned",
  },
  { name: "SwarmUnlock", method: "POST", path: "/swarm/unlock", stream: "json", status: "planned" },
  { name: "NodeList", method: "GET", path: "/nodes", stream: "json", status: "planned" },
  { name: "NodeInspect", method: "GET", path: "/nodes/{id}", stream: "json", status: "planned" },
  { name: "NodeDelete", method: "DELETE", path: "/nodes/{id}", stream: "json", status: "planned" },
  {
    name: "NodeUpdate",
    method: "POST",
    path: "/nodes/{id}/update",
    stream: "json",
    status: "planned",
  },
  { name: "ServiceList", method: "GET", path: "/services", stream: "json", status: "planned" },
  {
    name: "ServiceCreate",
    method: "POST",
    path: "/services/create",
    stream: "json",
    status: "planned",
  },
  {
    name: "ServiceInspect",
    method: "GET",
    path: "/services/{id}",
    stream: "json",
    status: "planned",
  },
  {
    name: "ServiceDelete",
    method: "DELETE",
    path: "/services/{id}",
    stream: "json",
    status: "planned",
  },
  {
    name: "ServiceUpdate",
    method: "POST",
    path: "/services/{id}/update",
    stream: "json",
    status: "planned",
  },
  {
    name: "ServiceLogs",
    method: "GET",
    path: "/services/{id}/logs",
    since: "1.29",
    stream: "raw",
    status: "planned",
  },
  { name: "TaskList", method: "GET", path: "/tasks", stream: "json", status: "planned" },
  { name: "TaskInspect", method: "GET", path: "/tasks/{id}", stream: "json", status: "planned" },
  {
    name: "TaskLogs",
    method: "GET",
    path: "/tasks/{id}/logs",
    since: "1.29",
    stream: "raw",
    status: "planned",
  },
  {
    name: "SecretList",
    method: "GET",
    path: "/secrets",
    since: "1.25",
    stream: "json",
    status: "planned",
  },
  {
    name: "SecretCreate",
    method: "POST",
    path: "/secrets/create",
    since: "1.25",
    stream: "json",
    status: "planned",
  },
  {
    name: "SecretInspect",
    method: "GET",
    path: "/secrets/{id}",
    since: "1.25",
    stream: "json",
    status: "planned",
  },
  {
    name: "SecretDelete",
    method: "DELETE",
    path: "/secrets/{id}",
    since: "1.25",
    stream: "none",
    status: "planned",
  },
  {
    name: "SecretUpdate",
    method: "POST",
    path: "/secrets/{id}/update",
    since: "1.25",
    stream: "none",
    status: "planned",
  },
  {
    name: "ConfigList",
    method: "GET",
    path: "/configs",
    since: "1.30",
    stream: "json",
    status: "planned",
  },
  {
    name: "ConfigCreate",
    method: "POST",
    path: "/configs/create",
    since: "1.30",
    stream: "json",
    status: "planned",
  },
  {
    name: "ConfigInspect",
    method: "GET",
    path: "/configs/{id}",
    since: "1.30",
    stream: "json",
    status: "planned",
  },
  {
    name: "ConfigDelete",
    method: "DELETE",
    path: "/configs/{id}",
    since: "1.30",
    stream: "none",
    status: "planned",
  },
  {
    name: "ConfigUpdate",
    method: "POST",
    path: "/configs/{id}/update",
    since: "1.30",
    stream: "none",
    status: "planned",
  },
  { name: "PluginList", method: "GET", path: "/plugins", stream: "json", status: "planned" },
  {
    name: "GetPluginPrivileges",
    method: "GET",
    path: "/plugins/privileges",
    stream: "json",
    status: "planned",
  },
  {
    name: "PluginInspect",
    method: "GET",
    path: "/plugins/{name}/json",
    stream: "json",
    status: "planned",
  },
  {
    name: "PluginDelete",
    method: "DELETE",
    path: "/plugins/{name}",
    stream: "json",
    status: "planned",
  },
  {
    name: "PluginEnable",
    method: "POST",
    path: "/plugins/{name}/enable",
    stream: "json",
    status: "planned",
  },
  {
    name: "PluginDisable",
    method: "POST",
    path: "/plugins/{name}/disable",
    stream: "json",
    status: "planned",
  },
  { name: "PluginPull", method: "POST", path: "/plugins/pull", stream: "json", status: "planned" },
  {
    name: "PluginPush",
    method: "POST",
    path: "/plugins/{name}/push",
    stream: "json",
    status: "planned",
  },
  {
    name: "PluginUpgrade",
    method: "POST",
    path: "/plugins/{name}/upgrade",
    since: "1.26",
    stream: "json",
    status: "planned",
  },
  {
    name: "PluginSet",
    method: "POST",
    path: "/plugins/{name}/set",
    stream: "json",
    status: "planned",
  },
  {
    name: "PluginCreate",
    method: "POST",
    path: "/plugins/create",
    stream: "json",
    status: "planned",
  },
];

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

/** Renders the table, one line per operation, in a fixed order of columns. */
export function renderRoutes(): string {
  const lines = routes.map((route) =>
    [
      route.method.padEnd(6),
      route.path.padEnd(44),
      route.name.padEnd(25),
      `${route.since ?? ""}-${route.until ?? ""}`.padEnd(10),
      route.stream.padEnd(7),
      `${route.request ?? "-"} > ${route.response ?? "-"}`.padEnd(52),
      route.status,
    ].join(" "),
  );
  return `${lines.join("\n")}\n`;
}

interface Pattern {
  readonly route: Route;
  readonly segments: readonly string[];
}

const routesByName = new Map(routes.map((route) => [route.name, route]));

const patternsByStart = Map.groupBy(
  routes.map((route): Pattern => ({ route, segments: route.path.split("/").slice(1) })),
  ({ route, segments }) => `${route.method} ${segments[0]}`,
);

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
