import { expect, test } from "bun:test";
import type { IncomingMessage } from "node:http";
import { refuseForeignOrigin } from "./_origin.ts";

const check = (headers: Record<string, string>, socket: object = { remoteAddress: "127.0.0.1" }) =>
  refuseForeignOrigin({ headers, socket } as unknown as IncomingMessage);

const unix = {};
const accepted: readonly (readonly [Record<string, string>, object?])[] = [
  [{ host: "127.0.0.1:2375" }],
  [{ host: "[::1]:2375" }],
  [{ host: "localhost" }],
  [{ host: "docker" }, unix],
  [{ host: "engine.example" }, { remoteAddress: "10.0.0.1", authorized: true }],
  [{ host: "localhost:2375", origin: "http://localhost:2375" }],
  [{ host: "localhost", "sec-fetch-site": "none" }],
];
for (const [headers, socket] of accepted) {
  test(`accepts ${JSON.stringify(headers)}`, () =>
    expect(() => check(headers, socket)).not.toThrow());
}

const refused: readonly (readonly [Record<string, string>, object?])[] = [
  [{ host: "attacker.example:2375", origin: "http://attacker.example:2375" }],
  [{ host: "attacker.example" }],
  [{}],
  [{ host: "localhost", origin: "http://attacker.example" }],
  [{ host: "localhost", origin: "null" }],
  [{ host: "d", origin: "http://attacker.example" }, unix],
  [{ host: "127.0.0.1", "sec-fetch-site": "cross-site" }],
];
for (const [headers, socket] of refused) {
  test(`refuses ${JSON.stringify(headers)}`, () => {
    expect(() => check(headers, socket)).toThrow(/not for web pages/);
  });
}
