import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openContentStore } from "../../content/local-content-store.ts";
import { silentLogger } from "../../lib/log.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { digestOf } from "../../oci/digest.ts";
import { parseAccessRules } from "../auth/access-rules.ts";
import { createFront, type Front, type FrontLimits } from "./front.ts";
import { createPasswordGate, createTokenGate, openGate, parseBasic } from "../auth/gate.ts";
import type { UserBase } from "../auth/htpasswd.ts";
import { openRegistry } from "../storage/local-registry.ts";
import { Metrics } from "./metrics.ts";
import { createRegistryHandler, type RegistryServerOptions } from "./server.ts";
import { createTokenServer } from "../auth/token-server.ts";
import { createTokenVerifier, openTokenSigner } from "../auth/token.ts";

let undo: AsyncDisposableStack;
let url = "";
let port = 0;
let front: Front;

beforeEach(() => {
  undo = new AsyncDisposableStack();
});
afterEach(async () => {
  await undo.disposeAsync();
});

/** Serves a new registry in this process. */
async function serve(
  options: Partial<RegistryServerOptions> = {},
  limits: Partial<FrontLimits> = {},
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "tug-registry-"));
  undo.defer(() => rmSync(root, { recursive: true }));
  const metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
  undo.use(metadata);
  const registry = await openRegistry({
    content: await openContentStore({ root: join(root, "content"), logger: silentLogger }),
    metadata,
    logger: silentLogger,
    graceMs: 1_000,
    uploadExpiryMs: 1_000_000,
    removesUntagged: false,
  });
  undo.use(registry);
  const handle = createRegistryHandler({
    registry,
    gate: openGate,
    metrics: new Metrics([]),
    logger: silentLogger,
    isReadOnly: false,
    isDeleteAllowed: true,
    hasMetrics: true,
    hasAccessLog: true,
    ...options,
  });
  front = createFront({ handle, logger: silentLogger, limits });
  undo.defer(async () => await front.close());
  ({ port } = await front.listen({ host: "127.0.0.1", port: 0 }));
  url = `http://127.0.0.1:${port}`;
}

async function dial(): Promise<Socket & { received: string }> {
  const socket = Object.assign(connect({ host: "127.0.0.1", port }), { received: "" });
  socket.on("data", (chunk: Buffer) => {
    socket.received += chunk.toString("latin1");
  });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  undo.defer(() => void socket.destroy());
  return socket;
}

const users: UserBase = {
  check: async (user, password) => password === `${user}'s` && ["ann", "bob"].includes(user),
};
const rules = parseAccessRules("ann ** pull,push,delete\n* team/** pull\nanonymous open/* pull");
const basic = (user: string, password = `${user}'s`): { Authorization: string } => ({
  Authorization: `Basic ${btoa(`${user}:${password}`)}`,
});

