import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, readdirSync, readlinkSync } from "node:fs";
import { connect, createServer } from "node:net";
import { createSocket } from "node:dgram";
import { inNamespace, openNamespace } from "../namespace.ts";
import { Netlink } from "./netlink.ts";
import { run } from "../process/process.ts";
import { bindUdpFd, listenTcpFd } from "./socket.ts";

const isRoot = process.getuid?.() === 0;
const bridgeName = `tugt${process.pid % 100_000}`;
const vethName = `tugv${process.pid % 100_000}`;

describe.skipIf(!isRoot)("links between two namespaces", () => {
  let sleeper: ReturnType<typeof Bun.spawn>;
  let namespace = -1;
  let bridge = 0;
  let netlink: Netlink;
  const inside = <T>(work: (inner: Netlink) => T): T =>
    inNamespace(namespace, "net", () => {
      using inner = new Netlink();
      return work(inner);
    });

  beforeAll(async () => {
    netlink = new Netlink();
    sleeper = Bun.spawn(["unshare", "--net", "sleep", "60"]);
    const own = readlinkSync("/proc/self/ns/net");
    while (readlinkSync(`/proc/${sleeper.pid}/ns/net`) === own) await Bun.sleep(5);
    namespace = openNamespace(`/proc/${sleeper.pid}/ns/net`);
    bridge = netlink.createBridge(bridgeName, { mac: "02:42:0a:00:00:01", mtu: 1400 });
  });
  afterAll(() => {
    netlink.deleteLink(bridge);
    const veth = netlink.linkByName(vethName);
    if (veth !== undefined) netlink.deleteLink(veth.index);
    netlink[Symbol.dispose]();
    closeSync(namespace);
    sleeper.kill("SIGKILL");
  });

  test("createBridge() makes the bridge as told", () => {
    expect(netlink.linkByName(bridgeName)).toEqual({
      index: bridge,
      name: bridgeName,
      mac: "02:42:0a:00:00:01",
      mtu: 1400,
      isUp: false,
      kind: "bridge",
      master: 0,
    });
    expect(() => netlink.createBridge(bridgeName)).toThrow("File exists");
  });

  test("addAddress() adds, and the kernel's own words are in the failure", () => {
    netlink.setUp(bridge);
    netlink.addAddress(bridge, "10.213.77.1/24", { broadcast: "10.213.77.255" });
    expect(netlink.addresses()).toContainEqual({
      index: bridge,
      address: "10.213.77.1",
      prefix: 24,
      family: 4,
    });
    expect(() => netlink.addAddress(bridge, "10.213.77.1/24")).toThrow(/File exists \(.+\)/);
    expect(() => netlink.addAddress(bridge, "10.213.77.1")).toThrow("invalid CIDR");
  });

  test("createVeth() makes the peer inside the other namespace in one step", () => {
    netlink.createVeth({
      name: vethName,
      peerName: "eth0",
      peerPid: sleeper.pid,
      peerMac: "02:42:0a:d5:4d:02",
      master: bridge,
      mtu: 1400,
    });
    const host = netlink.linkByName(vethName);
    expect(host).toMatchObject({ isUp: true, kind: "veth", master: bridge });
    expect(inside((inner) => inner.linkByName("eth0"))).toMatchObject({
      mac: "02:42:0a:d5:4d:02",
      mtu: 1400,
      isUp: false,
    });
    expect(inside((inner) => inner.linkByName(vethName))).toBeUndefined();
  });

  test("a namespace is configured with addresses and routes of both families", () => {
    const routes = inside((inner) => {
      const link = inner.linkByName("eth0")?.index ?? 0;
      inner.setUp(inner.linkByName("lo")?.index ?? 0);
      inner.addAddress(link, "10.213.77.2/24");
      inner.addAddress(link, "fd00:77::2/64");
      inner.setUp(link);
      inner.addRoute({ gateway: "10.213.77.1" });
      inner.addRoute({ destination: "fd00:78::/32", gateway: "fd00:77::1", index: link });
      expect(() => inner.addRoute({ destination: "10.9.0.0/16", gateway: "99.9.9.9" })).toThrow(
        /Network is unreachable \(.+\)/,
      );
      inner.addRoute({ destination: "10.8.0.0/16", index: link });
      inner.deleteRoute({ destination: "10.8.0.0/16" });
      return inner.routes();
    });
    expect(routes).toContainEqual({ gateway: "10.213.77.1", index: 2, family: 4 });
    expect(routes).toContainEqual({ destination: "10.213.77.0/24", index: 2, family: 4 });

    expect(routes).toContainEqual({
      destination: "fd00:78::/32",
      gateway: "fd00:77::1",
      index: 2,
      family: 6,
    });
    expect(routes.filter((route) => route.destination === "10.8.0.0/16")).toEqual([]);
  });

  test("rename(), setMac(), setMtu(), setMaster(), setDown() change a link", () => {
    const index = netlink.linkByName(vethName)?.index ?? 0;
    netlink.setMaster(index, 0);
    netlink.setDown(index);
    netlink.rename(index, `${vethName}x`);
    netlink.setMac(index, "02:42:0a:00:00:09");
    netlink.setMtu(index, 1300);
    expect(netlink.linkByName(`${vethName}x`)).toMatchObject({
      mac: "02:42:0a:00:00:09",
      mtu: 1300,
      isUp: false,
      master: 0,
    });
    netlink.rename(index, vethName);
    netlink.setMaster(index, bridge);
    netlink.setUp(index);
  });

  test("a TCP port opened inside is served by a server outside", async () => {
    const bound = inNamespace(namespace, "net", () =>
      listenTcpFd({ host: "10.213.77.2", port: 0 }),
    );
    const server = createServer((socket) => socket.end("hello")).listen({ fd: bound.fd });
    const text = await new Promise<string>((resolve) => {
      connect(bound.port, "10.213.77.2").on("data", (bytes) => resolve(bytes.toString()));
    });
    expect(text).toBe("hello");
    await new Promise((resolve) => server.close(resolve));
  });

  test("a UDP port bound inside is adopted by node:dgram", async () => {
    const bound = inNamespace(namespace, "net", () => bindUdpFd({ host: "10.213.77.2", port: 0 }));
    const socket = createSocket("udp4");
    const received = new Promise<string>((resolve) => {
      socket.on("message", (bytes, from) => {
        socket.send(bytes, from.port, from.address);
        resolve(bytes.toString());
      });
    });
    socket.bind({ fd: bound.fd });
    const client = createSocket("udp4");
    const answer = new Promise<string>((resolve) => {
      client.on("message", (bytes) => resolve(bytes.toString()));
    });
    client.send("query", bound.port, "10.213.77.2");
    expect(await received).toBe("query");
    expect(await answer).toBe("query");
    socket.close();
    client.close();
  });

  test("inNamespace() returns to the own namespace when the work throws", () => {
    const own = readlinkSync("/proc/thread-self/ns/net");
    expect(() =>
      inNamespace(namespace, "net", () => {
        throw new TypeError(readlinkSync("/proc/thread-self/ns/net"));
      }),
    ).toThrow(readlinkSync(`/proc/${sleeper.pid}/ns/net`));
    expect(readlinkSync("/proc/thread-self/ns/net")).toBe(own);
    expect(() => inNamespace(namespace, "uts", () => 0)).toThrow("Invalid argument");
  });

  test("deleteLink() removes the peer too and tells a missing link", () => {
    const index = netlink.linkByName(vethName)?.index ?? 0;
    expect(netlink.deleteLink(index)).toBe(true);
    expect(netlink.deleteLink(index)).toBe(false);
    expect(inside((inner) => inner.linkByName("eth0"))).toBeUndefined();
    expect(() => netlink.setUp(index)).toThrow("No such device");
  });

  test("closing gives the descriptor back", () => {
    const count = (): number => readdirSync("/proc/self/fd").length;
    const before = count();
    for (let round = 0; round < 20; round += 1) new Netlink()[Symbol.dispose]();
    expect(count()).toBeLessThanOrEqual(before);
  });
});

test.each(["", "sixteen-chars-xx", "a b", "a/b", "a:b", ".", ".."])(
  "%j is no link name",
  (name) => {
    using netlink = new Netlink();
    expect(() => netlink.linkByName(name)).toThrow("invalid link name");
  },
);

test("links() agrees with the system", async () => {
  using netlink = new Netlink();
  const names = netlink.links().map((link) => link.name);
  expect(names).toContain("lo");
  const { stdout } = await run({ argv: ["ip", "-json", "link", "show", "lo"] });
  expect(stdout).toContain('"ifname":"lo"');
});
