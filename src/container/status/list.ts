import { isAbsolute } from "node:path";
import type { ContainerSummary, Port } from "../../api/container.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { booleanFilter, checkFilterNames, matchesLabels } from "../../lib/filters.ts";
import { parseContainerPorts } from "../../network/ports.ts";
import type { Context } from "../context.ts";
import type { FilterMap } from "../container-service.ts";
import { endpointsOf, mountPointsOf, sizesOf, statusOf } from "./inspect.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { findPattern, type Pattern } from "./pattern.ts";
import type { ContainerRecord } from "../record/record.ts";
import { formatStatus } from "./status-text.ts";

/** Names of filters that a list takes. */
export const listFilterNames: readonly string[] = [
  "ancestor",
  "before",
  "exited",
  "expose",
  "health",
  "id",
  "is-task",
  "isolation",
  "label",
  "name",
  "network",
  "publish",
  "since",
  "status",
  "volume",
];

/** What `list` may be asked. */
export interface ListOptions {
  readonly all: boolean;
  readonly limit?: number;
  readonly size: boolean;
  readonly filters: FilterMap;
}

/** The containers that pass, newest first. @throws invalid-argument for filters that are none */
export async function listContainers(
  context: Context,
  options: ListOptions,
): Promise<readonly ContainerSummary[]> {
  const passes = await compile(context, options);
  const isLimited = options.limit !== undefined && options.limit > 0;
  const found = context.store
    .all()
    .filter(({ record }) => passes(record))
    .sort(newestFirst);
  const shown = isLimited ? found.slice(0, options.limit) : found;
  return await Promise.all(shown.map((container) => summarize(context, container, options.size)));
}

function newestFirst(one: LiveContainer, other: LiveContainer): number {
  const difference = BigInt(other.record.createdNs) - BigInt(one.record.createdNs);
  return difference > 0n ? 1 : difference < 0n ? -1 : 0;
}

type Passes = (record: ContainerRecord) => boolean;

async function compile(context: Context, options: ListOptions): Promise<Passes> {
  const { filters } = options;
  checkFilterNames(filters, listFilterNames);
  const statuses = statusesOf(filters);
  const exits = (filters.get("exited") ?? []).map(exitCodeOf);
  checkHealth(filters);
  const isTask = booleanFilter(filters, "is-task");
  const ancestors = await ancestorsOf(context, filters.get("ancestor"));
  const before = edgeOf(context, filters.get("before"));
  const since = edgeOf(context, filters.get("since"));
  const names = patternsOf(filters.get("name"));
  const ids = patternsOf(filters.get("id"));
  const expose = portsOf(filters.get("expose"), "expose");
  const publish = portsOf(filters.get("publish"), "publish");
  // Docker: these ask for stopped ones too, seen in 28.5
  const isAll =
    options.all ||
    statuses !== undefined ||
    exits.length > 0 ||
    before !== undefined ||
    since !== undefined ||
    (options.limit ?? 0) > 0;
  return (record) => {
    // `isolation` means nothing on Linux, here as in Docker.
    const status = statusOf(record);
    if (!isAll && status !== "running" && status !== "paused") return false;
    if (statuses !== undefined && !statuses.includes(status)) return false;
    if (isTask === true) return false;
    if (exits.length > 0 && !(status === "exited" && exits.includes(record.exitCode))) return false;
    if (before !== undefined && BigInt(record.createdNs) >= before) return false;
    if (since !== undefined && BigInt(record.createdNs) <= since) return false;
    if (ancestors !== undefined && !ancestors.has(record.image.id)) return false;
    return (
      matchesHealth(filters.get("health")) &&
      (names === undefined || names(`/${record.name}`, record.name)) &&
      (ids === undefined || ids(record.id)) &&
      matchesLabels(record.config.Labels, filters.get("label")) &&
      matchesNetwork(record, filters.get("network")) &&
      matchesVolume(record, filters.get("volume")) &&
      (expose === undefined || exposedOf(record).some((port) => expose.has(port))) &&
      (publish === undefined || publishedOf(record).some((port) => publish.has(port)))
    );
  };
}

