import { afterAll, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { openNamespace } from "../../sys/namespace.ts";
import { openPortService } from "./_port-service.ts";
import type { SandboxServices } from "./sandbox-services.ts";
import type { PortPlan } from "./sandbox-plan.ts";

const isRoot = process.getuid?.() === 0;
const opened: { close(): void }[] = [];

/** One namespace plays both: the "container" is 127.0.0.9. */
async function open(ports: readonly Partial<PortPlan>[]): Promise<SandboxServices> {
  const whole = ports.map((port, index) => ({
    protocol: "tcp" as const,
    hostIp: "127.0.0.1",
    hostPortFirst: 0,
    hostPortLast: 0,
    containerPort: 80,
    group: index,
    ...port,
  }));
  const interfaces = [{ name: "eth0", addresses: ["127.0.0.9/8"] }];
  const service = await openPortService(
    { interfaces, ports: whole, sysctls: {} },
    { hostNetworkFd: openNamespace("/proc/thread-self/ns/net"), onWarning: () => undefined },
  );
  opened.push(service);
  return service;
}

async function echoServer(): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.9", resolve));
  opened.push(server);
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const lastWords = Buffer.alloc(3_000_000, "the last words ");

/** A "container" that writes what it has to its only client, and is gone. */
async function lastServer(how: "ends" | "stays"): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    if (how === "ends") socket.end(lastWords);
    else socket.write(lastWords);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.9", resolve));
  opened.push(server);
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

interface Reader {
  readonly socket: Socket;
  readonly read: () => Promise<{ readonly bytes: Buffer; readonly isReset: boolean }>;
}

/** A client that reads nothing until it is asked to. */
async function reader(port: number): Promise<Reader> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  socket.pause();
  const parts: Buffer[] = [];
  let isReset = false;
  const over = new Promise<void>((resolve) => {
    socket.on("end", resolve).on("close", () => resolve());
    socket.on("error", () => {
      isReset = true;
    });
  });
  const read = async (): ReturnType<Reader["read"]> => {
    socket.on("data", (part: Buffer) => parts.push(part));
    socket.resume();
    await over;
    socket.destroy();
    return { bytes: Buffer.concat(parts), isReset };
  };
  return { socket, read };
}

async function echoed(port: number, sent: Buffer): Promise<Buffer> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  const ended = new Promise<void>((resolve, reject) => {
    socket.on("end", resolve);
    socket.on("error", reject);
  });
  socket.end(sent);
  await ended;
  socket.destroy();
  return Buffer.concat(parts);
}

describe.skipIf(!isRoot)("port service (needs root)", () => {
  afterAll(() => {
    for (const each of opened) each.close();
  });

  test("TCP passes both ways to the half-closes, many at once", async () => {
    const containerPort = await echoServer();
    const { ports } = await open([{ containerPort }]);
    const sent = Buffer.alloc(1_500_000, "0123456789abcdef");
    const all = await Promise.all(
      Array.from({ length: 10 }, () => echoed(ports[0]?.hostPort ?? 0, sent)),
    );
    for (const each of all) expect(each.equals(sent)).toBe(true);
  });

  test("nobody listening: the client is refused, and the next one is served again", async () => {
    const { ports } = await open([{ containerPort: 1 }]);
    for (let round = 0; round < 3; round += 1) {
      const socket = connect({ port: ports[0]?.hostPort ?? 0, host: "127.0.0.1" });
      const closed = new Promise<string>((resolve) => {
        socket.on("error", () => undefined);
        socket.on("close", () => resolve("closed"));
      });
      expect(await closed).toBe("closed");
    }
  });

  test("what a container sent before its end reaches clients that read later", async () => {
    const service = await open([{ containerPort: await lastServer("ends") }]);
    const clients = await Promise.all(
      Array.from({ length: 3 }, () => reader(service.ports[0]?.hostPort ?? 0)),
    );
    await Bun.sleep(100);
    const end = service.end();
    const beganMs = performance.now();
    await end.received;
    // Nobody has read yet: the end of a container waits for no client.
    expect(performance.now() - beganMs).toBeLessThan(90);
    await Bun.sleep(100);
    for (const client of clients) {
      const { bytes, isReset } = await client.read();
      expect([bytes.equals(lastWords), isReset]).toEqual([true, false]);
    }
    await end.delivered;
    expect(performance.now() - beganMs).toBeLessThan(1500);
  });

  test("a client that never reads, and a server that stays, hold nothing up for long", async () => {
    const service = await open([{ containerPort: await lastServer("stays") }]);
    const hostPort = service.ports[0]?.hostPort ?? 0;
    const { read } = await reader(hostPort);
    await Bun.sleep(50);
    const end = service.end();
    const again = await open([{ hostPortFirst: hostPort, hostPortLast: hostPort }]);
    expect(again.ports).toHaveLength(1);
    const beganMs = performance.now();
    await end.received;
    expect(performance.now() - beganMs).toBeLessThan(400);
    await end.delivered;
    expect(performance.now() - beganMs).toBeWithin(1500, 3500);
    expect((await read()).isReset).toBe(true);
  });

  test("a group gets one number at all its addresses", async () => {
    const group = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map((hostIp) => ({ hostIp, group: 1 }));
    const { ports } = await open(group);
    expect(new Set(ports.map((port) => port.hostPort)).size).toBe(1);
    expect(ports.map((port) => port.hostIp)).toEqual(group.map((port) => port.hostIp));
  });

  test("a range gives the first port that is free; a full one is a conflict", async () => {
    const first = (await open([{}])).ports[0]?.hostPort ?? 0;
    const range = { hostPortFirst: first, hostPortLast: first + 1 };
    expect((await open([range])).ports[0]?.hostPort).toBe(first + 1);
    await expect(open([range])).rejects.toMatchObject({
      kind: "conflict",
      message: `Bind for 127.0.0.1:${first} failed: port is already allocated`,
    });
  });

  test("a conflict leaves none of the other ports bound", async () => {
    const taken = (await open([{}])).ports[0]?.hostPort ?? 0;
    const free = (await open([{ hostIp: "127.0.0.7" }])).ports[0]?.hostPort ?? 0;
    opened.pop()?.close();
    const fixed = (port: number, hostIp: string): Partial<PortPlan> => ({
      hostIp,
      hostPortFirst: port,
      hostPortLast: port,
    });
    const both = [fixed(free, "127.0.0.7"), fixed(taken, "127.0.0.1")];
    await expect(open(both)).rejects.toMatchObject({ kind: "conflict" });
    expect((await open([fixed(free, "127.0.0.7")])).ports).toHaveLength(1);
  });

  test("UDP answers go to whom they are for", async () => {
    const server = await Bun.udpSocket({
      hostname: "127.0.0.9",
      port: 0,
      socket: { data: (socket, bytes, port, host) => void socket.send(`<${bytes}>`, port, host) },
    });
    const { ports } = await open([{ protocol: "udp", containerPort: server.port }]);
    const answers = await Promise.all(
      ["a", "b", "c"].map(async (text) => {
        const answer = Promise.withResolvers<string>();
        const client = await Bun.udpSocket({
          connect: { hostname: "127.0.0.1", port: ports[0]?.hostPort ?? 0 },
          socket: { data: (_, bytes) => answer.resolve(bytes.toString()) },
        });
        client.send(text);
        const got = await answer.promise;
        client.close();
        return got;
      }),
    );
    expect(answers).toEqual(["<a>", "<b>", "<c>"]);
    server.close();
  });
});
