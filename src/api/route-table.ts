/**
 * The table of all operations of the Engine API.
 *
 * The server registers from it, the client and the documents are checked against it, and
 * `test/golden/routes.txt` is its rendering.
 *
 * @see Engine API v1.51; the operations it leaves out are those that moby serves besides
 */

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
  | "PluginCreate"
  | "ImageSignatures"
  | "ImageSign"
  | "DistributionTags"
  | "DistributionManifest"
  | "DistributionPush";

type Row = Omit<Route, "status">;

/** Operations that are answered. */
const implemented: readonly Row[] = [
  operation("SystemPing", "GET /_ping", "text", { response: "Ping" }),
  operation("SystemPingHead", "HEAD /_ping", "none", { response: "Ping" }),
  operation("SystemVersion", "GET /version", "json", { response: "SystemVersion" }),
  operation("SystemInfo", "GET /info", "json", { response: "SystemInfo" }),
  operation("SystemEvents", "GET /events", "ndjson", { response: "EventMessage" }),
  operation("SystemAuth", "POST /auth", "json", {
    request: "AuthConfig",
    response: "AuthResponse",
  }),
  operation("ContainerList", "GET /containers/json", "json", { response: "ContainerSummary[]" }),
  operation("ContainerPrune", "POST /containers/prune", "json", {
    since: "1.25",
    response: "ContainerPruneResponse",
  }),
  operation("ContainerCreate", "POST /containers/create", "json", {
    request: "ContainerCreateRequest",
    response: "ContainerCreateResponse",
  }),
  operation("ContainerInspect", "GET /containers/{id}/json", "json", {
    response: "ContainerInspectResponse",
  }),
  operation("ContainerTop", "GET /containers/{id}/top", "json", {
    response: "ContainerTopResponse",
  }),
  operation("ContainerLogs", "GET /containers/{id}/logs", "raw"),
  operation("ContainerAttachWebsocket", "GET /containers/{id}/attach/ws", "upgrade"),
  operation("ContainerStart", "POST /containers/{id}/start", "none"),
  operation("ContainerStop", "POST /containers/{id}/stop", "none"),
  operation("ContainerRestart", "POST /containers/{id}/restart", "none"),
  operation("ContainerKill", "POST /containers/{id}/kill", "none"),
  operation("ContainerRename", "POST /containers/{id}/rename", "none"),
  operation("ContainerPause", "POST /containers/{id}/pause", "none"),
  operation("ContainerUnpause", "POST /containers/{id}/unpause", "none"),
  operation("ContainerAttach", "POST /containers/{id}/attach", "hijack"),
  operation("ContainerResize", "POST /containers/{id}/resize", "none"),
  operation("ContainerWait", "POST /containers/{id}/wait", "json", {
    response: "ContainerWaitResponse",
  }),
  operation("ContainerDelete", "DELETE /containers/{id}", "none"),
  operation("ContainerExec", "POST /containers/{id}/exec", "json", {
    request: "ExecCreateRequest",
    response: "ExecCreateResponse",
  }),
  operation("ExecStart", "POST /exec/{id}/start", "hijack", { request: "ExecStartRequest" }),
  operation("ExecResize", "POST /exec/{id}/resize", "none"),
  operation("ExecInspect", "GET /exec/{id}/json", "json", { response: "ExecInspectResponse" }),
  operation("ImageList", "GET /images/json", "json", { response: "ImageSummary[]" }),
  operation("ImageGetAll", "GET /images/get", "tar"),
  operation("ImageInspect", "GET /images/{name}/json", "json", { response: "ImageInspect" }),
  operation("ImageHistory", "GET /images/{name}/history", "json", {
    response: "HistoryResponseItem[]",
  }),
  operation("ImageGet", "GET /images/{name}/get", "tar"),
  operation("ImageCreate", "POST /images/create", "ndjson", {
    request: "tar",
    response: "JsonMessage",
  }),
  operation("ImageLoad", "POST /images/load", "ndjson", {
    request: "tar",
    response: "JsonMessage",
  }),
  operation("ImagePrune", "POST /images/prune", "json", {
    since: "1.25",
    response: "ImagePruneResponse",
  }),
  operation("ImageTag", "POST /images/{name}/tag", "none"),
  operation("ImageDelete", "DELETE /images/{name}", "json", {
    response: "ImageDeleteResponseItem[]",
  }),
  operation("ImageBuild", "POST /build", "ndjson", { request: "tar", response: "JsonMessage" }),
  operation("BuildPrune", "POST /build/prune", "json", { since: "1.31" }),
  operation("BuildCancel", "POST /build/cancel", "none", { since: "1.39" }),
  operation("Session", "POST /session", "hijack", { since: "1.31" }),
  operation("Grpc", "POST /grpc", "hijack", { since: "1.39" }),
  operation("NetworkList", "GET /networks", "json", { response: "Network[]" }),
  operation("NetworkInspect", "GET /networks/{id}", "json", { response: "Network" }),
  operation("NetworkPrune", "POST /networks/prune", "json", {
    since: "1.25",
    response: "NetworkPruneResponse",
  }),
  operation("VolumeList", "GET /volumes", "json", { response: "VolumeListResponse" }),
  operation("VolumeInspect", "GET /volumes/{name}", "json", { response: "Volume" }),
  operation("VolumeCreate", "POST /volumes/create", "json", {
    request: "VolumeCreateRequest",
    response: "Volume",
  }),
  operation("VolumePrune", "POST /volumes/prune", "json", {
    since: "1.25",
    response: "VolumePruneResponse",
  }),
  operation("VolumeDelete", "DELETE /volumes/{name}", "none"),
  operation("ContainerChanges", "GET /containers/{id}/changes", "json", {
    response: "FilesystemChange[]",
  }),
  operation("ContainerExport", "GET /containers/{id}/export", "tar"),
  operation("ImageCommit", "POST /commit", "json", {
    request: "ContainerConfig",
    response: "IdResponse",
  }),
  operation("SystemDataUsage", "GET /system/df", "json", { response: "SystemDiskUsage" }),
  operation("ImageSearch", "GET /images/search", "json"),
  operation("ImagePush", "POST /images/{name}/push", "ndjson", { response: "JsonMessage" }),
  operation("DistributionInspect", "GET /distribution/{name}/json", "json", { since: "1.30" }),
];

