import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../lib/errors.ts";
import { parseEndpoint } from "./endpoint.ts";
import { linesOf } from "./lines.ts";
import { encodeFilters, openTransport, pathSegment, type Transport } from "./transport.ts";

const folder = mkdtempSync(join(tmpdir(), "tug-client-"));
const path = join(folder, "engine.sock");
let server: Server;
let answer: (request: string, socket: Socket) => unknown = () => undefined;

beforeAll(async () => {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (chunk: Buffer) => {
      void answer(chunk.toString("latin1"), socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const open = (): Transport => openTransport({ kind: "unix", path });
const reply = (status: string, body: string, headers = ""): string =>
  `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
  `Connection: close\r\n${headers}\r\n${body}`;
const bytesOf = async (source: AsyncIterable<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts).toString();
};

describe("questions", () => {
  test("carry the version, the query and the body", async () => {
    let seen = "";
    answer = (request, socket) => {
      seen = request;
      socket.end(reply("200 OK", '{"Id":"x"}'));
    };
    const query = { all: true, size: false, name: "a b", tail: undefined, names: ["x", "y"] };
    expect(
      await open().json<{ Id: string }>("POST /containers/create", { query, body: { a: 1 } }),
    ).toEqual({ Id: "x" });
    expect(seen).toStartWith(
      "POST /v1.51/containers/create?all=1&name=a%20b&names=x&names=y HTTP/1.1\r\n",
    );
    expect(seen).toEndWith('\r\n\r\n{"a":1}');
  });
  test("fall back to the version that an older engine names, once", async () => {
    const paths: string[] = [];
    answer = (request, socket) => {
      const [, target = ""] = request.split(" ");
      paths.push(target);
      const refusal =
        '{"message":"client version 1.51 is too new. Maximum supported API version is 1.41"}';
      socket.end(
        target.startsWith("/v1.51") ? reply("400 Bad Request", refusal) : reply("200 OK", "[]"),
      );
    };
    const transport = open();
    await transport.json("GET /containers/json");
    await transport.json("GET /images/json");
    expect(paths).toEqual([
      "/v1.51/containers/json",
      "/v1.41/containers/json",
      "/v1.41/images/json",
    ]);
  });
  test.each([
    [404, "not-found"],
    [409, "conflict"],
    [501, "not-implemented"],
    [500, "internal"],
  ] as const)("refused with %d are %s with the engine's sentence", async (status, kind) => {
    answer = (_, socket) => socket.end(reply(`${status} X`, '{"message":"No such thing"}'));
    const error = await open()
      .json("GET /x")
      .catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(EngineError);
    expect(error).toMatchObject({
      kind,
      message: "No such thing",
      details: { isDaemon: true, status },
    });
  });
  test("to nobody say where nobody is", async () => {
    const transport = openTransport({ kind: "unix", path: join(folder, "none.sock") });
    await expect(transport.json("GET /x")).rejects.toThrow(
      `Cannot connect to the Docker daemon at unix://${join(folder, "none.sock")}. Is the docker daemon running?`,
    );
  });
});

