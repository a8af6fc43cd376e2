/** How containers are listed. */
import type { ContainerSummary, Port } from "../../api/container.ts";
import { goTime, listSize, shortId, since } from "../format/human.ts";
import type { Listing } from "../format/listing.ts";
import { ellipsis } from "../format/table.ts";
import { quoteGo } from "../template/go-value.ts";

const commandMaxWidth = 20;
const mountMaxWidth = 15;

/** The columns of `ps`. */
export function containerListing(options: {
  readonly isTruncated: boolean;
  readonly showsSize: boolean;
}): Listing<ContainerSummary> {
  const { isTruncated, showsSize } = options;
  const columns = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
  return {
    typeName: "ContainerContext",
    quiet: "ID",
    columns: showsSize ? [...columns, "Size"] : columns,
    headers,
    jsonFields: Object.keys(headers).filter((name) => name !== "Label"),
    fields: {
      ID: (item) => (isTruncated ? shortId(item.Id) : item.Id),
      Names: (item) => namesOf(item, isTruncated),
      Image: (item) => imageOf(item, isTruncated),
      Command: (item) =>
        quoteGo(isTruncated ? ellipsis(item.Command, commandMaxWidth) : item.Command),
      CreatedAt: (item) => goTime(item.Created),
      RunningFor: (item) => since(item.Created),
      Platform: (item) => platformOf(item),
      Ports: (item) => formatPorts(item.Ports),
      State: (item) => item.State,
      Status: (item) => item.Status,
      Size: sizeOf,
      Labels: (item) => labelPairs(item.Labels),
      Label: (item) => (name: string) => item.Labels?.[name] ?? "",
      Mounts: (item) => mountsOf(item, isTruncated),
      LocalVolumes: (item) =>
        String((item.Mounts ?? []).filter((mount) => mount.Driver === "local").length),
      Networks: (item) =>
        Object.keys(item.NetworkSettings?.Networks ?? {})
          .sort()
          .join(","),
    },
  };
}

const headers: Readonly<Record<string, string>> = {
  ID: "CONTAINER ID",
  Names: "NAMES",
  Image: "IMAGE",
  Command: "COMMAND",
  CreatedAt: "CREATED AT",
  RunningFor: "CREATED",
  Platform: "PLATFORM",
  Ports: "PORTS",
  State: "STATE",
  Status: "STATUS",
  Size: "SIZE",
  Labels: "LABELS",
  Mounts: "MOUNTS",
  LocalVolumes: "LOCAL VOLUMES",
  Networks: "NETWORKS",
};

/** Labels as lists show them: `a=1,b=2`. */
export function labelPairs(labels: Readonly<Record<string, string>> | null | undefined): string {
  return Object.entries(labels ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(",");
}

/** Ports as `ps` shows them: neighbours joined to ranges, host addresses before them. */
export function formatPorts(ports: readonly Port[]): string {
  const groups = new Map<string, { first: number; last: number }>();
  const ready: string[] = [];
  const mappings: string[] = [];
  for (const port of [...ports].sort(comparePorts)) {
    const { IP: ip = "", PrivatePort: own, PublicPort: host = 0, Type: type } = port;
    if (ip !== "" && host !== own) {
      mappings.push(`${joinHost(ip, String(host))}->${own}/${type}`);
      continue;
    }
    const key = ip === "" ? type : `${ip}/${type}`;
    const group = groups.get(key);
    if (group !== undefined && own === group.last + 1) {
      group.last = own;
      continue;
    }
    if (group !== undefined) ready.push(formatGroup(key, group));
    groups.set(key, { first: own, last: own });
  }
  for (const [key, group] of groups) ready.push(formatGroup(key, group));
  return [...ready, ...mappings].join(", ");
}

function formatGroup(
  key: string,
  group: { readonly first: number; readonly last: number },
): string {
  const slash = key.lastIndexOf("/");
  const ip = slash < 0 ? "" : key.slice(0, slash);
  const range = group.first === group.last ? `${group.first}` : `${group.first}-${group.last}`;
  const mapped = ip === "" ? range : `${joinHost(ip, range)}->${range}`;
  return `${mapped}/${key.slice(slash + 1)}`;
}

function comparePorts(left: Port, right: Port): number {
  if (left.PrivatePort !== right.PrivatePort) return left.PrivatePort - right.PrivatePort;
  const [leftIp, rightIp] = [left.IP ?? "", right.IP ?? ""];
  if (leftIp !== rightIp) return leftIp < rightIp ? -1 : 1;
  const difference = (left.PublicPort ?? 0) - (right.PublicPort ?? 0);
  if (difference !== 0) return difference;
  return left.Type < right.Type ? -1 : Number(left.Type > right.Type);
}

function joinHost(ip: string, port: string): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function namesOf(item: ContainerSummary, isTruncated: boolean): string {
  const names = item.Names.map((name) => name.replace(/^\//, ""));
  // A name with a slash is another container's link to this one.
  const own = isTruncated ? names.filter((name) => !name.includes("/")) : names;
  return own.join(",");
}

function imageOf(item: ContainerSummary, isTruncated: boolean): string {
  if (item.Image === "") return "<no image>";
  if (!isTruncated) return item.Image;
  const id = shortId(item.ImageID);
  if (id === shortId(item.Image)) return id;
  const at = item.Image.indexOf("@");
  return at > 0 && /:[^/]*@/.test(item.Image) ? item.Image.slice(0, at) : item.Image;
}

function sizeOf(item: ContainerSummary): string {
  const own = listSize(item.SizeRw ?? 0);
  const total = item.SizeRootFs ?? 0;
  return total > 0 ? `${own} (virtual ${listSize(total)})` : own;
}

function mountsOf(item: ContainerSummary, isTruncated: boolean): string {
  return (item.Mounts ?? [])
    .map((mount) => (mount.Name === undefined || mount.Name === "" ? mount.Source : mount.Name))
    .map((name) => (isTruncated ? ellipsis(name, mountMaxWidth) : name))
    .join(",");
}

function platformOf(item: ContainerSummary): unknown {
  const descriptor = new Map<string, unknown>(Object.entries(item)).get("ImageManifestDescriptor");
  if (typeof descriptor !== "object" || descriptor === null || !("platform" in descriptor))
    return null;
  return descriptor.platform;
}
