import type { EventMessage } from "../api/system.ts";
import { EngineError } from "../lib/errors.ts";

/** Filter values by name, as in the `filters` query. */
export type EventFilters = ReadonlyMap<string, readonly string[]>;

/** Names that `filters` may have. @see Engine API v1.51, SystemEvents */
export const eventFilterNames: readonly string[] = [
  "config",
  "container",
  "daemon",
  "event",
  "image",
  "label",
  "network",
  "node",
  "plugin",
  "scope",
  "secret",
  "service",
  "type",
  "volume",
];

/** Filters whose values are an ID or a name, or the beginning of one. */
const objectFilterNames = ["daemon", "container", "plugin", "volume", "network", "node"] as const;
const clusterFilterNames = ["service", "secret", "config"] as const;

/** Actions that go on after a colon (`exec_create: sh`), so that their bare name is a prefix. */
const prefixActions: ReadonlySet<string> = new Set(["health_status", "exec_create", "exec_start"]);

/**
 * Checks the names of event filters.
 *
 * @throws invalid-argument with Docker's text for a name that does not exist
 */
export function checkEventFilters(filters: EventFilters): void {
  for (const name of filters.keys()) {
    if (!eventFilterNames.includes(name)) {
      throw new EngineError("invalid-argument", `invalid filter '${name}'`);
    }
  }
}

/**
 * Tells whether an event passes `filters`: one value of each name must match, all values of `label`.
 *
 * As in Docker, object filters are prefixes of the actor's ID or `name` whatever its type, and
 * `image` also finds the events of containers made from it.
 */
export function matchesEvent(event: EventMessage, filters: EventFilters): boolean {
  return (
    matchesAction(event, filters.get("event")) &&
    isExact(event.Type, filters.get("type")) &&
    isExact(event.scope ?? "local", filters.get("scope")) &&
    objectFilterNames.every((name) => matchesActor(event, filters.get(name))) &&
    clusterFilterNames.every((name) => matchesActor(event, filters.get(name))) &&
    matchesImage(event, filters.get("image")) &&
    matchesLabels(event, filters.get("label"))
  );
}

type Values = readonly string[] | undefined;

function isAny(values: Values): values is undefined {
  return values === undefined || values.length === 0;
}

function isExact(text: string, values: Values): boolean {
  return isAny(values) || values.includes(text);
}

function isPrefixed(text: string, values: Values): boolean {
  return isAny(values) || values.some((value) => text.startsWith(value));
}

function matchesAction(event: EventMessage, values: Values): boolean {
  if (values?.some((value) => prefixActions.has(value))) return isPrefixed(event.Action, values);
  return isExact(event.Action, values);
}

function matchesActor(event: EventMessage, values: Values): boolean {
  const { ID, Attributes } = event.Actor;
  return isPrefixed(ID, values) || isPrefixed(Attributes["name"] ?? "", values);
}

function matchesImage(event: EventMessage, values: Values): boolean {
  if (isAny(values)) return true;
  const id = event.Actor.ID;
  const name = event.Actor.Attributes[event.Type === "image" ? "name" : "image"] ?? "";
  return [id, name, withoutTag(id), withoutTag(name)].some((text) => isExact(text, values));
}

function matchesLabels(event: EventMessage, values: Values): boolean {
  if (isAny(values)) return true;
  const attributes = event.Actor.Attributes;
  return values.every((value) => {
    const [key = "", wanted] = cut(value, "=");
    const found = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
    return found !== undefined && (wanted === undefined || wanted === found);
  });
}

/** The familiar name of an image, without tag and digest. */
function withoutTag(image: string): string {
  const [named = ""] = cut(image, "@");
  const colon = named.lastIndexOf(":");
  const bare = colon > named.lastIndexOf("/") ? named.slice(0, colon) : named;
  return bare.replace(/^docker\.io\/(library\/)?/, "");
}

function cut(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