async function status(
  line: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<readonly [number, string | null]> {
  const [method = "GET", path = "/"] = line.split(" ");
  const answer = await fetch(`${url}${path}`, { method, headers });
  await answer.arrayBuffer();
  return [answer.status, answer.headers.get("www-authenticate")];
}

describe("a password gate", () => {
  test.each([
    ["GET /", {}, 200],
    ["GET /v2/", {}, 401],
    ["GET /v2/", basic("ann"), 200],
    ["GET /v2/", basic("ann", "wrong"), 401],
    ["GET /v2/", basic("eve"), 401],
    ["GET /v2/", { Authorization: "Bearer x" }, 401],
    ["GET /v2/", { Authorization: "Basic !" }, 401],
    ["GET /v2/open/x/tags/list", {}, 404],
    ["GET /v2/open/x/tags/list", basic("ann", "wrong"), 401],
    ["GET /v2/team/x/tags/list", {}, 401],
    ["GET /v2/team/x/tags/list", basic("bob"), 404],
    ["GET /v2/private/tags/list", basic("bob"), 403],
    ["POST /v2/team/x/blobs/uploads/", basic("bob"), 403],
    ["POST /v2/open/x/blobs/uploads/", {}, 401],
    ["POST /v2/team/x/blobs/uploads/", basic("ann"), 202],
    ["DELETE /v2/team/x/manifests/v", basic("bob"), 403],
    ["GET /v2/_catalog", {}, 401],
    ["GET /v2/_catalog", basic("bob"), 200],
    ["GET /metrics", {}, 401],
    ["GET /token", basic("ann"), 404],
  ] as const)("%p with %p is answered %p", async (line, headers, expected) => {
    await serve({ gate: createPasswordGate({ users, rules }) });
    const [code, challenge] = await status(line, { ...headers });
    expect(code).toBe(expected);
    expect(challenge).toBe(expected === 401 ? 'Basic realm="Tug registry"' : null);
  });

  test("the catalog names what the caller may pull alone, and a mount takes no more", async () => {
    await serve({ gate: createPasswordGate({ users, rules }) });
    const digest = digestOf("secret");
    for (const name of ["team/a", "private/a"]) {
      const target = `${url}/v2/${name}/blobs/uploads/?digest=${digest}`;
      await fetch(target, { method: "POST", body: "secret", headers: basic("ann") });
    }
    const names = async (user: string): Promise<unknown> =>
      await (await fetch(`${url}/v2/_catalog`, { headers: basic(user) })).json();
    expect(await names("ann")).toEqual({ repositories: ["private/a", "team/a"] });
    expect(await names("bob")).toEqual({ repositories: ["team/a"] });
  });
});

describe("a token gate", () => {
  beforeEach(async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const terms = { issuer: "i", service: "s" };
    const pem = String(privateKey.export({ type: "pkcs8", format: "pem" }));
    const signer = openTokenSigner(pem, terms);
    const trust = { keys: [signer.publicKey], certificates: [] };
    await serve({
      gate: createTokenGate({
        verify: createTokenVerifier(trust, terms),
        service: "s",
        realm: () => `${url}/token`,
        rules: (user, action, name) => action === "pull" && rules(user, action, name),
      }),
      tokenServer: createTokenServer({ users, rules, signer, service: "s" }),
    });
  });
  const tokenOf = async (
    query: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ Authorization: string }> => {
    const answer = await fetch(`${url}/token?service=s&${query}`, { headers });
    const { token } = (await answer.json()) as { token: string };
    return { Authorization: `Bearer ${token}` };
  };

  test("says where a token is had, and for what", async () => {
    expect(await status("GET /v2/")).toEqual([401, `Bearer realm="${url}/token",service="s"`]);
    const [code, challenge] = await status("POST /v2/team/x/blobs/uploads/");
    expect([code, challenge]).toEqual([
      401,
      `Bearer realm="${url}/token",service="s",scope="repository:team/x:pull,push"`,
    ]);
    expect((await status("GET /v2/", { Authorization: "Bearer x.y.z" }))[1]).toContain(
      'error="invalid_token"',
    );
    expect((await status("GET /v2/", basic("ann")))[0]).toBe(401);
  });

  test("lets do what the token says", async () => {
    const push = await tokenOf("scope=repository:team/x:pull,push", basic("ann"));
    expect((await status("POST /v2/team/x/blobs/uploads/", push))[0]).toBe(202);
    expect((await status("DELETE /v2/team/x/manifests/v", push))[1]).toContain(
      "insufficient_scope",
    );
    expect((await status("POST /v2/team/y/blobs/uploads/", push))[0]).toBe(401);
    const bob = await tokenOf("scope=repository:team/x:pull,push", basic("bob"));
    expect((await status("GET /v2/team/x/tags/list", bob))[0]).toBe(404);
    expect((await status("POST /v2/team/x/blobs/uploads/", bob))[0]).toBe(401);
    const nobody = await tokenOf("scope=repository:open/x:pull");
    expect((await status("GET /v2/open/x/tags/list", nobody))[0]).toBe(404);
    const catalog = await tokenOf("scope=registry:catalog:*", basic("ann"));
    expect((await status("GET /v2/_catalog", catalog))[0]).toBe(200);
    expect((await status("GET /v2/_catalog", push))[0]).toBe(401);
  });

  test("gives tokens by form too, and none for a wrong password or another service", async () => {
    const post = async (fields: Readonly<Record<string, string>>): Promise<number> => {
      const body = new URLSearchParams({ service: "s", client_id: "t", ...fields });
      return (await fetch(`${url}/token`, { method: "POST", body })).status;
    };
    const grant = { grant_type: "password", username: "ann", password: "ann's" };
    expect(await post(grant)).toBe(200);
    expect(await post({ ...grant, password: "x" })).toBe(401);
    expect(await post({ grant_type: "refresh_token", refresh_token: "x" })).toBe(405);
    expect(await post({ ...grant, service: "other" })).toBe(403);
    expect(await post({ ...grant, scope: "x".repeat(100_000) })).toBe(400);
    expect((await status("GET /token?service=s", basic("ann", "x")))[0]).toBe(401);
  });
});

