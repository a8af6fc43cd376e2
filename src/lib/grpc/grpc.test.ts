import { afterEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { EngineError, type ErrorKind, errorKinds } from "../errors.ts";
import { silentLogger } from "../log.ts";
import { bytesField, message, type MessageType, stringField } from "../protobuf.ts";
import { callDuplex } from "./call-duplex.ts";
import { GrpcClient } from "./client.ts";
import { grpcMethod } from "./method.ts";
import { replayDuplex } from "./replay-duplex.ts";
import { createGrpcServer, type GrpcHandler, streamHandler, unaryHandler } from "./server.ts";
import {
  decodeStatusMessage,
  encodeStatusMessage,
  errorOfStatus,
  statusDetailsKey,
  statusOfError,
  statusOfTrailers,
  trailersOfStatus,
} from "./status.ts";

interface Note {
  readonly text: string;
  readonly data: Uint8Array;
}
const noteType: MessageType<Note> = message<Note>({ text: stringField(1), data: bytesField(2) });
const types = { request: noteType, response: noteType };
const echo = grpcMethod("/test.Notes/Echo", types);
const stream = grpcMethod("/test.Notes/Stream", types);
const noData = new Uint8Array(0);

let socketCount = 0;
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A client of `handlers`, over a unix socket. */
async function connectTo(handlers: readonly GrpcHandler[]): Promise<{
  readonly client: GrpcClient;
  readonly drop: () => void;
}> {
  const path = `/tmp/grpc-test-${process.pid}-${++socketCount}.sock`;
  const server = createGrpcServer({ handlers, logger: silentLogger });
  const listener = net.createServer({ allowHalfOpen: true }, (socket) => {
    void server.accept(replayDuplex(socket));
  });
  await new Promise<void>((resolve) => listener.listen(path, resolve));
  const socket = net.connect({ path, allowHalfOpen: true });
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  const client = new GrpcClient(replayDuplex(socket));
  closers.push(() => {
    client.close();
    server.close();
    listener.close();
    rmSync(path, { force: true });
  });
  return { client, drop: () => socket.destroy() };
}

const echoHandler = unaryHandler(echo, async (request) => request);

describe("calls", () => {
  test("a unary call answers", async () => {
    const { client } = await connectTo([echoHandler]);
    const answer = await client.unary(echo, { text: "héllo" });
    expect(answer).toEqual({ text: "héllo", data: noData });
  });

  test("many calls at once answer each its own", async () => {
    const { client } = await connectTo([echoHandler]);
    const texts = Array.from({ length: 300 }, (_, at) => `n${at}`);
    const answers = await Promise.all(texts.map((text) => client.unary(echo, { text })));
    expect(answers.map(({ text }) => text)).toEqual(texts);
  });

  test.each(errorKinds)("a failure of kind %s reaches the caller", async (kind: ErrorKind) => {
    const refuse = unaryHandler(echo, async () => {
      throw new EngineError(kind, "wölf: 100%\nno", {
        details: { [statusDetailsKey]: [{ typeUrl: "x/y", value: Buffer.from("v") }] },
      });
    });
    const { client } = await connectTo([refuse]);
    const failure = await client.unary(echo, {}).catch((error: unknown) => error);
    if (!(failure instanceof EngineError)) throw failure;
    expect(failure.message).toBe("wölf: 100%\nno");
    // Two kinds have no code of their own.
    const back = kind === "not-modified" ? "conflict" : kind;
    expect(failure.kind).toBe(back);
    expect(JSON.stringify(failure.details[statusDetailsKey])).toContain("x/y");
  });

  test("a fault that is no EngineError is not told", async () => {
    const { client } = await connectTo([
      unaryHandler(echo, async () => {
        throw new TypeError("secret detail");
      }),
    ]);
    await expect(client.unary(echo, {})).rejects.toThrow("internal fault of the engine");
  });

  test("an unknown method is not implemented", async () => {
    const { client } = await connectTo([]);
    const failure = await client.unary(echo, {}).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      kind: "not-implemented",
      message: "unknown method /test.Notes/Echo",
    });
  });

  test("metadata arrives, with repeated values apart", async () => {
    const { client } = await connectTo([
      unaryHandler(echo, async (_request, { metadata }) => ({
        text: JSON.stringify([...metadata]),
      })),
    ]);
    const metadata = new Map([
      ["exclude-patterns", ["a, b", "c"]],
      ["dir-name", ["context"]],
    ]);
    const answer = await client.unary(echo, {}, { metadata });
    expect(new Map(JSON.parse(answer.text))).toEqual(metadata);
  });

  test("very much metadata arrives", async () => {
    const { client } = await connectTo([
      unaryHandler(echo, async (_request, { metadata }) => ({
        text: String(metadata.get("exclude-patterns")?.length),
      })),
    ]);
    const values = Array.from({ length: 5000 }, (_, at) => `some/folder/number/${at}/**`);
    const metadata = new Map([["exclude-patterns", values]]);
    expect((await client.unary(echo, {}, { metadata })).text).toBe("5000");
  });

  test("a handler's headers go before its first message, never over the protocol's", async () => {
    const headers = { ":status": "500", "x-time": "now" };
    const path = `/tmp/grpc-test-${process.pid}-headers.sock`;
    const handlers = [streamHandler(stream, async () => undefined, { headers: () => headers })];
    const server = createGrpcServer({ handlers, logger: silentLogger });
    const listener = net.createServer({ allowHalfOpen: true }, (socket) => {
      void server.accept(replayDuplex(socket));
    });
    await new Promise<void>((resolve) => listener.listen(path, resolve));
    const session = http2.connect("http://x", {
      createConnection: () => net.connect({ path, allowHalfOpen: true }),
    });
    closers.push(() => {
      session.destroy();
      server.close();
      listener.close();
      rmSync(path, { force: true });
    });
    const call = session.request({
      ":method": "POST",
      ":path": stream.path,
      "content-type": "application/grpc",
    });
    const answered = await new Promise<Record<string, unknown>>((resolve) =>
      call.once("response", (found) => resolve({ ...found })),
    );
    expect([answered["x-time"], Number(answered[":status"])]).toEqual(["now", 200]);
  });

  test("messages stream both ways at the same time", async () => {
    const { client } = await connectTo([
      streamHandler(stream, async (call) => {
        for (;;) {
          const note = await call.next();
          if (note === undefined) return;
          await call.send({ text: `re: ${note.text}` });
        }
      }),
    ]);
    const call = client.open(stream);
    for (let at = 0; at < 50; at += 1) {
      await call.send({ text: String(at) });
      expect((await call.next())?.text).toBe(`re: ${at}`);
    }
    call.end();
    expect(await call.next()).toBeUndefined();
  });

  test("large messages pass whole, and a slow reader holds the sender back", async () => {
    let sentCount = 0;
    const { client } = await connectTo([
      streamHandler(stream, async (call) => {
        for (let at = 0; at < 64; at += 1) {
          await call.send({ data: Buffer.alloc(1024 * 1024, at) });
          sentCount += 1;
        }
      }),
    ]);
    const call = client.open(stream);
    await call.next();
    await Bun.sleep(200);
    expect(sentCount).toBeLessThan(40);
    let readCount = 1;
    for (let note = await call.next(); note !== undefined; note = await call.next()) {
      expect(note.data.length).toBe(1024 * 1024);
      expect(note.data[5]).toBe(readCount);
      readCount += 1;
    }
    expect(readCount).toBe(64);
  });

  test.each([1000, 100_000, 5_000_000])(
    "calls of which nobody reads do not stop their neighbours: messages of %d bytes",
    async (sizeBytes) => {
      const flood = grpcMethod("/test.Notes/Flood", types);
      const sink = grpcMethod("/test.Notes/Sink", types);
      const { client } = await connectTo([
        echoHandler,
        streamHandler(flood, async (call) => {
          while (!call.signal.aborted) await call.send({ data: Buffer.alloc(sizeBytes) });
        }),
        streamHandler(sink, async (call) => {
          await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
        }),
        streamHandler(stream, async (call) => {
          for (let note = await call.next(); note !== undefined; note = await call.next()) {
            await call.send(note);
          }
        }),
      ]);
      for (let count = 0; count < 4; count += 1) {
        await client.open(flood).next();
        const unread = client.open(sink);
        void (async () => {
          for (;;) await unread.send({ data: Buffer.alloc(sizeBytes) });
        })().catch((error: unknown) => expect(error).toMatchObject({ kind: "unavailable" }));
      }
      const call = client.open(stream);
      for (let count = 0; count < 20; count += 1) {
        await call.send({ data: Buffer.alloc(500_000, count) });
        expect((await call.next())?.data[499_999]).toBe(count);
      }
      call.end();
      expect(await call.next()).toBeUndefined();
    },
  );

  test("a connection within a call carries calls", async () => {
    const inner = createGrpcServer({ handlers: [echoHandler], logger: silentLogger });
    const { client } = await connectTo([
      streamHandler(stream, async (call) => await inner.accept(callDuplex(call))),
    ]);
    const within = new GrpcClient(callDuplex(client.open(stream)));
    closers.push(() => within.close());
    const data = Buffer.alloc(3_000_000, "within");
    const answers = await Promise.all([1, 2, 3].map(() => within.unary(echo, { data })));
    for (const answer of answers) expect(data.equals(answer.data)).toBe(true);
  });

  test("a message above the bound ends the call", async () => {
    const { client } = await connectTo([
      unaryHandler(echo, async () => ({ data: Buffer.alloc(5000) })),
    ]);
    const failure = await client
      .unary(echo, {}, { messageMaxBytes: 1000 })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: "invalid-argument" });
  });
});

