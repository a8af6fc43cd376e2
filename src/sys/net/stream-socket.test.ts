import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplicateFd } from "../fd-stream.ts";
import { adoptStream, listenUnixStream, type StreamConnection } from "./stream-socket.ts";

const folder = mkdtempSync(join(tmpdir(), "tug-stream-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

/** A connection, and the other end of it in node's hands. */
async function openPair(): Promise<{ near: StreamConnection; far: Socket; told: string[] }> {
  count += 1;
  const path = join(folder, `${count}.sock`);
  const opened = Promise.withResolvers<StreamConnection>();
  const told: string[] = [];
  const listener = listenUnixStream(path, {
    open: opened.resolve,
    data: (_, bytes) => told.push(Buffer.from(bytes).toString()),
    drain: () => told.push("drain"),
    gone: () => told.push("gone"),
    end: () => told.push("end"),
    close: () => told.push("close"),
  });
  const far = connect({ path, allowHalfOpen: true });
  const near = await opened.promise;
  listener.close();
  return { near, far, told };
}

async function until(fact: () => boolean): Promise<void> {
  for (let round = 0; round < 400 && !fact(); round += 1) await Bun.sleep(5);
  expect(fact()).toBe(true);
}

test("writeBoth() sends two pieces as one, and says how much of them was taken", async () => {
  const { near, far, told } = await openPair();
  const chunks: Buffer[] = [];
  expect(near.writeBoth(Buffer.from("head "), Buffer.from("body"))).toBe(9);
  const body = Buffer.alloc(4_000_000, "x");
  far.pause();
  const taken = near.writeBoth(Buffer.from("more "), body);
  expect(taken).toBeGreaterThan(5);
  expect(taken).toBeLessThan(body.length);
  expect(near.writeBoth(Buffer.from("no room"), body)).toBe(0);
  expect(told).not.toContain("drain");
  far.on("data", (chunk: Buffer) => chunks.push(chunk)).resume();
  await until(() => told.includes("drain"));
  await until(() => Buffer.concat(chunks).length === 9 + taken);
  expect(Buffer.concat(chunks).toString("latin1", 0, 16)).toBe("head bodymore xx");
  far.destroy();
  await until(() => told.includes("close"));
  expect(near.writeBoth(Buffer.from("a"), Buffer.from("b"))).toBe(0);
});

test("a peer that has gone is told of by a write, also while the connection is paused", async () => {
  const { near, far, told } = await openPair();
  await until(() => !far.connecting);
  far.write("sent before");
  near.pause();
  far.pause();
  expect(near.write(Buffer.alloc(4_000_000))).toBeGreaterThan(0);
  await Bun.sleep(20);
  expect(told).not.toContain("gone");
  far.destroy();
  await until(() => told.includes("drain"));
  expect(near.write(Buffer.from("more"))).toBe(0);
  await until(() => told.includes("gone"));
  expect(told).not.toContain("close");
  near.resume();
  await until(() => told.includes("close"));
  expect(told).toContain("sent before");
});

test("adoptStream() goes on where another has read so far, half-close and end included", async () => {
  const { near, far } = await openPair();
  near.pause();
  const fd: unknown = Reflect.get(Reflect.get(far, "_handle") as object, "fd");
  const copy = duplicateFd(Number(fd));
  far.destroy();
  const told: string[] = [];
  let adopted: StreamConnection | undefined;
  near.write(Buffer.from("first "));
  await adoptStream(copy, {
    open: (connection) => {
      adopted = connection;
    },
    data: (_, bytes) => told.push(Buffer.from(bytes).toString()),
    end: () => told.push("end"),
    close: () => told.push("close"),
  });
  near.write(Buffer.from("second"));
  await until(() => told.join("").includes("second"));
  near.endWrite();
  await until(() => told.includes("end"));
  expect(adopted?.write(Buffer.from("still"))).toBe(5);
  near.close();
  await until(() => told.includes("close"));
  expect(told.filter((each) => each.length > 5).join("")).toBe("first second");
});
