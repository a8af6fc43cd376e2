import { describe, expect, test } from "bun:test";
import type { EventMessage, EventType } from "../api/system.ts";
import { checkEventFilters, matchesEvent } from "./event-filter.ts";

function event(type: EventType, action: string, extra: Record<string, string> = {}): EventMessage {
  const { id = "0123456789abcdef", ...Attributes } = extra;
  return {
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes },
    scope: "local",
    time: 1,
    timeNano: 1n,
  };
}

const web = event("container", "start", {
  name: "web",
  image: "docker.io/library/nginx:1.27",
  "com.example.tier": "front",
});
const check = event("container", "exec_create: sh -c true", { name: "web" });
const pulled = event("image", "pull", { id: "busybox:latest", name: "busybox" });
const joined = event("network", "connect", { name: "bridge", container: "0123", type: "bridge" });

const rows: readonly (readonly [EventMessage, Record<string, string[]>, boolean])[] = [
  [web, {}, true],
  [web, { container: [] }, true],
  [web, { container: ["web"] }, true],
  [web, { container: ["we"] }, true],
  [web, { container: ["0123"] }, true],
  [web, { container: ["eb"] }, false],
  [web, { container: ["db", "web"] }, true],
  [web, { type: ["container"], event: ["start"] }, true],
  [web, { type: ["contain"] }, false],
  [web, { event: ["star"] }, false],
  [web, { event: ["stop", "start"] }, true],
  [web, { container: ["web"], event: ["stop"] }, false],
  [check, { event: ["exec_create"] }, true],
  [check, { event: ["exec_create: sh -c true"] }, true],
  [check, { event: ["exec_start"] }, false],
  [check, { event: ["exec_create: sh"] }, false],
  [web, { image: ["nginx"] }, true],
  [web, { image: ["docker.io/library/nginx:1.27"] }, true],
  [web, { image: ["ngin"] }, false],
  [pulled, { image: ["busybox"] }, true],
  [pulled, { image: ["busybox:latest"] }, true],
  [pulled, { image: ["busybox:1"] }, false],
  [event("image", "tag", { id: "localhost:5000/a/b:1" }), { image: ["localhost:5000/a/b"] }, true],
  [web, { label: ["com.example.tier"] }, true],
  [web, { label: ["com.example.tier=front"] }, true],
  [web, { label: ["com.example.tier=back"] }, false],
  [web, { label: ["com.example.tier", "absent"] }, false],
  [web, { label: ["toString"] }, false],
  [joined, { network: ["bridge"] }, true],
  [joined, { network: ["host"] }, false],
  [joined, { scope: ["local"] }, true],
  [joined, { scope: ["swarm"] }, false],
  [event("volume", "create", { id: "data" }), { volume: ["data"] }, true],
  [event("daemon", "reload", { name: "host-1" }), { daemon: ["host-1"] }, true],
  [event("plugin", "enable", { name: "p" }), { plugin: ["q"] }, false],
];

describe("matchesEvent()", () => {
  for (const [message, filters, isMatch] of rows) {
    test(`${message.Type} ${message.Action} ${JSON.stringify(filters)} → ${isMatch}`, () => {
      expect(matchesEvent(message, new Map(Object.entries(filters)))).toBe(isMatch);
    });
  }
});

describe("checkEventFilters()", () => {
  test("refuses a filter that does not exist, with Docker's text", () => {
    expect(() => checkEventFilters(new Map([["colour", ["red"]]]))).toThrow(
      "invalid filter 'colour'",
    );
    expect(() => checkEventFilters(new Map([["label", ["a"]]]))).not.toThrow();
  });
});
