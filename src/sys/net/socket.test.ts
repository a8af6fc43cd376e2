import { afterAll, expect, test } from "bun:test";
import { closeSync, mkdtempSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeTree } from "../fs/fs.ts";
import {
  bindUdpFd,
  listenTcpFd,
  listenUnixSocket,
  peerCredentials,
  unreadBytes,
} from "./socket.ts";

const folder = mkdtempSync(join(tmpdir(), "sys-socket-"));
afterAll(() => removeTree(folder));

test("listenUnixSocket() replaces a file, has the mode, and a server adopts it", async () => {
  const path = join(folder, "s");
  writeFileSync(path, "stale");
  const fd = listenUnixSocket(path, { mode: 0o660 });
  expect(statSync(path).mode & 0o777).toBe(0o660);
  const server = createServer((socket) => socket.end("hi")).listen({ fd });
  const text = await new Promise<string>((resolve) => {
    connect(path).on("data", (bytes) => resolve(bytes.toString()));
  });
  expect(text).toBe("hi");
  await new Promise((resolve) => server.close(resolve));
});

test.each(["127.0.0.1", "::1"])("listenTcpFd() on %s tells the port it got", (host) => {
  const first = listenTcpFd({ host, port: 0 });
  expect(first.port).toBeGreaterThan(0);
  let thrown: unknown;
  try {
    listenTcpFd({ host, port: first.port, reuseAddress: true });
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ kind: "conflict", details: { code: "EADDRINUSE" } });
  closeSync(first.fd);
  closeSync(listenTcpFd({ host, port: first.port, reuseAddress: true }).fd);
});

test("bindUdpFd() refuses a port that is taken and an address that is not here", () => {
  const first = bindUdpFd({ host: "127.0.0.1", port: 0 });
  expect(() => bindUdpFd({ host: "127.0.0.1", port: first.port })).toThrow(
    "Address already in use",
  );
  closeSync(first.fd);
  expect(() => bindUdpFd({ host: "192.0.2.77", port: 0 })).toThrow("Cannot assign");
  expect(() => bindUdpFd({ host: "localhost", port: 0 })).toThrow("invalid IP address");
});

test("`::` leaves IPv4 alone unless told otherwise", () => {
  const six = listenTcpFd({ host: "::", port: 0 });
  const four = listenTcpFd({ host: "0.0.0.0", port: six.port });
  closeSync(six.fd);
  closeSync(four.fd);
  const both = listenTcpFd({ host: "::", port: 0, v6Only: false });
  expect(() => listenTcpFd({ host: "0.0.0.0", port: both.port })).toThrow("Address already in use");
  closeSync(both.fd);
});

test("peerCredentials() refuses what is no socket", () => {
  const pipe = bindUdpFd({ host: "127.0.0.1", port: 0 });
  expect(peerCredentials(pipe.fd)).toMatchObject({ pid: 0 });
  closeSync(pipe.fd);
  expect(() => peerCredentials(-1)).toThrow("Bad file descriptor");
});

test("unreadBytes() of a unix socket is none once the other end has read all", async () => {
  const path = join(folder, "unread");
  const fds = Promise.withResolvers<number>();
  const server = createServer((socket) => {
    socket.write("head");
    fds.resolve(Number(Reflect.get(Reflect.get(socket, "_handle") as object, "fd")));
  }).listen(path);
  await once(server, "listening");
  const client = connect(path);
  client.pause();
  await once(client, "connect");
  const fd = await fds.promise;
  await Bun.sleep(10);
  expect(unreadBytes(fd)).toBeGreaterThan(0);
  client.resume();
  await once(client, "data");
  expect(unreadBytes(fd)).toBe(0);
  client.destroy();
  server.close();
  expect(() => unreadBytes(-1)).toThrow(/output queue/);
});