function statusesOf(filters: FilterMap): readonly string[] | undefined {
  const values = filters.get("status");
  for (const value of values ?? []) {
    if (containerStatusNames.includes(value)) continue;
    throw invalid(
      `invalid filter 'status=${value}': invalid value for state (${value}): ` +
        `must be one of ${containerStatusNames.join(", ")}`,
    );
  }
  return values === undefined || values.length === 0 ? undefined : values;
}

const containerStatusNames = [
  "created",
  "running",
  "paused",
  "restarting",
  "removing",
  "exited",
  "dead",
];
const healthNames = ["none", "starting", "healthy", "unhealthy"];

function exitCodeOf(value: string): number {
  if (/^[+-]?\d{1,9}$/.test(value)) return Number(value);
  throw invalid(
    `invalid filter 'exited=${value}': strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`,
  );
}

function checkHealth(filters: FilterMap): void {
  for (const value of filters.get("health") ?? []) {
    if (healthNames.includes(value)) continue;
    throw invalid(
      `invalid filter 'health=${value}': invalid value for health (${value}): ` +
        `must be one of ${healthNames.join(", ")}`,
    );
  }
}

/** Probes do not run yet: every container is as one without. */
function matchesHealth(values: readonly string[] | undefined): boolean {
  return values === undefined || values.length === 0 || values.includes("none");
}

async function ancestorsOf(
  context: Context,
  values: readonly string[] | undefined,
): Promise<ReadonlySet<string> | undefined> {
  if (values === undefined || values.length === 0) return undefined;
  const ids = await Promise.all(
    values.map(async (value) => {
      try {
        return (await context.images.resolve(value)).id;
      } catch (error) {
        if (isKind(error, "not-found", "invalid-argument", "conflict")) return undefined;
        throw error;
      }
    }),
  );
  return new Set<string>(ids.filter((id) => id !== undefined));
}

/** When the container of `before` or `since` was created; of several the last counts. */
function edgeOf(context: Context, values: readonly string[] | undefined): bigint | undefined {
  const last = values?.at(-1);
  return last === undefined ? undefined : BigInt(context.store.get(last).record.createdNs);
}

function patternsOf(
  values: readonly string[] | undefined,
): ((...texts: string[]) => boolean) | undefined {
  if (values === undefined || values.length === 0) return undefined;
  const patterns = values.map(findPattern).filter((one): one is Pattern => one !== undefined);
  return (...texts) =>
    texts.some(
      (text) => values.includes(text) || patterns.some((pattern) => pattern.matches(text)),
    );
}

function portsOf(
  values: readonly string[] | undefined,
  what: string,
): ReadonlySet<string> | undefined {
  if (values === undefined || values.length === 0) return undefined;
  const ports = new Set<string>();
  for (const value of values) {
    // Docker: another protocol fits nothing, seen in 28.5
    if (/^\d+(-\d+)?\/(?!tcp$|udp$)/i.test(value)) continue;
    try {
      for (const { port, protocol } of parseContainerPorts(value)) ports.add(`${port}/${protocol}`);
    } catch (error) {
      if (!isKind(error, "invalid-argument")) throw error;
      const text = JSON.stringify(value.split("/")[0]);
      throw invalid(
        `error while looking up for ${what} ${value}: strconv.ParseUint: parsing ${text}: invalid syntax`,
      );
    }
  }
  return ports;
}

function exposedOf(record: ContainerRecord): readonly string[] {
  return Object.keys(record.config.ExposedPorts ?? {}).flatMap((key) => {
    const [range = "", protocol = "tcp"] = key.split("/");
    const [first = "0", last = first] = range.split("-");
    const count = Math.min(Math.max(Number(last) - Number(first) + 1, 0), 65_536);
    return Array.from({ length: count }, (_, index) => `${Number(first) + index}/${protocol}`);
  });
}

