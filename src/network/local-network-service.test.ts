import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventInput } from "../event/event-bus.ts";
import { createEventBus } from "../event/journal-event-bus.ts";
import { createId } from "../lib/id.ts";
import { silentLogger } from "../lib/log.ts";
import { sleep } from "../lib/concurrency/retry.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { askHost, describeHost, sh, TestNamespace } from "./_netns-fixture.ts";
import { type NetworkServiceOptions, openNetworkService } from "./local-network-service.ts";
import type { AttachRequest, Endpoint, NetworkService, PublishedPort } from "./network-service.ts";
import { parsePublishRequests } from "./ports.ts";

describeHost("a host with networks", import.meta.path, () => {
  const folder = mkdtempSync(join(tmpdir(), "tug-network-"));
  const events: EventInput[] = [];
  const bus = createEventBus();
  const recording = {
    publish: (event: EventInput) => void events.push(event),
    subscribe: bus.subscribe.bind(bus),
    listenerCount: 0,
  };
  const opened: AsyncDisposable[] = [];
  const namespaces: TestNamespace[] = [];
  let neighbour: TestNamespace;

  const close = async (): Promise<void> => {
    for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
  };
  /** The next daemon on this host; ends the one before. */
  const open = async (
    more: Partial<NetworkServiceOptions> & { readonly database?: string } = {},
  ): Promise<NetworkService> => {
    await close();
    const { database = "metadata.db", ...others } = more;
    const metadata = openMetadata({ path: join(folder, database), logger: silentLogger });
    opened.push({ [Symbol.asyncDispose]: async () => metadata[Symbol.dispose]() });
    const service = openNetworkService({
      metadata,
      events: recording,
      logger: silentLogger,
      ...others,
    });
    opened.push(service);
    return service;
  };
  const sandbox = async (): Promise<TestNamespace> => {
    const namespace = await TestNamespace.create();
    namespaces.push(namespace);
    return namespace;
  };
  const requestFor = (name: string, ports: Record<string, string> = {}): AttachRequest => ({
    containerId: createId(),
    containerName: name,
    hostname: name,
    endpoint: { network: "bridge" },
    publish: parsePublishRequests({
      portBindings: Object.fromEntries(
        Object.entries(ports).map(([key, host]) => {
          const [HostIp, HostPort] = host.includes(":") ? host.split(":") : ["", host];
          return [key, [{ HostIp: HostIp ?? "", HostPort: HostPort ?? "" }]];
        }),
      ),
    }),
    dnsServers: [],
  });
  const attach = async (
    service: NetworkService,
    request: AttachRequest,
  ): Promise<{ endpoint: Endpoint; box: TestNamespace; ports: PublishedPort[] }> => {
    const box = await sandbox();
    const endpoint = await service.allocate(request);
    const plan = await service.connect(endpoint, { request, sandboxPid: box.pid });
    box.configure(plan.interfaces);
    const ports = plan.ports.map(({ protocol, hostIp, hostPortFirst, containerPort }) => ({
      protocol,
      hostIp,
      hostPort: hostPortFirst,
      containerPort,
    }));
    await service.publish(endpoint, { containerId: request.containerId, ports });
    return { endpoint, box, ports };
  };

  beforeAll(async () => {
    sh("ip link set lo up");
    neighbour = await TestNamespace.create();
    sh(`ip link add lan0 type veth peer name lan1 netns ${neighbour.pid}`);
    sh("ip address add 10.99.0.1/24 dev lan0 && ip link set lan0 up");
    neighbour.sh("ip address add 10.99.0.2/24 dev lan1 && ip link set lan1 up");
    neighbour.sh("ip route add 172.16.0.0/12 via 10.99.0.1");
  });
  afterEach(async () => {
    await close();
    for (const namespace of namespaces.splice(0)) namespace[Symbol.dispose]();
    spawnSync("nft", ["delete", "table", "inet", "tug"]);
    spawnSync("ip", ["link", "delete", "tug0"]);
    sh("sysctl -qw net.ipv4.ip_forward=1");
    events.length = 0;
  });
  afterAll(() => {
    neighbour[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  test("three networks are there under IDs that outlive the daemon, and nothing in the kernel", async () => {
    const first = (await open()).list();
    expect(first.map(({ Name, Driver }) => [Name, Driver])).toEqual([
      ["bridge", "bridge"],
      ["host", "host"],
      ["none", "null"],
    ]);
    expect((await open()).list()).toEqual(first);
    expect(spawnSync("ip", ["link", "show", "tug0"]).status).not.toBe(0);
    expect(sh("nft list tables")).toBe("");
  });

  test("connect() plugs a container into a quiet bridge within a few milliseconds", async () => {
    const service = await open();
    const warm = await attach(service, requestFor("warm"));
    expect(warm.endpoint.ipAddress).toBe("172.17.0.2");
    const request = requestFor("c");
    const box = await sandbox();
    const before = performance.now();
    const endpoint = await service.allocate(request);
    const plan = await service.connect(endpoint, { request, sandboxPid: box.pid });
    const durationMs = performance.now() - before;
    expect(durationMs).toBeLessThan(20);
    expect(plan).toEqual({
      interfaces: [{ name: "eth0", addresses: ["172.17.0.3/16"], gateway: "172.17.0.1" }],
      dns: { upstreams: [], names: {} },
      ports: [],
    });
    box.configure(plan.interfaces);
    expect(box.sh("ip -o link show eth0")).toContain("02:42:ac:11:00:03");
    expect(box.reaches("172.17.0.1")).toBe(true);
    expect(box.reaches("172.17.0.2")).toBe(true);
    expect(sh("ip -o link show tug0")).toContain("02:42:ac:11:00:01");
    expect(sh("cat /proc/sys/net/ipv4/conf/tug0/route_localnet")).toBe("0");
    expect(sh("cat /proc/sys/net/ipv6/conf/tug0/disable_ipv6")).toBe("1");
    expect(sh(`ip -6 -o address show dev ${endpoint.hostInterfaceName}`)).toBe("");
  });

  test("a container reaches the outside under the host's address", async () => {
    const { box } = await attach(await open(), requestFor("c"));
    await neighbour.serve("lan", 7001);
    expect(box.askTcp("10.99.0.2", 7001)).toBe("lan 10.99.0.1");
    expect(box.askUdp("10.99.0.2", 7001)).toBe("lan 10.99.0.1");
  });

  test("a published port is reached from outside, from containers and from the container itself", async () => {
    const service = await open();
    const web = await attach(service, requestFor("web", { "80/tcp": "8080", "80/udp": "8080" }));
    await web.box.serve("web", 80);
    const other = await attach(service, requestFor("other"));
    expect(neighbour.askTcp("10.99.0.1", 8080)).toBe("web 10.99.0.2");
    expect(neighbour.askUdp("10.99.0.1", 8080)).toBe("web 10.99.0.2");
    for (const host of ["10.99.0.1", "172.17.0.1"]) {
      expect(other.box.askTcp(host, 8080)).toBe("web 172.17.0.1");
      expect(other.box.askUdp(host, 8080)).toBe("web 172.17.0.1");
      expect(web.box.askTcp(host, 8080)).toBe("web 172.17.0.1");
    }
    expect(other.box.askTcp("172.17.0.2", 80)).toBe("web 172.17.0.3");
  });

  test("clients on the host are served by the sandbox's listener, not by the filter", async () => {
    const server: Server = createServer((client) => client.end("sandbox"));
    await new Promise<void>((resolve) => server.listen(8081, "0.0.0.0", resolve));
    try {
      const { box } = await attach(await open(), requestFor("web", { "80/tcp": "8081" }));
      await box.serve("web", 80);
      expect(await askHost("127.0.0.1", 8081)).toBe("sandbox");
      expect(await askHost("10.99.0.1", 8081)).toBe("sandbox");
      expect(neighbour.askTcp("10.99.0.1", 8081)).toBe("web 10.99.0.2");
    } finally {
      server.close();
    }
  });

  test("nothing unpublished is reached from outside, not even by a route to the bridge", async () => {
    const ports = { "80/tcp": "127.0.0.1:8082", "81/tcp": "10.99.0.1:8083" };
    const { box } = await attach(await open(), requestFor("web", ports));
    await box.serve("web", 80);
    expect(await askHost("172.17.0.2", 80)).toBe("web 172.17.0.1");
    expect(neighbour.askTcp("172.17.0.2", 80, 0.3)).toBe("");
    expect(neighbour.askUdp("172.17.0.2", 80)).toBe("");
    expect(neighbour.askTcp("10.99.0.1", 8082, 0.3)).toBe("");
    expect(neighbour.askTcp("172.17.0.1", 8083, 0.3)).toBe("");
  });

  test("a port on a loopback address is not reached from outside, whatever the host routes", async () => {
    const server: Server = createServer((client) => client.end("loopback"));
    await new Promise<void>((resolve) => server.listen(8084, "127.0.0.1", resolve));
    sh("sysctl -qw net.ipv4.conf.lan0.route_localnet=1");
    neighbour.sh("ip address flush dev lo; sysctl -qw net.ipv4.conf.lan1.route_localnet=1");
    neighbour.sh("ip route add 127.0.0.1 via 10.99.0.1 src 10.99.0.2");
    const reach = (): Promise<string> => askFrom(neighbour, "127.0.0.1", 8084);
    try {
      expect(await reach()).toBe("loopback");
      const { endpoint } = await attach(
        await open(),
        requestFor("web", { "80/tcp": "127.0.0.1:8084" }),
      );
      expect(endpoint.ipAddress).not.toBe("");
      expect(await reach()).toBe("");
      expect(await askHost("127.0.0.1", 8084)).toBe("loopback");
    } finally {
      server.close();
      neighbour.sh("ip route delete 127.0.0.1 && ip address add 127.0.0.1/8 dev lo");
      sh("sysctl -qw net.ipv4.conf.lan0.route_localnet=0");
    }
  });

  test("a flushed rule set is put up again by itself, and at once by the next publish()", async () => {
    const service = await open();
    const web = await attach(service, requestFor("web", { "80/tcp": "8085" }));
    await web.box.serve("web", 80);
    sh("nft flush ruleset");
    expect(neighbour.askTcp("10.99.0.1", 8085, 0.3)).toBe("");
    await sleep(2_600);
    expect(neighbour.askTcp("10.99.0.1", 8085)).toBe("web 10.99.0.2");
    sh("nft flush ruleset; nft add table inet others");
    await attach(service, requestFor("more", { "80/tcp": "8086" }));
    expect(neighbour.askTcp("10.99.0.1", 8085)).toBe("web 10.99.0.2");
    expect(sh("nft list tables")).toContain("table inet others");
    sh("nft delete table inet others");
  }, 10_000);

  test("disconnect() leaves nothing, is harmless twice, and its port may be taken before it", async () => {
    const service = await open();
    const first = await attach(service, requestFor("first", { "80/tcp": "8087" }));
    const second = await attach(service, requestFor("second", { "80/tcp": "8087" }));
    await second.box.serve("second", 80);
    await service.disconnect(first.endpoint, { containerId: "first" });
    await service.disconnect(first.endpoint, { containerId: "first" });
    await noLinks(first.endpoint.hostInterfaceName ?? "");
    expect(neighbour.askTcp("10.99.0.1", 8087)).toBe("second 10.99.0.2");
    await service.disconnect(second.endpoint, { containerId: "second" });
    expect(sh("nft list map inet tug ports_any")).not.toContain("8087");
    expect(events.map(({ action }) => action)).toEqual([
      "connect",
      "connect",
      "disconnect",
      "disconnect",
    ]);
    expect(events[0]?.attributes).toMatchObject({ name: "bridge", type: "bridge" });
    const third = await service.allocate(requestFor("third"));
    expect(third.ipAddress).toBe("172.17.0.4");
  });

  test("recover() keeps what runs and removes what an earlier daemon left", async () => {
    const earlier = await open();
    const request = requestFor("kept", { "80/tcp": "8088" });
    const kept = await attach(earlier, request);
    await kept.box.serve("kept", 80);
    const gone = await attach(earlier, requestFor("gone", { "80/tcp": "8089" }));
    await close();
    expect(neighbour.askTcp("10.99.0.1", 8088)).toBe("kept 10.99.0.2");

    const service = await open();
    const { containerId } = request;
    const { endpoint, ports } = kept;
    await service.recover([{ containerId, containerName: "kept", endpoint, ports }]);
    expect(neighbour.askTcp("10.99.0.1", 8088)).toBe("kept 10.99.0.2");
    expect(
      spawnSync("ip", ["link", "show", gone.endpoint.hostInterfaceName ?? ""]).status,
    ).not.toBe(0);
    expect(sh("nft list map inet tug ports_any")).not.toContain("8089");
    expect(service.inspect("bridge").Containers).toEqual({
      [containerId]: {
        Name: "kept",
        EndpointID: endpoint.endpointId,
        MacAddress: endpoint.macAddress,
        IPv4Address: `${endpoint.ipAddress}/16`,
        IPv6Address: "",
      },
    });
    const next = await service.allocate(requestFor("next"));
    expect(next.ipAddress).not.toBe(endpoint.ipAddress);
  });

  test("recover() survives records that lie, and does nothing on a host without containers", async () => {
    const service = await open();
    await service.recover([]);
    expect(spawnSync("ip", ["link", "show", "tug0"]).status).not.toBe(0);
    expect(sh("nft list tables")).toBe("");
    const endpoint = {
      networkId: service.find("bridge").id,
      networkName: "bridge",
      endpointId: createId(),
      ipAddress: "1.2.3.4; flush ruleset",
      ipPrefixLength: 16,
      gateway: "",
      macAddress: "",
      aliases: [],
    };
    const port = { protocol: "tcp", hostIp: "0.0.0.0", hostPort: 1, containerPort: 1 } as const;
    sh("nft add table inet others");
    await service.recover([{ containerId: "c", endpoint, ports: [port] }]);
    expect(sh("nft list tables").split("\n").sort()).toEqual([
      "table inet others",
      "table inet tug",
    ]);
    await service.disconnect(endpoint, { containerId: "c" });
    sh("nft delete table inet others");
  });

  test("another block is chosen when the host has a route into the usual one", async () => {
    sh("ip route add 172.17.4.0/24 via 10.99.0.2");
    try {
      const service = await open({ database: "other.db" });
      expect(service.inspect("bridge").IPAM.Config).toEqual([
        { Subnet: "172.18.0.0/16", Gateway: "172.18.0.1" },
      ]);
      const { box } = await attach(service, requestFor("c"));
      expect(box.reaches("172.18.0.1")).toBe(true);
    } finally {
      sh("ip route delete 172.17.4.0/24");
    }
  });

  test("bip and mtu shape the bridge, and a change of bip moves it", async () => {
    await attach(await open({ bip: "172.30.5.1/24", mtu: 1400 }), requestFor("c"));
    expect(sh("ip -o link show tug0")).toContain("mtu 1400");
    const service = await open({ bip: "172.30.6.9/24" });
    const { endpoint } = await attach(service, requestFor("c"));
    expect(endpoint).toMatchObject({ ipAddress: "172.30.6.1", gateway: "172.30.6.9" });
    const addresses = sh("ip -o -4 address show dev tug0");
    expect(addresses).toContain("172.30.6.9/24");
    expect(addresses).not.toContain("172.30.5.1");
  });

  test("a host that forwarded nothing forwards for the bridge alone", async () => {
    sh("sysctl -qw net.ipv4.ip_forward=0");
    const { box } = await attach(await open(), requestFor("c"));
    expect(sh("cat /proc/sys/net/ipv4/ip_forward")).toBe("1");
    expect(box.reaches("10.99.0.2")).toBe(true);
    expect(sh("nft list chain inet tug forward")).toContain("iifname != @bridges drop");
  });

  test("host and none give no interface; none has a sandbox", async () => {
    const service = await open();
    for (const network of ["host", "none"]) {
      const request = { ...requestFor("c"), endpoint: { network } };
      const endpoint = await service.allocate(request);
      expect(endpoint).toMatchObject({ networkName: network, ipAddress: "", macAddress: "" });
      const plan = await service.connect(endpoint, { request, sandboxPid: 1 });
      expect(plan).toEqual({ interfaces: [], ports: [] });
      await service.disconnect(endpoint, { containerId: request.containerId });
    }
    expect(events.map(({ attributes }) => attributes?.["type"])).toEqual([
      "host",
      "host",
      "null",
      "null",
    ]);
  });

  test("wishes that cannot be granted are refused with Docker's sentences", async () => {
    const service = await open();
    const refused = (endpoint: AttachRequest["endpoint"]): Promise<Endpoint> =>
      service.allocate({ ...requestFor("c"), endpoint });
    expect(refused({ network: "nope" })).rejects.toThrow("network nope not found");
    expect(refused({ network: "" })).rejects.toThrow("not found");
    expect(refused({ network: "bridge", ipv4Address: "172.17.0.9" })).rejects.toThrow(
      "user specified IP address is supported on user defined networks only",
    );
    expect(refused({ network: "bridge", aliases: ["x"] })).rejects.toThrow("network-scoped alias");
    expect(refused({ network: "bridge", macAddress: "zz" })).rejects.toThrow(
      "invalid MAC address zz",
    );
    expect(open({ bip: "172.30.0.0/16" })).rejects.toThrow("bip 172.30.0.0/16");
    expect(open({ bridgeName: 'x"; flush' })).rejects.toThrow("bridge name");
    expect(() => service.list(new Map([["nope", ["x"]]]))).toThrow("invalid filter 'nope'");
    const id = service.find("bridge").id;
    expect(service.find(id.slice(0, 12)).name).toBe("bridge");
    expect(service.list(new Map([["type", ["custom"]]]))).toEqual([]);
  });

  test("a container whose sandbox is gone is an error that leaves nothing", async () => {
    const service = await open();
    const request = requestFor("c");
    const endpoint = await service.allocate(request);
    const attempt = service.connect(endpoint, { request, sandboxPid: 4_194_303 });
    await expect(attempt).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/^create veth .*: the sandbox is gone$/),
    });
    await service.disconnect(endpoint, { containerId: request.containerId });
    expect(sh("ip -o link show master tug0")).toBe("");
    expect(events).toEqual([]);
  });

  test("a sandbox is plugged in again at once after disconnect()", async () => {
    const service = await open();
    const request = requestFor("c");
    const { endpoint, box } = await attach(service, request);
    await service.disconnect(endpoint, { containerId: request.containerId });
    const again = await service.allocate(request);
    const plan = await service.connect(again, { request, sandboxPid: box.pid });
    box.configure(plan.interfaces);
    expect(box.reaches(again.gateway)).toBe(true);
  });

  test("20 containers at once get addresses of their own", async () => {
    const service = await open();
    const endpoints = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const { endpoint } = await attach(
          service,
          requestFor(`c${index}`, { "80/tcp": `${9000 + index}` }),
        );
        return endpoint;
      }),
    );
    expect(new Set(endpoints.map(({ ipAddress }) => ipAddress)).size).toBe(20);
    expect(sh("nft list map inet tug ports_any").match(/tcp \. 90\d\d/g)).toHaveLength(20);
    await Promise.all(
      endpoints.map((endpoint) => service.disconnect(endpoint, { containerId: "c" })),
    );
    await noLinks("master tug0");
  }, 20_000);

  async function noLinks(which: string): Promise<void> {
    const list = (): string =>
      spawnSync("ip", ["-o", "link", "show", ...which.split(" ")]).stdout.toString();
    for (let attempt = 0; attempt < 120 && list() !== ""; attempt += 1) await sleep(50);
    expect(list()).toBe("");
  }

  async function askFrom(from: TestNamespace, host: string, port: number): Promise<string> {
    const talk = `cat < /dev/tcp/${host}/${port}`;
    const argv = ["-t", String(from.pid), "-n", "timeout", "0.5", "bash", "-c", talk];
    const child = spawn("nsenter", argv, { stdio: ["ignore", "pipe", "ignore"] });
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += String(chunk);
    });
    await new Promise((resolve) => child.once("close", resolve));
    return said.trim();
  }
});
