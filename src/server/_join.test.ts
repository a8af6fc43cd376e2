import { afterAll, expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { setSocketTaker, type TakenSocket } from "../lib/socket-taker.ts";
import { joinStreams } from "./_join.ts";

const folder = mkdtempSync(join(tmpdir(), "tug-join-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One side: what it is sent, and whether its writing half was closed. */
function openSide(): { readonly stream: Duplex; readonly sent: string[]; ended: boolean } {
  const side = {
    sent: [] as string[],
    ended: false,
    stream: new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        side.sent.push(chunk.toString());
        done();
      },
      final: (done) => {
        side.ended = true;
        done();
      },
    }),
  };
  return side;
}

/** Ends what comes from a side, and lets that be noticed by whoever reads it now. */
async function endBefore(stream: Duplex): Promise<void> {
  stream.push(null);
  stream.resume();
  await Bun.sleep(1);
  expect(stream.readableEnded).toBeTrue();
}

test("bytes go both ways, and the process's end is the client's", async () => {
  const [client, process] = [openSide(), openSide()];
  const joined = joinStreams({
    client: client.stream,
    process: process.stream,
    early: Buffer.from("early "),
  });
  client.stream.push("in");
  process.stream.push("out");
  client.stream.push(null);
  await Bun.sleep(1);
  expect({ in: process.sent.join(""), ended: process.ended }).toEqual({
    in: "early in",
    ended: true,
  });
  process.stream.push(null);
  await joined;
  expect({ out: client.sent.join(""), ended: client.ended }).toEqual({ out: "out", ended: true });
});

test("a process whose output is over before it is joined ends the client's", async () => {
  const [client, process] = [openSide(), openSide()];
  await endBefore(process.stream);
  void joinStreams({ client: client.stream, process: process.stream, early: Buffer.alloc(0) });
  await Bun.sleep(1);
  expect(client.ended).toBeTrue();
});

test("a client that has sent all before it is joined ends the process's input", async () => {
  const [client, process] = [openSide(), openSide()];
  await endBefore(client.stream);
  void joinStreams({
    client: client.stream,
    process: process.stream,
    early: Buffer.from("all"),
  });
  await Bun.sleep(1);
  expect({ sent: process.sent, ended: process.ended }).toEqual({ sent: ["all"], ended: true });
});

const muchBytes = 2 * 1024 * 1024;

/** Both ends of a socket. */
async function openClient(): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const path = join(folder, `${performance.now()}.sock`);
  const server = createServer({ allowHalfOpen: true }).listen(path);
  await once(server, "listening");
  const accepted = once(server, "connection");
  const far = connect({ path, allowHalfOpen: true });
  const [near] = (await accepted) as [Socket];
  server.close();
  return { near, far };
}

test("much output has the process's side asked to take the socket, which it is given once it has all", async () => {
  const { near, far } = await openClient();
  let farBytes = 0;
  far.on("data", (chunk: Buffer) => {
    farBytes += chunk.length;
  });
  const process = openSide();
  const told: string[] = [];
  setSocketTaker(process.stream, () => ({
    take: async (fd) => {
      told.push(`take ${typeof fd}`);
      // Asked in the middle of the output; the rest is on its way.
      await Bun.sleep(20);
      return await Promise.resolve<TakenSocket>({
        outputBytes: muchBytes + 5,
        serve: (inputBytes) => told.push(`serve after ${farBytes} out, ${inputBytes} in`),
        end: () => told.push("end"),
      });
    },
  }));
  const joined = joinStreams({ client: near, process: process.stream, early: Buffer.from("ab") });
  far.write("cd");
  await Bun.sleep(10);
  process.stream.push(Buffer.alloc(muchBytes));
  await Bun.sleep(50);
  expect(told).toEqual(["take number"]);
  process.stream.push("more.");
  await Bun.sleep(50);
  expect(told).toHaveLength(2);
  expect(told[1]).toMatch(/^serve after \d+ out, 4 in$/);
  expect(farBytes).toBe(muchBytes + 5);
  expect(near.destroyed).toBe(true);
  process.stream.push(null);
  await joined;
  expect(told[2]).toBe("end");
  far.destroy();
});

test("what cannot take the socket is joined to it as before", async () => {
  const { near, far } = await openClient();
  let farBytes = 0;
  far.on("data", (chunk: Buffer) => {
    farBytes += chunk.length;
  });
  const process = openSide();
  let askedCount = 0;
  setSocketTaker(process.stream, () => ({
    take: async () => {
      askedCount += 1;
      return await Promise.resolve(undefined);
    },
  }));
  const joined = joinStreams({ client: near, process: process.stream, early: Buffer.alloc(0) });
  for (let round = 0; round < 3; round += 1) process.stream.push(Buffer.alloc(muchBytes));
  await Bun.sleep(50);
  far.end("in");
  process.stream.push(null);
  await joined;
  expect({ askedCount, farBytes, sent: process.sent }).toEqual({
    askedCount: 1,
    farBytes: 3 * muchBytes,
    sent: ["in"],
  });
});

test("a client that vanishes while its socket is being taken is not given away", async () => {
  const { near, far } = await openClient();
  const process = openSide();
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<TakenSocket | undefined>();
  let isServed = false;
  setSocketTaker(process.stream, () => ({
    take: async () => {
      asked.resolve();
      return await answer.promise;
    },
  }));
  const joined = joinStreams({ client: near, process: process.stream, early: Buffer.alloc(0) });
  process.stream.push(Buffer.alloc(muchBytes));
  await asked.promise;
  far.destroy();
  await joined;
  answer.resolve({
    outputBytes: 0,
    serve: () => {
      isServed = true;
    },
    end: () => undefined,
  });
  await Bun.sleep(10);
  expect({ isServed, isDestroyed: process.stream.destroyed }).toEqual({
    isServed: false,
    isDestroyed: true,
  });
});