describe("ends", () => {
  test("a deadline ends the call at both sides", async () => {
    const ended = Promise.withResolvers<unknown>();
    const { client } = await connectTo([
      unaryHandler(echo, async (_request, { signal }) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        ended.resolve(signal.reason);
        throw signal.reason;
      }),
    ]);
    const failure = await client.unary(echo, {}, { timeoutMs: 50 }).catch((error) => error);
    expect(failure).toMatchObject({ kind: "deadline-exceeded" });
    expect(await ended.promise).toBeInstanceOf(EngineError);
  });

  test("a canceled call tells the server", async () => {
    const ended = Promise.withResolvers<unknown>();
    const { client } = await connectTo([
      streamHandler(stream, async (call) => {
        call.signal.addEventListener("abort", () => ended.resolve(call.signal.reason));
        await call.send({ text: "begun" });
        await ended.promise;
      }),
    ]);
    const stop = new AbortController();
    const call = client.open(stream, { signal: stop.signal });
    expect((await call.next())?.text).toBe("begun");
    stop.abort();
    await expect(call.next()).rejects.toMatchObject({ kind: "canceled" });
    expect(await ended.promise).toMatchObject({ kind: "canceled" });
  });

  test("a lost connection fails what is under way, and later calls", async () => {
    const gone = Promise.withResolvers<unknown>();
    const { client, drop } = await connectTo([
      unaryHandler(echo, async (_request, { signal }) => {
        signal.addEventListener("abort", () => gone.resolve(signal.reason));
        await gone.promise;
        return {};
      }),
    ]);
    const asked = client.unary(echo, {}).catch((error: unknown) => error);
    await Bun.sleep(50);
    drop();
    expect(await asked).toMatchObject({ kind: "unavailable" });
    await client.closed;

    expect(await gone.promise).toMatchObject({ kind: "canceled" });
    await expect(client.unary(echo, {})).rejects.toMatchObject({ kind: "unavailable" });
  });

  test("a server that answers and then fails is a failure", async () => {
    const { client } = await connectTo([
      streamHandler(echo, async (call) => {
        await call.send({ text: "half" });
        throw new EngineError("data-loss", "broken");
      }),
    ]);
    await expect(client.unary(echo, {})).rejects.toMatchObject({ kind: "data-loss" });
  });
});