describe("the wire", () => {
  test("a page of a browser changes nothing", async () => {
    await serve();
    const origin = { Origin: "http://evil.example" };
    expect((await status("POST /v2/a/blobs/uploads/", origin))[0]).toBe(403);
    expect((await status("DELETE /v2/a/manifests/v", origin))[0]).toBe(403);
  });

  test("several requests behind each other on one connection are answered in order", async () => {
    await serve();
    const socket = await dial();
    const host = "Host: x\r\n";
    const body = "Content-Length: 2\r\n\r\nhi";
    socket.write(
      `HEAD /v2/ HTTP/1.1\r\n${host}\r\nPUT /v2/a/manifests/v HTTP/1.1\r\n${host}${body}` +
        `GET /v2/ HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
    );
    await once(socket, "close");
    const codes = [...socket.received.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, code]) => code);
    expect(codes).toEqual(["200", "400", "200"]);
    expect(socket.received.endsWith("{}\n")).toBe(true);
  });

  test("a body that nobody wants is answered before it has come, and the connection ends", async () => {
    await serve({ isReadOnly: true });
    const socket = await dial();
    socket.write("POST /v2/a/blobs/uploads/?digest=x HTTP/1.1\r\nHost: x\r\n");
    socket.write("Content-Length: 1000000000\r\n\r\nbeginning");
    await once(socket, "close");
    expect(socket.received).toContain("405 Method Not Allowed");
    expect(socket.received).toContain("read-only");
  });

  test("who sends a body to its end before reading is not cut off by the refusal", async () => {
    await serve({ isReadOnly: true });
    const socket = await dial();
    let sentBytes = 0;
    const closedAt = new Promise((resolve) => socket.once("close", () => resolve(sentBytes)));
    socket.write("PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
    while (sentBytes < 2_000_000) {
      socket.write(Buffer.alloc(100_000));
      sentBytes += 100_000;
      await Bun.sleep(5);
    }
    expect(await closedAt).toBe(2_000_000);
    expect(socket.received).toContain("read-only");
    expect(socket.received).toContain("Connection: close");
  });

  test("a client that goes in the middle of a download leaves no file open", async () => {
    await serve();
    const bytes = new Uint8Array(8 * 1024 * 1024);
    const digest = digestOf(bytes);
    await fetch(`${url}/v2/a/blobs/uploads/?digest=${digest}`, { method: "POST", body: bytes });
    const openFiles = (): number => readdirSync("/proc/self/fd").length;
    const before = openFiles();
    for (let round = 0; round < 5; round += 1) {
      const socket = await dial();
      socket.write(`GET /v2/a/blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await once(socket, "data");
      socket.destroy();
    }
    const end = performance.now() + 5_000;
    while (openFiles() > before && performance.now() < end) await Bun.sleep(20);
    expect(openFiles()).toBeLessThanOrEqual(before);
    expect(front.connectionCount).toBeLessThanOrEqual(1);
  });

  test("chunked bodies and bodies in drops arrive whole", async () => {
    await serve();
    const begun = await fetch(`${url}/v2/a/blobs/uploads/`, { method: "POST" });
    const socket = await dial();
    const path = begun.headers.get("location") ?? "";
    const digest = digestOf("in drops");
    socket.write(`PUT ${path}?digest=${digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n`);
    socket.write("Transfer-Encoding: chunked\r\n\r\n");
    for (const letter of "in drops") {
      socket.write(`1\r\n${letter}\r\n`);
      await Bun.sleep(2);
    }
    socket.write("0\r\n\r\n");
    await once(socket, "close");
    expect(socket.received).toContain("201 Created");
  });
});

