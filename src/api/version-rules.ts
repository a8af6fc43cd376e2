/** How the answers of older API versions differ: data, and what applies it. */
import { compareVersions } from "./versions.ts";

/**
 * One difference of an answer in some versions.
 *
 * `path` names a field from the top of the body, through arrays as through objects.
 * - `drop`: the field is not there
 * - `set`: the field is there with this value, if it was not
 * - `replace`: the field has this value, whatever it was
 * - `copy`: the field is there with the value of its sibling `from`
 */
export interface VersionRule {
  readonly route: string;
  /** First version with the difference. */
  readonly since?: string;
  /** Last version with the difference. */
  readonly until?: string;
  readonly path: string;
  readonly change:
    | { readonly kind: "drop" }
    | { readonly kind: "set" | "replace"; readonly value: unknown }
    | { readonly kind: "copy"; readonly from: string };
  /** Only where the field holds no elements. */
  readonly onlyEmpty?: true;
  /** Only where a sibling is the list of these elements. */
  readonly beside?: { readonly name: string; readonly elements: readonly string[] };
}

const drop = { kind: "drop" } as const;

/** Fields of a container configuration that image answers carried without meaning. */
const legacyImageConfig: Readonly<Record<string, unknown>> = {
  Hostname: "",
  Domainname: "",
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: "",
};

const noContainerConfig: Readonly<Record<string, unknown>> = {
  ...legacyImageConfig,
  User: "",
  Env: null,
  Cmd: null,
  Volumes: null,
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
};

/** An image without any name had one of each kind that says so; one kind alone was null. */
const namelessImages: readonly VersionRule[] = [
  { path: "RepoTags", value: ["<none>:<none>"], beside: { name: "RepoDigests", elements: [] } },
  {
    path: "RepoDigests",
    value: ["<none>@<none>"],
    beside: { name: "RepoTags", elements: ["<none>:<none>"] },
  },
  { path: "RepoTags", value: null },
  { path: "RepoDigests", value: null },
].map(({ value, ...rule }) => ({
  ...rule,
  route: "ImageList",
  until: "1.42",
  change: { kind: "replace", value },
  onlyEmpty: true,
}));

/**
 * Every difference of the answers between the oldest and the newest version served.
 *
 * Read from Docker 28.5 by asking each version in turn and comparing; the fields that it did not
 * print then (`ImageManifestDescriptor`, `Manifests`, …) are from the API's own change log.
 */
export const versionRules: readonly VersionRule[] = [
  { route: "SystemInfo", until: "1.49", path: "BridgeNfIptables", change: setTo(true) },
  { route: "SystemInfo", until: "1.49", path: "BridgeNfIp6tables", change: setTo(true) },
  { route: "SystemInfo", until: "1.49", path: "DiscoveredDevices", change: drop },
  { route: "SystemInfo", until: "1.48", path: "FirewallBackend", change: drop },
  { route: "SystemInfo", until: "1.48", path: "RuncCommit.Expected", change: copyOf("ID") },
  { route: "SystemInfo", until: "1.48", path: "InitCommit.Expected", change: copyOf("ID") },
  {
    route: "SystemInfo",
    until: "1.46",
    path: "RegistryConfig.AllowNondistributableArtifactsCIDRs",
    change: setTo(null),
  },
  {
    route: "SystemInfo",
    until: "1.46",
    path: "RegistryConfig.AllowNondistributableArtifactsHostnames",
    change: setTo(null),
  },
  { route: "SystemInfo", until: "1.45", path: "Containerd", change: drop },
  { route: "SystemInfo", until: "1.41", path: "KernelMemory", change: setTo(false) },
  { route: "ImageList", until: "1.50", path: "Containers", change: { kind: "replace", value: -1 } },
  { route: "ImageList", until: "1.47", path: "Descriptor", change: drop },
  { route: "ImageList", until: "1.46", path: "Manifests", change: drop },
  { route: "ImageList", until: "1.43", path: "VirtualSize", change: copyOf("Size") },
  { route: "SystemDataUsage", until: "1.43", path: "Images.VirtualSize", change: copyOf("Size") },
  ...namelessImages,
  ...Object.entries(legacyImageConfig).map(
    ([name, value]): VersionRule => ({
      route: "ImageInspect",
      until: "1.49",
      path: `Config.${name}`,
      change: setTo(value),
    }),
  ),
  { route: "ImageInspect", until: "1.47", path: "Descriptor", change: drop },
  { route: "ImageInspect", until: "1.47", path: "Manifests", change: drop },
  {
    route: "ImageInspect",
    until: "1.44",
    path: "ContainerConfig",
    change: setTo(noContainerConfig),
  },
  { route: "ImageInspect", until: "1.43", path: "VirtualSize", change: copyOf("Size") },
  { route: "ContainerList", until: "1.47", path: "ImageManifestDescriptor", change: drop },
  { route: "ContainerList", until: "1.45", path: "HostConfig.Annotations", change: drop },
  { route: "ContainerInspect", until: "1.47", path: "ImageManifestDescriptor", change: drop },
];

/**
 * Gives an answer the shape it has in `version`.
 *
 * The body is not changed; what differs is copied. In the newest version it is returned as it is.
 */
export function adaptResponse(route: string, body: unknown, version: string): unknown {
  let adapted = body;
  for (const rule of rulesOf(route)) {
    if (rule.until !== undefined && compareVersions(version, rule.until) > 0) continue;
    if (rule.since !== undefined && compareVersions(version, rule.since) < 0) continue;
    adapted = applyRule(adapted, rule.path.split("."), rule);
  }
  return adapted;
}

const rulesByRoute = Map.groupBy(versionRules, (rule) => rule.route);

function rulesOf(route: string): readonly VersionRule[] {
  return rulesByRoute.get(route) ?? [];
}

function applyRule(body: unknown, path: readonly string[], rule: VersionRule): unknown {
  if (Array.isArray(body)) return body.map((element: unknown) => applyRule(element, path, rule));
  const [name, ...rest] = path;
  if (typeof body !== "object" || body === null || name === undefined) return body;
  const fields = new Map(Object.entries(body));
  if (rest.length > 0) {
    if (!fields.has(name)) return body;
    fields.set(name, applyRule(fields.get(name), rest, rule));
  } else applyChange(fields, name, rule);
  return Object.fromEntries(fields);
}

function applyChange(fields: Map<string, unknown>, name: string, rule: VersionRule): void {
  const { change } = rule;
  const old = fields.get(name);
  if (rule.onlyEmpty === true && !(Array.isArray(old) && old.length === 0)) return;
  if (rule.beside !== undefined) {
    const { name: sibling, elements } = rule.beside;
    if (JSON.stringify(fields.get(sibling)) !== JSON.stringify(elements)) return;
  }
  if (change.kind === "drop") fields.delete(name);
  else if (change.kind === "replace") fields.set(name, change.value);
  else if (change.kind === "copy") fields.set(name, fields.get(change.from));
  else if (old === undefined) fields.set(name, change.value);
}

function setTo(value: unknown): VersionRule["change"] {
  return { kind: "set", value };
}

function copyOf(from: string): VersionRule["change"] {
  return { kind: "copy", from };
}
