/** Published ports: reached from where they should be, reserved, told. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { clientNames } from "../support/clients.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";
import { at, listAt, numberAt, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });

/** Ports of this file begin here, away from what the kernel gives out. */
let nextPort = 21_000 + (process.pid % 500) * 20;
function freePort(): number {
  nextPort += 1;
  return nextPort;
}

/** Sends every datagram back; busybox has no program for it, Debian has Perl always. */
const udpEcho =
  "$s = IO::Socket::INET->new(LocalPort => 5353, Proto => 'udp') or die;" +
  "while ($s->recv($m, 1500)) { $s->send($m) }";

/** A connection to what listens in the container, of which nothing is read. */
async function slowConnection(port: number): Promise<Socket> {
  for (;;) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.pause();
    // Until somebody listens in the container, what the engine has accepted is reset.
    const isLost = new Promise<boolean>((resolve) => {
      socket.once("error", () => resolve(true)).once("close", () => resolve(true));
    });
    const isKept = Bun.sleep(300).then(() => false);
    if (!(await Promise.race([isLost, isKept]))) return socket;
  }
}

async function page(port: number, host = "127.0.0.1"): Promise<string> {
  let text = "";
  await until(async () => {
    try {
      text = await engine.fetchText(`http://${host}:${port}/`);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
    return text !== "";
  }, `port ${port} to answer`);
  return text.trimEnd();
}

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`-p with ${name}`, () => {
    test("a chosen port answers on localhost, and is told by port and ps", async () => {
      const container = uniqueName();
      const port = freePort();
      await cli.ok("run", "-d", "--name", container, "-p", `${port}:8080`, "web");
      expect(await page(port)).toBe("hello from web");
      expect(await cli.ok("port", container)).toContain(`8080/tcp -> 0.0.0.0:${port}`);
      expect(await cli.ok("port", container, "8080")).toContain(`0.0.0.0:${port}`);
      expect(await cli.ok("ps", "-f", `name=${container}`)).toContain(`0.0.0.0:${port}->8080/tcp`);
    });

    test("an ephemeral port on one address", async () => {
      const container = uniqueName();
      await cli.ok("run", "-d", "--name", container, "-p", "127.0.0.1::8080", "web");
      const said = await cli.ok("port", container, "8080/tcp");
      expect(said).toMatch(/^127\.0\.0\.1:\d+$/);
      expect(await page(Number(said.split(":")[1]))).toBe("hello from web");
    });

    test("-P publishes what the image exposes, --expose adds to it", async () => {
      const container = uniqueName();
      await cli.ok("run", "-d", "-P", "--expose", "9999", "--name", container, "web");
      const said = await cli.ok("port", container);
      expect(said).toMatch(/8080\/tcp -> 0\.0\.0\.0:\d{4,5}/);
      expect(said).toMatch(/9999\/tcp -> 0\.0\.0\.0:\d{4,5}/);
    });

    test("a range to a range", async () => {
      const container = uniqueName();
      const port = freePort();
      nextPort += 2;
      await cli.ok("run", "-d", "--name", container, "-p", `${port}-${port + 2}:8080-8082`, "web");
      const said = await cli.ok("port", container);
      for (const offset of [0, 1, 2]) {
        expect(said).toContain(`${8080 + offset}/tcp -> 0.0.0.0:${port + offset}`);
      }
    });

    test("a taken port is an error that names it, and the container does not run", async () => {
      const port = freePort();
      await cli.ok("run", "-d", "-p", `127.0.0.1:${port}:8080`, "web");
      const container = uniqueName();
      const args = ["run", "-d", "--name", container, "-p", `127.0.0.1:${port}:8080`, "web"];
      const result = await cli.run(args);
      expect(result.exitCode).toBe(125);
      expect(result.stderr).toMatch(
        new RegExp(`${port}.*already (allocated|in use)|already.*${port}`),
      );
      expect(at(await engine.inspect(container), "State", "Running")).toBe(false);
    });

    test("a container's last bytes reach a client that reads after its end", async () => {
      const port = freePort();
      const command = "nc -l -p 80 -e head -c 3000000 /dev/zero".split(" ");
      const published = `127.0.0.1:${port}:80`;
      const container = await cli.ok("run", "-d", "-p", published, "busybox", ...command);
      if (referenceHost !== undefined) return;
      const socket = await slowConnection(port);
      // Nobody has read: neither the end nor the port wait for that.
      expect(await cli.ok("wait", container)).toBe("0");
      await cli.ok("run", "-d", "-p", published, "busybox", "true");
      let sizeBytes = 0;
      for await (const chunk of socket) sizeBytes += (chunk as Buffer).length;
      expect(sizeBytes).toBe(3_000_000);
    });

    test("the port is free again when the container is stopped", async () => {
      const port = freePort();
      const first = await cli.ok("run", "-d", "-p", `${port}:8080`, "web");
      await cli.ok("stop", "-t", "0", first);
      const second = await cli.ok("run", "-d", "-p", `${port}:8080`, "web");
      expect(await page(port)).toBe("hello from web");
      await cli.ok("rm", "-f", second);
    });

    test("malformed ports are refused", async () => {
      for (const spec of ["x:80", "70000:80", "1-3:80-81", "999.1.1.1:80:80"]) {
        const said = await cli.fails("run", "--rm", "-p", spec, "busybox", "true");
        expect(said).toMatch(/invalid|range|port|IP/i);
      }
    });
  });

  describe(`udp with ${name}`, () => {
    test("a datagram goes in and its answer comes out", async () => {
      const port = freePort();
      const container = uniqueName();
      await cli.ok(
        ...["run", "-d", "--name", container, "-p", `127.0.0.1:${port}:5353/udp`],
        ...["/usr", "/lib", "/lib64"]
          .filter(existsSync)
          .flatMap((path) => ["-v", `${path}:${path}:ro`]),
        ...["busybox", "/usr/bin/perl", "-MIO::Socket::INET", "-e", udpEcho],
      );
      expect(await cli.ok("port", container)).toBe(`5353/udp -> 127.0.0.1:${port}`);
      if (referenceHost !== undefined) return;
      const answer = Promise.withResolvers<string>();
      const socket = await Bun.udpSocket({
        socket: { data: (_, data) => answer.resolve(data.toString()) },
      });
      const timer = setInterval(() => socket.send("ping", port, "127.0.0.1"), 200);
      expect(await answer.promise).toContain("ping");
      clearInterval(timer);
      socket.close();
    });
  });
}