/** Operations that Docker does not have. */
const own: readonly Row[] = [
  operation("ImageSignatures", "GET /images/{name}/signatures", "json", {
    response: "ImageSignatures",
  }),
  operation("ImageSign", "POST /images/{name}/signatures", "none", {
    request: "ImageSignatureItem",
  }),
  operation("DistributionTags", "GET /distribution/{name}/tags", "json"),
  operation("DistributionManifest", "GET /distribution/{name}/manifest", "json"),
  operation("DistributionPush", "PUT /distribution/{name}/manifest", "json", {
    request: "manifest",
  }),
];

/** Operations that are known by name and answered 501. */
const planned: readonly Row[] = [
  operation("ContainerStats", "GET /containers/{id}/stats", "ndjson", {
    response: "ContainerStatsResponse",
  }),
  operation("ContainerArchiveInfo", "HEAD /containers/{id}/archive", "none"),
  operation("ContainerArchive", "GET /containers/{id}/archive", "tar"),
  operation("PutContainerArchive", "PUT /containers/{id}/archive", "none", { request: "tar" }),
  operation("ContainerUpdate", "POST /containers/{id}/update", "json", {
    request: "ContainerUpdateRequest",
    response: "ContainerUpdateResponse",
  }),
  operation("CheckpointList", "GET /containers/{id}/checkpoints", "json"),
  operation("CheckpointCreate", "POST /containers/{id}/checkpoints", "none"),
  operation("CheckpointDelete", "DELETE /containers/{id}/checkpoints/{checkpoint}", "none"),
  operation("VolumeUpdate", "PUT /volumes/{name}", "none", { since: "1.42" }),
  operation("NetworkListSlash", "GET /networks/", "json", { response: "Network[]" }),
  operation("NetworkCreate", "POST /networks/create", "json", {
    request: "NetworkCreateRequest",
    response: "NetworkCreateResponse",
  }),
  operation("NetworkConnect", "POST /networks/{id}/connect", "none", {
    request: "NetworkConnectOptions",
  }),
  operation("NetworkDisconnect", "POST /networks/{id}/disconnect", "none", {
    request: "NetworkDisconnectOptions",
  }),
  operation("NetworkDelete", "DELETE /networks/{id}", "none"),
  operation("SwarmInspect", "GET /swarm", "json"),
  operation("SwarmInit", "POST /swarm/init", "json"),
  operation("SwarmJoin", "POST /swarm/join", "json"),
  operation("SwarmLeave", "POST /swarm/leave", "json"),
  operation("SwarmUpdate", "POST /swarm/update", "json"),
  operation("SwarmUnlockkey", "GET /swarm/unlockkey", "json"),
  operation("SwarmUnlock", "POST /swarm/unlock", "json"),
  operation("NodeList", "GET /nodes", "json"),
  operation("NodeInspect", "GET /nodes/{id}", "json"),
  operation("NodeDelete", "DELETE /nodes/{id}", "json"),
  operation("NodeUpdate", "POST /nodes/{id}/update", "json"),
  operation("ServiceList", "GET /services", "json"),
  operation("ServiceCreate", "POST /services/create", "json"),
  operation("ServiceInspect", "GET /services/{id}", "json"),
  operation("ServiceDelete", "DELETE /services/{id}", "json"),
  operation("ServiceUpdate", "POST /services/{id}/update", "json"),
  operation("ServiceLogs", "GET /services/{id}/logs", "raw", { since: "1.29" }),
  operation("TaskList", "GET /tasks", "json"),
  operation("TaskInspect", "GET /tasks/{id}", "json"),
  operation("TaskLogs", "GET /tasks/{id}/logs", "raw", { since: "1.29" }),
  operation("SecretList", "GET /secrets", "json", { since: "1.25" }),
  operation("SecretCreate", "POST /secrets/create", "json", { since: "1.25" }),
  operation("SecretInspect", "GET /secrets/{id}", "json", { since: "1.25" }),
  operation("SecretDelete", "DELETE /secrets/{id}", "none", { since: "1.25" }),
  operation("SecretUpdate", "POST /secrets/{id}/update", "none", { since: "1.25" }),
  operation("ConfigList", "GET /configs", "json", { since: "1.30" }),
  operation("ConfigCreate", "POST /configs/create", "json", { since: "1.30" }),
  operation("ConfigInspect", "GET /configs/{id}", "json", { since: "1.30" }),
  operation("ConfigDelete", "DELETE /configs/{id}", "none", { since: "1.30" }),
  operation("ConfigUpdate", "POST /configs/{id}/update", "none", { since: "1.30" }),
  operation("PluginList", "GET /plugins", "json"),
  operation("GetPluginPrivileges", "GET /plugins/privileges", "json"),
  operation("PluginInspect", "GET /plugins/{name}/json", "json"),
  operation("PluginDelete", "DELETE /plugins/{name}", "json"),
  operation("PluginEnable", "POST /plugins/{name}/enable", "json"),
  operation("PluginDisable", "POST /plugins/{name}/disable", "json"),
  operation("PluginPull", "POST /plugins/pull", "json"),
  operation("PluginPush", "POST /plugins/{name}/push", "json"),
  operation("PluginUpgrade", "POST /plugins/{name}/upgrade", "json", { since: "1.26" }),
  operation("PluginSet", "POST /plugins/{name}/set", "json"),
  operation("PluginCreate", "POST /plugins/create", "json"),
];

/** Every operation. The order means nothing. */
export const routes: readonly Route[] = [
  ...implemented.map((row): Route => ({ ...row, status: "implemented" })),
  ...own.map((row): Route => ({ ...row, status: "implemented" })),
  ...planned.map((row): Route => ({ ...row, status: "planned" })),
];

/** Renders the table, one line per operation, sorted by path. */
export function renderRoutes(): string {
  const lines = routes.map((route) =>
    [
      route.path.padEnd(44),
      route.method.padEnd(6),
      route.name.padEnd(25),
      `${route.since ?? ""}-${route.until ?? ""}`.padEnd(6),
      route.stream.padEnd(7),
      `${route.request ?? "-"} > ${route.response ?? "-"}`.padEnd(52),
      route.status,
    ].join(" "),
  );
  return `${lines.sort().join("\n")}\n`;
}

function operation(
  name: RouteName,
  target: `${Method} /${string}`,
  stream: StreamKind,
  more: Partial<Pick<Row, "since" | "until" | "request" | "response">> = {},
): Row {
  const split = target.indexOf(" ");
  return {
    name,
    method: target.slice(0, split) as Method,
    path: target.slice(split + 1),
    stream,
    ...more,
  };
}