test("nonsense on the wire is refused, and never a fault of ours", async () => {
  await serve();
  let state = 11;
  const next = (bound: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state % bound;
  };
  const pick = (words: readonly string[]): string => words[next(words.length)] ?? "";
  const digest = digestOf("x");
  const paths = [
    ...["/v2/", "/v2/a/manifests/v", `/v2/a/blobs/${digest}`, "/v2/a/blobs/uploads/", "/token"],
    ...["/v2/%00/tags/list", "/v2/a/tags/list?n=-1", "//", "*", "/v2/_catalog?last=%ff&n=1"],
    ...[`/v2/a/blobs/uploads/?digest=${digest}`, `/v2/a/blobs/uploads/?mount=${digest}&from=..`],
    ...[`/v2/a/referrers/${digest}?artifactType=%0d%0aX:1`, "/v2/a/blobs/uploads/?digest=%0d%0a"],
  ];
  const headers = [
    ...["Content-Range: 5-1", "Content-Range: \u00ff", "Range: bytes=0-0,", "Content-Length: 1"],
    ...["Content-Type: \t", "Authorization: Basic", 'If-None-Match: "', "Expect: 100-continue"],
    ...["Transfer-Encoding: chunked", "Content-Length: -1", "Host:", "\0: x", "Upgrade: h2c"],
  ];
  const answers: string[] = [];
  const one = async (): Promise<void> => {
    const socket = await dial();
    const method = pick(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW", "OPTIONS"]);
    const lines = Array.from({ length: next(4) }, () => pick(headers));
    const head = [`${method} ${pick(paths)} HTTP/1.1`, "Host: x", "Connection: close", ...lines];
    socket.write(
      `${head.join("\r\n")}\r\n\r\n${pick(["", "x", "{}", "0\r\n\r\n", "zz\r\n"])}`,
      "latin1",
    );
    const closed = once(socket, "close");
    await Promise.race([closed, Bun.sleep(60)]);
    socket.destroy();
    answers.push(socket.received.slice(0, 12));
  };
  for (let round = 0; round < 15; round += 1) {
    await Promise.all(Array.from({ length: 20 }, one));
  }
  expect(answers.filter((answer) => answer.startsWith("HTTP/1.1 5"))).toEqual([]);
  expect(answers.filter((answer) => answer.startsWith("HTTP/1.1 ")).length).toBeGreaterThan(100);
  expect((await status("GET /v2/"))[0]).toBe(200);
});

describe("limits of connections", () => {
  const limits = { connectionsMax: 4, idleMaxMs: 150, stallMaxMs: 300, lookPeriodMs: 20 };

  test("one too many takes the place of the idlest", async () => {
    await serve({}, { ...limits, idleMaxMs: 10_000 });
    const sockets = [await dial(), await dial(), await dial(), await dial()];
    sockets[0]?.write("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!sockets[0]?.received.includes("200 OK")) await Bun.sleep(5);
    expect((await status("GET /v2/"))[0]).toBe(200);
    await Bun.sleep(50);
    expect(sockets.map((socket) => socket.destroyed)).toEqual([false, true, false, false]);
    expect(front.connectionCount).toBe(4);
  });

  test("one too many is closed at once when all are busy", async () => {
    await serve({}, { ...limits, stallMaxMs: 10_000 });
    const begun = await fetch(`${url}/v2/a/blobs/uploads/`, { method: "POST" });
    const head = `PATCH ${begun.headers.get("location")} HTTP/1.1\r\nHost: x\r\n`;
    const sockets = [await dial(), await dial(), await dial(), await dial()];
    for (const socket of sockets) socket.write(`${head}Content-Length: 9\r\n\r\nx`);
    await Bun.sleep(50);
    const more = await dial();
    await once(more, "close");
    expect(sockets.every((socket) => !socket.destroyed)).toBe(true);
    sockets[0]?.destroy();
    await Bun.sleep(50);
    expect((await status("GET /v2/"))[0]).toBe(200);
  });

  test("headers without end are refused by their size", async () => {
    await serve();
    const socket = await dial();
    socket.write(`GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(70_000)}\r\n\r\n`);
    await once(socket, "close");
    expect(socket.received).toStartWith("HTTP/1.1 431 ");
  });

  test("who says nothing, or spells its headers out, is closed", async () => {
    await serve({}, limits);
    const silent = await dial();
    const slow = await dial();
    const timer = setInterval(() => slow.write("G"), 20);
    const startMs = performance.now();
    await Promise.all([once(silent, "close"), once(slow, "close")]);
    clearInterval(timer);
    expect(performance.now() - startMs).toBeLessThan(3_000);
  });

  test("who sends a body is let go on as long as something comes", async () => {
    await serve({}, limits);
    const begun = await fetch(`${url}/v2/a/blobs/uploads/`, { method: "POST" });
    const path = begun.headers.get("location") ?? "";
    const head = `PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n`;
    const steady = await dial();
    steady.write(head);
    for (let count = 0; count < 20; count += 1) {
      steady.write("x");
      await Bun.sleep(30);
    }
    while (!steady.received.includes("\r\n\r\n")) await once(steady, "data");
    expect(steady.received).toContain("202 Accepted");
    const stalled = await dial();
    stalled.write(`${head}half`);
    await once(stalled, "close");
    expect(stalled.received).not.toContain("202");
    const left = await fetch(`${url}${path}`);
    expect(left.headers.get("range")).toBe("0-23");
  });
});

test("Basic credentials are read, or are none", () => {
  const given = (text: string): ReturnType<typeof parseBasic> => parseBasic(`Basic ${btoa(text)}`);
  expect(given("ann:a:b")).toEqual({ user: "ann", password: "a:b" });
  expect(given("ann:")).toEqual({ user: "ann", password: "" });
  for (const text of ["ann", ":x", ""]) expect(given(text)).toBeUndefined();
  for (const header of ["", "Basic", "Basic  ", "Bearer x", `Basic ${"A".repeat(5_000)}`]) {
    expect(parseBasic(header)).toBeUndefined();
  }
});