describe("answers", () => {
  const chunked =
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" +
    '4\r\n{"a"\r\n5;x=y\r\n: "\u00c3\u00a9\r\n2\r\n"}\r\n0\r\nT: 1\r\n\r\n';
  test("are whole however they are cut, and are not waited for longer", async () => {
    for (const size of [1, 2, 7, 1000]) {
      answer = async (_, socket) => {
        for (let at = 0; at < chunked.length; at += size) {
          socket.write(Buffer.from(chunked.slice(at, at + size), "latin1"));
          if (size < 7) await Bun.sleep(0);
        }
      };
      expect(await open().json<unknown>("GET /x")).toEqual({ a: "\u00e9" });
    }
  });
  test("may be as long as the connection", async () => {
    const long = "x".repeat(3_000_000);
    answer = (_, socket) => socket.end(`HTTP/1.0 200 OK\r\n\r\n${long}`);
    expect(await open().text("GET /x")).toBe(long);
  });
  test("of 204 and 304 have no body, whatever they say of its length", async () => {
    for (const status of [204, 304]) {
      answer = (_, socket) => socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: 5\r\n\r\n`);
      expect(await open().send("POST /x/start")).toBe(status);
    }
  });
  test.each([
    ["", "unavailable", "read the engine's answer: connection closed early"],
    ["HTTP/1.1 200 OK\r\nContent-Le", "unavailable", "closed early"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "data-loss", "unexpected EOF"],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "data-loss", "EOF"],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "data-loss", "chunk size"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n", "data-loss", "malformed HTTP"],
    ["SSH-2.0-OpenSSH\r\n\r\n", "data-loss", "malformed HTTP, status line"],
    [`HTTP/1.1 200 OK\r\nX: ${"x".repeat(70_000)}`, "data-loss", "head is too long"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]x", "data-loss", "not JSON"],
  ] as const)("that end early or lie are told: %p", async (text, kind, sentence) => {
    answer = (_, socket) => socket.end(text);
    const failure = await open()
      .json("GET /x")
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind, message: expect.stringContaining(sentence) });
    // A daemon that hung up is there: none is started, and nothing is asked again.
    expect(failure).not.toMatchObject({ details: { isConnect: true } });
  });
  test("are no longer waited for when the signal is given", async () => {
    const gone = Promise.withResolvers<void>();
    answer = (_, socket) => socket.on("end", () => gone.resolve()).resume();
    const abort = new AbortController();
    const asked = open().json("GET /x", { signal: abort.signal });
    setTimeout(() => abort.abort(), 20);
    await expect(asked).rejects.toMatchObject({ kind: "canceled" });
    await gone.promise;
    await expect(open().json("GET /x", { signal: abort.signal })).rejects.toMatchObject({
      kind: "canceled",
    });
  });
  test("come to questions that are longer than the kernel takes at once", async () => {
    const text = "\u00e9".repeat(4_000_000);
    let left = Buffer.byteLength(JSON.stringify({ text }));
    answer = (request, socket) => {
      const take = (count: number): void => {
        left -= count;
        if (left === 0) socket.end(reply("200 OK", '"all"'));
      };
      expect(request).toContain(`Content-Length: ${left}\r\n`);
      socket.on("data", (chunk: Buffer) => take(chunk.length));
      take(request.length - request.indexOf("\r\n\r\n") - 4);
    };
    expect(await open().json<string>("POST /x", { body: { text } })).toBe("all");
  });
});

describe("streams", () => {
  test("decode chunks however they are cut", async () => {
    const text =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: 1\r\n\r\n";
    for (const size of [1, 3, 7, 1000]) {
      answer = (_, socket) => {
        for (let at = 0; at < text.length; at += size) socket.write(text.slice(at, at + size));
      };
      expect(await bytesOf((await open().stream("GET /x")).bytes())).toBe("hello world");
    }
  });
  test.each([
    ["length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"],
    ["chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"],
    ["size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
  ])("that end early or lie are data loss: %s", async (_, text) => {
    answer = (__, socket) => socket.end(text);
    const stream = await open().stream("GET /x");
    await expect(bytesOf(stream.bytes())).rejects.toMatchObject({ kind: "data-loss" });
  });
  test("end with the connection when nothing else says how long they are", async () => {
    answer = (_, socket) => socket.end("HTTP/1.0 200 OK\r\n\r\nabc");
    expect(await bytesOf((await open().stream("GET /x")).bytes())).toBe("abc");
  });
  test("that are refused throw the engine's sentence", async () => {
    answer = (_, socket) => socket.end(reply("404 Not Found", '{"message":"No such image: x"}'));
    await expect(open().stream("GET /images/x/get")).rejects.toThrow("No such image: x");
  });
  test("end when the signal is given", async () => {
    answer = (_, socket) =>
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    const abort = new AbortController();
    const stream = await open().stream("GET /events", { signal: abort.signal });
    setTimeout(() => abort.abort(), 20);
    await expect(bytesOf(stream.bytes())).rejects.toMatchObject({ kind: "canceled" });
  });
  test("hold the engine up when they are not read", async () => {
    let sent = 0;
    answer = (_, socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const block = Buffer.alloc(1024 * 1024);
      const more = (): void => {
        while (sent < 200 && socket.write(block)) sent += 1;
        if (sent < 200) socket.once("drain", more);
      };
      more();
    };
    const stream = await open().stream("GET /x");
    await Bun.sleep(150);
    expect(sent).toBeLessThan(20);
    await stream[Symbol.asyncDispose]();
  });
});

test("a hijacked connection hands over what came early, and both halves close apart", async () => {
  answer = (request, socket) => {
    expect(request).toContain("Upgrade: tcp");
    socket.write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\nearly");
    socket.on("data", (chunk: Buffer) => socket.write(`[${chunk.toString()}]`));
    socket.on("end", () => socket.end("bye"));
  };
  const { socket, early } = await open().hijack("POST /containers/x/attach");
  const parts = [early.toString()];
  const ended = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => parts.push(chunk.toString())).once("end", resolve);
  });
  socket.resume();
  socket.write("hi");
  await Bun.sleep(20);
  socket.end();
  await ended;
  expect(parts.join("")).toBe("early[hi]bye");
});

describe("parseEndpoint()", () => {
  test.each([
    ["unix:///run/x.sock", { kind: "unix", path: "/run/x.sock" }],
    ["tcp://h:1", { kind: "tcp", host: "h", port: 1, basePath: "" }],
    ["tcp://", { kind: "tcp", host: "localhost", port: 2375, basePath: "" }],
    ["h:99", { kind: "tcp", host: "h", port: 99, basePath: "" }],
    ["tcp://[::1]:5/p/", { kind: "tcp", host: "::1", port: 5, basePath: "/p" }],
  ] as const)("accepts %s", (text, endpoint) => {
    expect(parseEndpoint(text)).toEqual({ ...endpoint });
  });
  test.each([
    "unix://",
    "tcp://h:0",
    "tcp://h:99999",
    "tcp://h:x",
    "foo://x",
    "ssh://u@h",
    "npipe:////./x",
    "tcp://a b",
  ])("rejects %s", (text) => {
    expect(() => parseEndpoint(text)).toThrow(EngineError);
  });
});

test("names in paths are escaped, but for what images have", () => {
  expect(pathSegment("a/b:c@sha256:1 ?#")).toBe("a/b:c@sha256:1%20%3F%23");
  expect(encodeFilters(new Map([["label", ["a", "b=c"]]]))).toBe('{"label":{"a":true,"b=c":true}}');
  expect(encodeFilters(new Map())).toBeUndefined();
});

test("linesOf() joins lines that are cut, within a character too", async () => {
  const bytes = Buffer.from("a\u00e9\nb\n\nc");
  async function* cut(): AsyncGenerator<Uint8Array> {
    for (const byte of bytes) yield await Promise.resolve(Uint8Array.of(byte));
  }
  expect(await Array.fromAsync(linesOf(cut()))).toEqual(["aé", "b", "", "c"]);
});