describe("published ports, from everywhere", () => {
  test("another container reaches it by the host's bridge address", async () => {
    const port = freePort();
    await engine.runDetached({
      Image: "web",
      HostConfig: { PortBindings: { "8080/tcp": [{ HostPort: String(port) }] } },
    });
    await page(port);
    const other = uniqueName();
    await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] }, other);
    const gateway = textAt(
      await engine.inspect(other),
      ...["NetworkSettings", "Networks", "bridge", "Gateway"],
    );
    const [cli = engine.client("tug")] = clientNames.map((name) => engine.client(name));
    const url = `http://${gateway}:${port}/`;
    expect(await cli.ok("exec", other, "wget", "-qO-", url)).toBe("hello from web");
  });

  test("one container reaches another by its address", async () => {
    const server = await engine.runDetached({ Image: "web" });
    const address = textAt(
      await engine.inspect(server),
      ...["NetworkSettings", "Networks", "bridge", "IPAddress"],
    );
    const other = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] });
    const [cli = engine.client("tug")] = clientNames.map((name) => engine.client(name));
    const said = await cli.ok("exec", other, "wget", "-qO-", `http://${address}:8080/`);
    expect(said).toBe("hello from web");
  });

  test("inspect tells the bindings, wished and real", async () => {
    const id = await engine.runDetached({
      Image: "web",
      HostConfig: { PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] } },
    });
    const document = await engine.inspect(id);
    const bound = at(document, "NetworkSettings", "Ports", "8080/tcp", 0);
    expect(textAt(bound, "HostIp")).toBe("127.0.0.1");
    expect(Number(textAt(bound, "HostPort"))).toBeGreaterThan(1023);
    const list = await engine.api("GET", "/containers/json");
    const ports = at(
      listAt(list.json).find((item) => textAt(item, "Id") === id),
      "Ports",
      0,
    );
    expect(ports).toMatchObject({ IP: "127.0.0.1", PrivatePort: 8080, Type: "tcp" });
    expect(numberAt(ports, "PublicPort")).toBe(Number(textAt(bound, "HostPort")));
  });

  test("clients that say nothing hold up neither the end nor, in the end, the shim", async () => {
    if (referenceHost !== undefined) return;
    // More than wait in the queue of a socket: some are never connected to.
    const clientCount = 60;
    const ended = Array.from({ length: 6 }, async () => {
      const port = freePort();
      const binding = [{ HostIp: "127.0.0.1", HostPort: `${port}` }];
      const id = await engine.runDetached({
        Image: "web",
        HostConfig: { PortBindings: { "8080/tcp": binding } },
      });
      await page(port);
      const gone = Array.from({ length: clientCount }, async () => {
        const client = connect(port, "127.0.0.1");
        client.on("error", () => undefined).resume();
        await new Promise<void>((resolve) => client.once("close", () => resolve()));
      });
      await Bun.sleep(200);
      const beganMs = performance.now();
      await engine.api("POST", `/containers/${id}/kill`);
      await engine.api("POST", `/containers/${id}/wait`);
      expect(performance.now() - beganMs).toBeLessThan(2000);
      await Promise.all(gone);
    });
    await Promise.all(ended);
    // Shims that are left over are looked for when all tests have run.
  });

  test("thirty at once get thirty different ephemeral ports", async () => {
    const ids = await Promise.all(
      Array.from({ length: 30 }, () =>
        engine.runDetached({
          Image: "web",
          HostConfig: { PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "0" }] } },
        }),
      ),
    );
    const ports = await Promise.all(
      ids.map(async (id) =>
        textAt(
          await engine.inspect(id),
          ...["NetworkSettings", "Ports", "8080/tcp", 0, "HostPort"],
        ),
      ),
    );
    expect(new Set(ports).size).toBe(30);
  });
});