/** Docker: ports of the host, of running containers alone, seen in 28.5. */
function publishedOf(record: ContainerRecord): readonly string[] {
  if (!["running", "paused"].includes(record.phase)) return [];
  return (record.task?.ports ?? []).map((port) => `${port.hostPort}/${port.protocol}`);
}

function matchesNetwork(record: ContainerRecord, values: readonly string[] | undefined): boolean {
  if (values === undefined || values.length === 0) return true;
  const names = Object.keys(record.endpointSettings);
  const id = record.task?.endpoint?.networkId ?? "";
  return values.some(
    (value) =>
      names.some((name) => name === value) || (id !== "" && value !== "" && id.startsWith(value)),
  );
}

function matchesVolume(record: ContainerRecord, values: readonly string[] | undefined): boolean {
  if (values === undefined || values.length === 0) return true;
  return record.mounts.some((mount) =>
    values.some(
      (value) =>
        mount.volume === value ||
        (isAbsolute(value) && (mount.target === value || mount.source === value)),
    ),
  );
}

async function summarize(
  context: Context,
  container: LiveContainer,
  hasSize: boolean,
): Promise<ContainerSummary> {
  const { record } = container;
  const { config, hostConfig } = record;
  const status = statusOf(record);
  const sizes = hasSize ? await sizesOf(context, record) : undefined;
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    // Docker: a name that went to another image is not shown, seen in 28.5
    Image: context.images.isCalled(config.Image, record.image.id) ? config.Image : record.image.id,
    ImageID: record.image.id,
    Command: commandText(record.args),
    Created: Number(BigInt(record.createdNs) / 1_000_000_000n),
    Ports: portSummaries(record),
    // Docker: a size of 0 is left out, seen in 28.5
    ...(sizes === undefined || sizes.SizeRw === 0 ? {} : { SizeRw: sizes.SizeRw }),
    ...(sizes === undefined ? {} : { SizeRootFs: sizes.SizeRootFs }),
    Labels: config.Labels ?? {},
    State: status,
    Status: formatStatus({
      status,
      exitCode: record.exitCode,
      ...(record.startedNs === undefined ? {} : { startedAtNs: record.startedNs }),
      ...(record.finishedNs === undefined ? {} : { finishedAtNs: record.finishedNs }),
      nowNs: context.now(),
    }),
    HostConfig: {
      NetworkMode: hostConfig.NetworkMode,
      ...(hostConfig.Annotations === undefined ? {} : { Annotations: hostConfig.Annotations }),
    },
    NetworkSettings: { Networks: endpointsOf(context, record) },
    // Docker: where a volume lies is told by inspect alone, seen in 28.5
    Mounts: mountPointsOf(context, record).map((mount) =>
      mount.Type === "volume" ? { ...mount, Source: "" } : mount,
    ),
  };
}

/** Docker: quoted where it has a space, without care for quotes inside, seen in 28.5 */
function commandText(args: readonly string[]): string {
  const [program = "", ...rest] = args;
  return [program, ...rest.map((word) => (word.includes(" ") ? `'${word}'` : word))].join(" ");
}

function portSummaries(record: ContainerRecord): readonly Port[] {
  if (!["running", "paused"].includes(record.phase)) return [];
  if (record.endpointSettings["bridge"] === undefined) return [];
  const bound: Port[] = (record.task?.ports ?? []).map((port) => ({
    IP: port.hostIp,
    PrivatePort: port.containerPort,
    PublicPort: port.hostPort,
    Type: port.protocol,
  }));
  const keys = new Set(bound.map((port) => `${port.PrivatePort}/${port.Type}`));
  const exposed = exposedOf(record)
    .filter((key) => !keys.has(key))
    .map((key) => ({
      PrivatePort: Number.parseInt(key, 10),
      Type: key.split("/")[1] ?? "tcp",
    }));
  return [...bound, ...exposed];
}

function invalid(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence);
}
