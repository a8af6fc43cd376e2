import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { routes } from "../api/route-table.ts";
import { EngineError, errorKinds } from "../lib/errors.ts";
import { type Logger, silentLogger } from "../lib/log.ts";
import type { Backend } from "./backend.ts";
import { statusOf, statusOfKind } from "./errors.ts";
import { createHttpFront } from "./http-front.ts";
import { createRequestHandler, handlers } from "./server.ts";
import { FrameDecoder } from "./_websocket.ts";

const folder = mkdtempSync("/tmp/tug-server-");
const path = join(folder, "api.sock");
let server: Server;
const started: string[] = [];
const logged: string[] = [];
const logger: Logger = {
  ...silentLogger,
  debug: (message, fields) => void logged.push(`${message} ${JSON.stringify(fields)}`),
  error: (message, fields) => void logged.push(`error: ${message} ${JSON.stringify(fields)}`),
};

/** The process of each exec, which passes its input on, and what all starts wait for. */
const execs = new Map<string, PassThrough>();
let unread = 0;
const mayStart = Promise.withResolvers<void>();

const canceled = new EngineError("canceled", "gone");
const backend = {
  containers: {
    start: (id: string) => {
      if (id === "slow") return Bun.sleep(100).then(() => Promise.reject(canceled));
      if (id === "broken") throw new TypeError("a bug");
      if (id === "odd") throw new EngineError("conflict", "odd", { details: { httpStatus: 500 } });
      if (id === "gone") throw new EngineError("not-found", "No such container: gone");
      if (id === "running") throw new EngineError("not-modified", "");
      started.push(id);
      return Promise.resolve();
    },
    attach: () => {
      const stream = new PassThrough();
      return Promise.resolve({ hasTty: true, stream });
    },
    list: () => Promise.resolve([]),
    export: (id: string) => {
      let chunkCount = 0;
      const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
        chunkCount += 1;
        if (chunkCount < 3) controller.enqueue(Buffer.alloc(512));
        else if (id === "deep") controller.error(new EngineError("invalid-argument", "too deep"));
        else controller.close();
      };
      return Promise.resolve(new ReadableStream<Uint8Array>({ pull }));
    },
    execAttach: async (id: string) => {
      if (id === "unknown") throw new EngineError("not-found", "No such exec instance: unknown");
      if (id === "ended") throw new EngineError("conflict", "exec command ended has already run");
      const stream = new PassThrough();
      execs.set(id, stream);
      await mayStart.promise;
      if (id === "faulty") throw new TypeError("a bug");
      return { hasTty: id === "terminal", stream };
    },
  },
  system: { version: () => ({ ApiVersion: "1.51" }), info: () => Promise.resolve({}) },
} as unknown as Backend;

