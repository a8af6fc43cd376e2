/**
 * What inspect answers hold when a member is left out or null: its type's zero value, as templates
 * on Docker's own types print it.
 */
import { GoNil, noValue } from "./go-value.ts";

const pointers = [
  ...["Health", "Healthcheck", "Init", "StopTimeout", "MemorySwappiness", "OomKillDisable"],
  ...["PidsLimit", "SizeRw", "SizeRootFs", "ImageManifestDescriptor", "Descriptor", "IPAMConfig"],
  ...["Secrets", "UsageData", "ClusterVolume", "BindOptions", "VolumeOptions", "TmpfsOptions"],
];
const texts = [
  ...["StopSignal", "MacAddress", "Runtime", "Variant", "OsVersion", "Author", "Comment", "Parent"],
  ...["DockerVersion", "Name", "Driver", "Container", "NetworkID", "Error", "CreatedAt"],
  "Created",
];
const lists = [
  ...["Env", "Cmd", "Entrypoint", "OnBuild", "Shell", "Binds", "CapAdd", "CapDrop", "Dns"],
  ...["DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "Links", "SecurityOpt", "VolumesFrom"],
  ...["Devices", "DeviceRequests", "DeviceCgroupRules", "Ulimits", "MaskedPaths", "ReadonlyPaths"],
  ...["BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps"],
  ...["BlkioDeviceWriteIOps", "Mounts", "ExecIDs", "Aliases", "DNSNames", "RepoTags", "Warnings"],
  ...["RepoDigests", "Layers", "Manifests", "Config", "SecondaryIPAddresses"],
];
const maps = [
  ...["Labels", "Volumes", "ExposedPorts", "PortBindings", "Ports", "Sysctls", "Tmpfs"],
  ...["StorageOpt", "Annotations", "Options", "DriverOpts", "Data", "Networks", "Containers"],
  ...["Status", "Attributes", "Metadata"],
];
const switches = ["NetworkDisabled", "ArgsEscaped"];

const zeros: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ...pointers.map((name) => [name, new GoNil("<nil>")] as const),
  ...texts.map((name) => [name, ""] as const),
  ...lists.map((name) => [name, new GoNil("[]")] as const),
  ...maps.map((name) => [name, new GoNil("map[]")] as const),
  ...switches.map((name) => [name, false] as const),
]);

/** Reads a member that is not there; undefined when no such member is known. */
export function missingMember(record: object, name: string): unknown {
  if (zeros.has(name)) return zeros.get(name);
  return looksLikeMap(record) ? noValue : undefined;
}

/** Names of labels, networks and ports are not those of Go's struct members. */
function looksLikeMap(record: object): boolean {
  const names = Object.keys(record);
  return names.length === 0 || names.some((name) => !/^[A-Z][A-Za-z0-9]*$/.test(name));
}