describe("status", () => {
  test.each(["plain", "100 %", "zeile\nzwei", "日本", ""])("text %p survives", (text) => {
    expect(decodeStatusMessage(encodeStatusMessage(text))).toBe(text);
    expect(encodeStatusMessage(text)).toMatch(/^[\x20-\x7e]*$/);
  });

  test("a stray percent sign stays", () => {
    expect(decodeStatusMessage("50% of %zz")).toBe("50% of %zz");
  });

  test("trailers keep details; those that do not decode are left out", () => {
    const status = statusOfError(
      new EngineError("not-found", "x", {
        details: { [statusDetailsKey]: [{ typeUrl: "a", value: Buffer.from([1, 2]) }] },
      }),
    );
    const back = statusOfTrailers(trailersOfStatus(status));
    expect(back?.details[0]?.typeUrl).toBe("a");
    expect([...(back?.details[0]?.value ?? [])]).toEqual([1, 2]);
    const broken = statusOfTrailers({ "grpc-status": "5", "grpc-status-details-bin": "////" });
    expect(broken).toEqual({ code: 5, message: "", details: [] });
    expect(statusOfTrailers({ "grpc-status": "abc" })).toBeUndefined();
  });

  test("a code nobody knows is internal", () => {
    expect(errorOfStatus({ code: 99, message: "", details: [] }).kind).toBe("internal");
  });
});