beforeAll(async () => {
  const front = createHttpFront(
    createRequestHandler({ backend, logger, product: "Tug/test", unreadBytes: () => unread }),
  );
  server = createServer({ allowHalfOpen: true }, (socket) => front.accept(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

async function call(
  method: string,
  target: string,
  init: { readonly headers?: Record<string, string>; readonly body?: string } = {},
): Promise<{ readonly status: number; readonly text: string; readonly headers: Headers }> {
  const response = await fetch(`http://tug${target}`, { unix: path, method, ...init });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

/** Sends bytes in the given pieces and collects the answer until its end. */
async function raw(pieces: readonly string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    let answer = "";
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
      const next = rest.shift();
      if (next !== undefined) socket.write(next);
      else if (answer.endsWith(pieces.at(-1) ?? "")) socket.end();
    });
    socket.on("end", () => resolve(answer));
    socket.on("error", reject);
    const [first = "", ...rest] = pieces;
    socket.write(first);
  });
}

test("every implemented route has a handler, and every handler a route", () => {
  const implemented = routes
    .filter((route) => route.status === "implemented")
    .map((route) => String(route.name));
  expect(Object.keys(handlers).toSorted()).toEqual(implemented.toSorted());
});

test("every error kind has a status", () => {
  expect(Object.keys(statusOfKind).toSorted()).toEqual([...errorKinds].toSorted());
  expect(statusOf(new Error("x"))).toBe(500);
  expect(statusOf(new EngineError("conflict", "x"))).toBe(409);
});

const answers: readonly (readonly [string, string, number, RegExp])[] = [
  ["GET", "/version", 200, /1\.51/],
  ["GET", "/v1.24/version", 200, /1\.51/],
  ["GET", "/v1.52/version", 400, /client version 1.52 is too new/],
  ["GET", "/v1.23/version", 400, /client version 1.23 is too old/],
  ["GET", "/nothing", 404, /page not found/],
  ["GET", "/v1.51/swarm", 501, /does not serve GET \/swarm yet/],
  ["POST", "/containers/gone/start", 404, /No such container: gone/],
  ["POST", "/containers/running/start", 304, /^$/],
  ["POST", "/containers/ok/start", 204, /^$/],
  ["POST", "/containers/broken/start", 500, /internal fault [0-9a-f]{12}/],
  ["GET", "/containers/json?filters=%7Bnonsense", 400, /invalid filter/],
];
for (const [method, target, status, body] of answers) {
  test(`${method} ${target} answers ${status}`, async () => {
    const answer = await call(method, target);
    expect([answer.status, answer.text.trim()]).toEqual([status, expect.stringMatching(body)]);
    expect(answer.headers.get("api-version")).toBe("1.51");
  });
}

test("a stream that fails once it has begun is broken off, and the log says why", async () => {
  expect((await call("GET", "/containers/whole/export")).text.length).toBe(1024);
  const answer = await raw(["GET /containers/deep/export HTTP/1.1\r\nHost: tug\r\n\r\n"]);
  expect(answer).toStartWith("HTTP/1.1 200 OK");
  // The end of the chunks is what tells a whole answer from a part of one.
  expect(answer).not.toEndWith("0\r\n\r\n");
  const said = logged.filter((line) => line.includes("/containers/deep/export"));
  expect(said).toEqual([expect.stringMatching(/^error: answer broken off .*"invalid-argument"/)]);
});

test("a page of another site is refused", async () => {
  const answer = await call("POST", "/containers/evil/start", {
    headers: { Origin: "http://evil" },
  });
  expect(answer.status).toBe(403);
  expect(started).not.toContain("evil");
});

test("create wants JSON that says that it is", async () => {
  const answer = await call("POST", "/containers/create", {
    body: "{}",
    headers: { "Content-Type": "text/plain" },
  });
  expect(answer.status).toBe(400);
  expect(answer.text).toMatch(/must be 'application\/json'/);
});

const attach = "POST /containers/x/attach?stream=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n";

test("attach with Upgrade is answered 101 and passes bytes both ways", async () => {
  const answer = await raw([`${attach}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n`, "ping"]);
  expect(answer).toMatch(/^HTTP\/1.1 101 UPGRADED\r\n/);
  expect(answer).toMatch(/\r\n\r\nping$/);
});

test("attach without Upgrade is answered 200 and passes bytes both ways", async () => {
  const answer = await raw([`${attach}\r\n`, "ping"]);
  expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n/);
  expect(answer).toMatch(/\r\n\r\nping$/);
});

test("bytes sent in the same packet as the attach request are not lost", async () => {
  expect(await raw([`${attach}\r\nearly`, "late"])).toMatch(/\r\n\r\nearlylate$/);
});

function execStart(id: string): string {
  const head = `POST /exec/${id}/start HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n`;
  return `${head}Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}`;
}

test("the head of an exec is there before its process, and input meanwhile is not lost", async () => {
  const [going, lost, faulty] = [connect({ path }), connect({ path }), raw([execStart("faulty")])];
  going.write(execStart("x"));
  const [head] = (await once(going, "data")) as [Buffer];
  expect(head.toString()).toMatch(
    /^HTTP\/1.1 101 UPGRADED\r\n(?:.|\r|\n)*multiplexed-stream\r\n(?:.|\r|\n)*\r\n\r\n$/,
  );
  going.write("typed early");
  lost.write(execStart("y"));
  await once(lost, "data");
  lost.destroy();
  await Bun.sleep(20);

  mayStart.resolve();
  const [echoed] = (await once(going, "data")) as [Buffer];
  expect(echoed.toString()).toBe("typed early");
  going.destroy();
  // Whoever went away before the process was there is detached from it.
  await Bun.sleep(20);
  expect([execs.get("x")?.destroyed, execs.get("y")?.destroyed]).toEqual([true, true]);
  expect(await faulty).toMatch(/^HTTP\/1.1 101 UPGRADED\r\n(?:.|\r|\n)*\r\n\r\n$/);
});

test("output waits until the client has read the head", async () => {
  mayStart.resolve();
  unread = 40;
  const going = connect({ path });
  going.write(execStart("z"));
  await once(going, "data");
  execs.get("z")?.write("output");
  let seen = "";
  going.on("data", (chunk: Buffer) => {
    seen += chunk.toString();
  });
  await Bun.sleep(20);
  expect(seen).toBe("");
  unread = 0;
  await Bun.sleep(20);
  expect(seen).toBe("output");
  unread = 40;
  const lost = connect({ path });
  lost.write(execStart("lost"));
  await once(lost, "data");
  lost.destroy();
  await Bun.sleep(50);
  expect(execs.get("lost")?.destroyed).toBeTrue();
  unread = 0;
  going.destroy();
});

