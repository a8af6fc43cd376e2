/** The three default networks, and the files that name things. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";
import { at, textAt } from "../support/json.ts";
import { runOk } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });

for (const name of clientNames) {
  const cli = engine.client(name);
  const inBusybox = async (flags: readonly string[], script: string): Promise<string> =>
    await cli.ok("run", "--rm", ...flags, "busybox", "sh", "-c", script);

  describe(`the bridge with ${name}`, () => {
    test("gives an address, a route and a MAC address of its own", async () => {
      const said = await inBusybox([], "ip -4 -o addr show eth0; ip route");
      expect(said).toMatch(/inet \d+\.\d+\.\d+\.\d+\/\d+/);
      expect(said).toMatch(/^default via \d+\.\d+\.\d+\.\d+ dev eth0/m);
    });

    test("--mac-address is taken", async () => {
      const flags = ["--mac-address", "02:42:ac:11:00:99"];
      expect(await inBusybox(flags, "cat /sys/class/net/eth0/address")).toBe("02:42:ac:11:00:99");
    });

    test.skipIf(referenceHost !== undefined)(
      "reaches the world beyond the host by NAT",
      async () => {
        const route = await runOk(["ip", "-4", "route", "show", "default"]);
        const gateway = /via (\S+)/.exec(route)?.[1];
        if (gateway === undefined)
          return console.warn("skipped: this machine has no default route");
        const source = await runOk(["ip", "-4", "-o", "route", "get", gateway]);
        const own = /src (\S+)/.exec(source)?.[1] ?? "127.0.0.1";
        const server = Bun.serve({
          port: 0,
          hostname: own,
          fetch: (request, self) => new Response(self.requestIP(request)?.address ?? ""),
        });
        const said = await inBusybox([], `wget -qO- http://${own}:${server.port}/`);
        await server.stop(true);
        expect(said).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
      },
    );

    test("loopback is up", async () => {
      expect(await inBusybox([], "ping -c1 -W1 127.0.0.1 >/dev/null && echo up")).toBe("up");
    });
  });

  describe(`none and host with ${name}`, () => {
    test("none has loopback alone", async () => {
      expect(await inBusybox(["--net", "none"], "ls /sys/class/net | grep -v ifb")).toBe("lo");
    });

    test("host is the host's", async () => {
      const [own = ""] = (await runOk(["readlink", "/proc/self/ns/net"])).split("\n");
      const inside = await inBusybox(["--network", "host"], "readlink /proc/self/ns/net");
      if (referenceHost === undefined) expect(inside).toBe(own);
      const container = await cli.ok("run", "-d", "--net", "host", "busybox", "sleep", "60");
      const document = await engine.inspect(container);
      expect(at(document, "HostConfig", "NetworkMode")).toBe("host");
      expect(at(document, "NetworkSettings", "Networks", "host")).toBeDefined();
    });

    test("container: shares that of another", async () => {
      const other = uniqueName();
      await cli.ok("run", "-d", "--name", other, "web");
      const said = await inBusybox(
        ["--network", `container:${other}`],
        "wget -qO- http://127.0.0.1:8080/; hostname",
      );
      const id = textAt(await engine.inspect(other), "Id");
      expect(said).toBe(`hello from web\n${id.slice(0, 12)}`);
    });

    test("what cannot go together is refused", async () => {
      const other = uniqueName();
      await cli.ok("run", "-d", "--name", other, "busybox", "sleep", "60");
      const refuse = async (...flags: readonly string[]): Promise<string> =>
        await cli.fails("run", "--rm", ...flags, "busybox", "true");
      expect(await refuse("--network", `container:${other}`, "-p", "80:80")).toMatch(
        /conflicting|port/i,
      );
      expect(await refuse("--network", `container:${other}`, "-h", "x")).toMatch(
        /conflicting|hostname/i,
      );
      expect(await refuse("--network", "no-such-network")).toMatch(/no-such-network/);
      expect(await refuse("--network", "container:no-such")).toMatch(/no-such/);
    });
  });

  describe(`names with ${name}`, () => {
    test("/etc/hosts has localhost, the container and --add-host", async () => {
      const flags = ["-h", "boat", "--add-host", "db:10.1.2.3", "--add-host", "gw:host-gateway"];
      const said = await inBusybox(flags, "cat /etc/hosts; ip -4 -o addr show eth0");
      expect(said).toMatch(/^127\.0\.0\.1\s+localhost/m);
      expect(said).toMatch(/^10\.1\.2\.3\s+db$/m);
      expect(said).toMatch(/^\d+\.\d+\.\d+\.\d+\s+gw$/m);
      const address = /inet (\d+\.\d+\.\d+\.\d+)/.exec(said)?.[1] ?? "none";
      expect(said).toMatch(new RegExp(`^${address}\\s+boat$`, "m"));
    });

    test("resolv.conf takes --dns, --dns-search and --dns-option", async () => {
      const flags = ["--dns", "9.9.9.9", "--dns-search", "s.test", "--dns-option", "ndots:3"];
      const said = await inBusybox(flags, "cat /etc/resolv.conf");
      expect(said).toMatch(/nameserver (9\.9\.9\.9|127\.0\.0\.11)/);
      expect(said).toMatch(/^search s\.test/m);
      expect(said).toMatch(/^options .*ndots:3/m);
    });

    test("--domainname joins the host name", async () => {
      const said = await inBusybox(["-h", "boat", "--domainname", "sea.test"], "cat /etc/hosts");
      expect(said).toContain("boat.sea.test");
    });

    test("the files can be written to by the container, and stay its own", async () => {
      const container = uniqueName();
      const script = "echo '1.1.1.1 x' >>/etc/hosts; grep -c x /etc/hosts";
      expect(await cli.ok("run", "--name", container, "busybox", "sh", "-c", script)).not.toBe("0");
      expect(await inBusybox([], "grep -c '1.1.1.1 x' /etc/hosts || true")).toBe("0");
    });
  });
}

describe("names by the embedded server", () => {
  test.skipIf(referenceHost !== undefined)(
    "are forwarded to the servers that were asked for",
    async () => {
      const cli = engine.client(clientNames[0] ?? "tug");
      const said = await cli.ok("run", "--rm", "busybox", "cat", "/etc/resolv.conf");
      expect(said).toMatch(/^nameserver \S+/m);
    },
  );
});
