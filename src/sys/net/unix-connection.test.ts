import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectUnix } from "./unix-connection.ts";

const folder = mkdtempSync(join(tmpdir(), "tug-unix-"));
const path = join(folder, "s.sock");
let server: Server;
let serve: (socket: Socket) => void = () => undefined;

beforeAll(async () => {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test("sends more than the kernel takes at once, in order", async () => {
  const sizeBytes = 20 * 1024 * 1024;
  const received = Promise.withResolvers<Buffer>();
  serve = (socket) => {
    const parts: Buffer[] = [];
    let count = 0;
    socket.on("data", (chunk: Buffer) => {
      parts.push(chunk);
      count += chunk.length;
      if (count === sizeBytes + 3) received.resolve(Buffer.concat(parts));
    });
  };
  const bytes = Buffer.alloc(sizeBytes, "0123456789abcdef!");
  const connection = await connectUnix(path, { onData: () => undefined, onClose: () => undefined });
  connection.send(bytes);
  connection.send(Buffer.from("end"));
  const all = await received.promise;
  connection.close();
  expect(all.subarray(0, sizeBytes).equals(bytes)).toBeTrue();
  expect(all.subarray(sizeBytes).toString()).toBe("end");
});

test("tells the end once, and nothing after it", async () => {
  const ended = Promise.withResolvers<void>();
  const events: string[] = [];
  serve = (socket) => {
    socket.end("bye");
  };
  const connection = await connectUnix(path, {
    onData: (chunk) => {
      events.push(chunk.toString());
    },
    onClose: (error) => {
      events.push(error === undefined ? "closed" : error.message);
      ended.resolve();
    },
  });
  await ended.promise;
  connection.close();
  connection.send(Buffer.from("late"));
  await Bun.sleep(10);
  expect(events).toEqual(["bye", "closed"]);
});

test("says why there is no connection", async () => {
  const events = { onData: () => undefined, onClose: () => undefined };
  const missing = connectUnix(join(folder, "none.sock"), events);
  await expect(missing).rejects.toMatchObject({ code: "ENOENT" });
});