test("what a terminal shows is framed for a client that asks for frames", async () => {
  mayStart.resolve();
  const going = connect({ path });
  going.write(execStart("terminal"));
  await once(going, "data");
  going.write("shown");
  const [framed] = (await once(going, "data")) as [Buffer];
  expect(framed.toString("latin1")).toBe("\u0001\0\0\0\0\0\0\u0005shown");
  going.destroy();
});

test("an exec that is refused at once is answered with a status", async () => {
  const headers = { "Content-Type": "application/json" };
  const [unknown, ended] = await Promise.all(
    ["unknown", "ended"].map((id) => call("POST", `/exec/${id}/start`, { headers, body: "{}" })),
  );
  expect([unknown?.status, ended?.status]).toEqual([404, 409]);
  expect(ended?.text).toContain("exec command ended has already run");
});

test("FrameDecoder joins what was cut anywhere", () => {
  const frame = Buffer.from([0x82, 0x83, 1, 2, 3, 4, 0x61 ^ 1, 0x62 ^ 2, 0x63 ^ 3]);
  for (let cut = 1; cut < frame.length; cut += 1) {
    const decoder = new FrameDecoder();
    const frames = [...decoder.push(frame.subarray(0, cut)), ...decoder.push(frame.subarray(cut))];
    expect(frames.map(({ payload }) => payload.toString())).toEqual(["abc"]);
  }
});

test("FrameDecoder refuses unmasked and oversize frames", () => {
  expect(() => new FrameDecoder().push(Buffer.from([0x82, 0x01, 0x61]))).toThrow(/unmasked/);
  const huge = Buffer.from([0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(() => new FrameDecoder().push(huge)).toThrow(/too large/);
});

test("the log has no query, in which passwords may stand", async () => {
  await call("POST", "/containers/gone/start?secret=1");
  const socket = connect({ path });
  socket.write("POST /containers/slow/start?secret=1 HTTP/1.1\r\nHost: x\r\n\r\n");
  await Bun.sleep(30);
  socket.destroy();
  await Bun.sleep(150);
  expect(logged.join("\n")).toContain("the client went away");
  expect(logged.join("\n")).toContain("/containers/gone/start");
  expect(logged.join("\n")).not.toContain("secret");
});

test("the log calls no error what a client has done", async () => {
  logged.length = 0;
  const answer = await call("POST", "/containers/odd/start");
  expect(answer.status).toBe(500);
  for (const part of ["Content-Length: 99\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n9\r\n{"]) {
    const socket = connect({ path });
    socket.write(`POST /containers/create HTTP/1.1\r\nHost: x\r\n${part}`);
    await Bun.sleep(30);
    socket.destroy();
  }
  await Bun.sleep(50);
  expect(logged.filter((line) => line.startsWith("the client went away"))).toHaveLength(2);
  expect(logged.filter((line) => line.startsWith("error"))).toEqual([]);
  await call("POST", "/containers/broken/start");
  expect(logged.filter((line) => line.startsWith("error"))).toHaveLength(1);
});

test("a connection that begins with HTTP/2 is given away whole, another is not", async () => {
  const socketPath = join(folder, "http2.sock");
  const taken: string[] = [];
  const front = createHttpFront(
    createRequestHandler({ backend, logger, product: "Tug/test", unreadBytes: () => unread }),
    {
      acceptHttp2: ({ socket, early }) => {
        taken.push(early.toString("latin1"));
        socket.on("data", (chunk: Buffer) => socket.end(`took ${chunk.toString()}`));
      },
    },
  );
  const listener = createServer({ allowHalfOpen: true }, (socket) => front.accept(socket));
  await new Promise<void>((resolve) => listener.listen(socketPath, resolve));
  const answerTo = async (first: string, then: string): Promise<string> => {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    let answer = "";
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
    });
    socket.write(first);
    await Bun.sleep(50);
    if (then !== "") socket.write(then);
    const end = performance.now() + 2000;
    while (answer === "" && performance.now() < end) await Bun.sleep(5);
    socket.destroy();
    return answer;
  };
  try {
    const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    expect(await answerTo(`${preface}frames`, "more")).toBe("took more");
    expect(taken).toEqual([`${preface}frames`]);
    const plain = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
    expect(await answerTo(plain, "")).toContain("200");
    expect(taken.length).toBe(1);
  } finally {
    front.close();
    listener.close();
  }
});
