/** Takes out of an answer what no two engines can have in common. */
import { at } from "../support/json.ts";

/** Replaces what differs by nature; keeps shape, presence and kind. */
export type Normalise = (value: unknown) => unknown;

/** Numbers that are kept as present or zero only. */
const loose =
  /^(Pid|Created|CreatedAt|time|timeNano|Size|SizeRw|SizeRootFs|VirtualSize|SpaceReclaimed|NFd|NGoroutines|NCPU|MemTotal|Containers\w*|Images)$/;

/** Makes a normaliser for an engine, whose data and runtime folders become `<root>` and `<run>`. */
export function normaliser(folders: {
  readonly dataRoot: string;
  readonly others: Readonly<Record<string, string>>;
}): Normalise {
  const replaceText = (text: string): string => {
    let result = text.replaceAll(folders.dataRoot, "<root>");
    for (const [from, to] of Object.entries(folders.others)) result = result.replaceAll(from, to);
    return result
      .replaceAll(/\b(?:crun|runc)\b/g, "<runtime>")
      .replaceAll(/\b[0-9a-f]{64}\b/g, "<64>")
      .replaceAll(/\b[0-9a-f]{12}\b/g, "<12>")
      .replaceAll(/\b(?!0001)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|\+00:00)/g, "<time $2>")
      .replaceAll(/\b172\.\d+\.\d+\.\d+\b/g, "<ip>")
      .replaceAll(/\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, "<mac>")
      .replaceAll(/\b(Less than a second|About a minute|\d+ (seconds?|minutes?))\b/g, "<ago>");
  };
  const walk = (value: unknown, key: string): unknown => {
    // The names of the storage and of its folders are each engine's own.
    if (key === "GraphDriver") return "<driver>";
    if (key === "SandboxKey" && value !== "") return "<netns>";
    if (key === "Ports" && Array.isArray(value)) return byPort(value).map((item) => walk(item, ""));
    if (key === "Processes") return "<processes>";
    if (key === "Volumes" && Array.isArray(value))
      return byName(value).map((item) => walk(item, ""));
    if (key === "Mounts" && Array.isArray(value))
      return byTarget(value).map((item) => walk(item, ""));
    if (typeof value === "string") return replaceText(value);
    if (key === "SharedSize") return "<shared>";
    if (typeof value === "number") return loose.test(key) ? (value > 0 ? "<n>" : value) : value;
    if (Array.isArray(value)) return value.map((item) => walk(item, key));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [replaceText(name), walk(item, name)]),
    );
  };
  return (value) => walk(value, "");
}

/** Docker lists a container's mounts in the order of a Go map: none. */
function byTarget(mounts: readonly unknown[]): readonly unknown[] {
  const targetOf = (mount: unknown): string =>
    String(at(mount, "Destination") ?? at(mount, "Target") ?? "");
  return mounts.toSorted((a, b) => targetOf(a).localeCompare(targetOf(b)));
}

/** So are volumes. */
function byName(volumes: readonly unknown[]): readonly unknown[] {
  return volumes.toSorted((a, b) => String(at(a, "Name")).localeCompare(String(at(b, "Name"))));
}

/** So are its ports. */
function byPort(ports: readonly unknown[]): readonly unknown[] {
  return ports.toSorted((a, b) => Number(at(a, "PrivatePort")) - Number(at(b, "PrivatePort")));
}

/** One place at which two answers are not the same. */
export interface Difference {
  /** The step and the path inside its answer, as `create plain .body.HostConfig.Dns`. */
  readonly where: string;
  readonly peer: string;
  readonly tug: string;
}

const absent = Symbol("absent");

/** All places at which two values differ; null, [] and absent are three things. */
export function differences(where: string, pair: { peer: unknown; tug: unknown }): Difference[] {
  const { peer, tug } = pair;
  if (isRecord(peer) && isRecord(tug)) {
    const keys = new Set([...Object.keys(peer), ...Object.keys(tug)]);
    return [...keys].flatMap((key) =>
      differences(`${where}.${key}`, { peer: fieldOf(peer, key), tug: fieldOf(tug, key) }),
    );
  }
  if (Array.isArray(peer) && Array.isArray(tug) && peer.length === tug.length) {
    return peer.flatMap((item, index) =>
      differences(`${where}[${index}]`, { peer: item, tug: tug[index] }),
    );
  }
  const [left, right] = [show(peer), show(tug)];
  return left === right ? [] : [{ where, peer: left, tug: right }];
}

function fieldOf(record: object, key: string): unknown {
  return key in record ? Reflect.get(record, key) : absent;
}

function isRecord(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  return value === absent ? "(absent)" : String(JSON.stringify(value));
}
