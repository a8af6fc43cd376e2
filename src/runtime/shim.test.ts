import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { isSameProcess, run, signalProcess } from "../sys/process/process.ts";
import { canRunContainers, listenTo, ShimFixture } from "./_shim-fixture.ts";
import type { Shim } from "./shim.ts";
import { readExitStatus } from "./shim-client.ts";
import { EngineError } from "../lib/errors.ts";
import { socketTakerOf } from "../lib/socket-taker.ts";
import type { PortPlan } from "./sandbox/sandbox-plan.ts";
import type { StartRequest } from "./shim-protocol.ts";

const emptySandbox = { interfaces: [], ports: [] };

let fixture: ShimFixture;

function collect(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = [];
  return new Promise((resolve) => {
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("end", () => {
      stream.end();
      resolve(Buffer.concat(parts));
    });
  });
}

/** A client's connection, by both of its ends. */
async function openPair(): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const path = join(fixture.root, "pair.sock");
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer({ allowHalfOpen: true }, accepted.resolve).listen(path);
  const far = connect({ path, allowHalfOpen: true });
  const near = await accepted.promise;
  server.close();
  return { near, far };
}

function descriptorOf(socket: Socket): number {
  return Number(Reflect.get(Reflect.get(socket, "_handle") as object, "fd"));
}

/** The payload of one stream of stdcopy frames. */
function payload(bytes: Buffer, stream: 1 | 2): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32BE(at + 4);
    if (bytes[at] === stream) parts.push(bytes.subarray(at + 8, at + 8 + size));
    at += 8 + size;
  }
  return Buffer.concat(parts);
}

function logged(request: StartRequest): string {
  return readFileSync(request.log.path ?? "", "utf8");
}

async function attach(
  shim: Shim,
  options: { stdin?: boolean; detachKeys?: number[] } = {},
): Promise<Duplex> {
  return await shim.attach({ stdin: false, stdout: true, stderr: true, ...options });
}

function leftovers(request: StartRequest): string[] {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const groups = readdirSync("/sys/fs/cgroup").map((name) =>
    join("/sys/fs/cgroup", name, "tug-test", request.containerId),
  );
  return [
    ...mounts.filter((line) => line.includes(request.containerId)),
    ...groups.filter((path) => existsSync(path)),
    ...(existsSync(join(request.runtime.root, request.containerId)) ? ["runtime state"] : []),
  ];
}

describe.skipIf(!canRunContainers)("shims (needs root, crun and busybox)", () => {
  beforeAll(() => {
    fixture = new ShimFixture();
  });
  afterAll(async () => await fixture.close());

  for (const [name, script, exitCode] of [
    ["its own code", "exit 7", 7],
    ["success", "exit 0", 0],
    ["a signal", "kill -9 $$", 137],
  ] as const) {
    test(`a container ends with ${name} and leaves nothing`, async () => {
      // Not as the first process, which its own signals do not reach.
      const args =
        name === "a signal" ? ["sh", "-c", `sh -c '${script}'; exit $?`] : ["sh", "-c", script];
      const request = fixture.request({ args });
      const { shim, told } = await fixture.acquire(request);
      const { pid } = await shim.start(request);
      expect(pid).toBeGreaterThan(1);
      expect(await told.ended).toMatchObject({ exitCode, isOomKilled: false });
      expect(leftovers(request)).toEqual([]);
      await fixture.pool.forget(shim.name);
      expect(existsSync(join(fixture.root, "shims", shim.name))).toBe(false);
    });
  }

  test("the runtime gets the spec as it was, limits beyond exact numbers included", async () => {
    const plain = fixture.request({ args: ["sh", "-c", "ulimit -c; ulimit -Hc"] });
    const { process: asked } = plain.spec;
    if (asked === undefined) throw new EngineError("internal", "a request without a process");
    const rlimits = [{ type: "RLIMIT_CORE", soft: 2 ** 64, hard: 2 ** 64 }];
    const spec = { ...plain.spec, hostname: 'a"\\\u2028ü', process: { ...asked, rlimits } };
    const { shim, told } = await fixture.acquire(plain);
    const begun = shim.start({ ...plain, spec });
    const path = join(plain.bundle, "config.json");
    let config = "";
    for (; config === ""; await Bun.sleep(1))
      if (existsSync(path)) config = readFileSync(path, "utf8");
    await begun;
    expect(await told.ended).toMatchObject({ exitCode: 0 });
    expect(logged(plain)).toMatch(/unlimited[\s\S]*unlimited/);
    expect(JSON.parse(config)).toEqual(JSON.parse(JSON.stringify(spec)));
    expect(config).toContain('"hard":18446744073709551615');
  });

  for (const [command, exitCode, text] of [
    ["nope", 127, 'exec: "nope": executable file not found in $PATH'],
    ["/bin/nope", 127, 'exec: "/bin/nope": stat /bin/nope: no such file or directory'],
    ["/etc", 126, 'exec: "/etc": permission denied'],
  ] as const) {
    test(`${command} cannot be started: ${exitCode}, and all is undone`, async () => {
      const request = fixture.request({ args: [command] });
      const { shim } = await fixture.acquire(request);
      const stream = collect(await attach(shim));
      const failure = shim.start(request);
      await expect(failure).rejects.toMatchObject({
        kind: "invalid-argument",
        details: { exitCode },
        message: expect.stringContaining(text),
      });
      expect((await stream).length).toBe(0);
      expect(logged(request)).toBe("");
      expect(leftovers(request)).toEqual([]);
      await shim.abandon();
    });
  }

  test("output is complete in log and attach, stream by stream, from the first byte", async () => {
    const script =
      "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 65536 /dev/zero; head -c 65536 /dev/zero >&2; done";
    const request = fixture.request({ args: ["sh", "-c", script] });
    const { shim, told } = await fixture.acquire(request);
    const stream = collect(await attach(shim));
    await shim.start(request);
    await told.ended;
    const bytes = await stream;
    expect(payload(bytes, 1).length).toBe(655_360);
    expect(payload(bytes, 2).length).toBe(655_360);
    const texts = logged(request)
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).log as string);
    expect(texts.join("").length).toBe(1_310_720);
  });

  test("a slow reader loses nothing and holds the container back", async () => {
    const args = ["sh", "-c", "yes 0123456789 | head -c 20000000"];
    const request = fixture.request({ args, log: { driver: "none" } });
    const { shim, told } = await fixture.acquire(request);
    const stream = await attach(shim);
    await shim.start(request);
    const early = await Promise.race([told.ended, Bun.sleep(500).then(() => "waits")]);
    expect(early).toBe("waits");
    const bytes = await collect(stream);
    expect(payload(bytes, 1).length).toBe(20_000_000);
    await told.ended;
  });

  test("a client that vanishes does not hold the container back", async () => {
    const args = ["sh", "-c", "yes 0123456789 | head -c 20000000; exit 3"];
    const request = fixture.request({ args, log: { driver: "none" } });
    const { shim, told } = await fixture.acquire(request);
    const stream = await attach(shim);
    await shim.start(request);
    await Bun.sleep(100);
    stream.destroy();
    expect(await told.ended).toMatchObject({ exitCode: 3 });
  });

  for (const isServed of [false, true]) {
    const when = isServed ? "served by the shim" : "on its way to the shim";
    test(`a client that vanishes while it is ${when} does not hold the container back`, async () => {
      const args = ["sh", "-c", "yes | head -c 20000000; exit 3"];
      const request = fixture.request({ args, log: { driver: "none" } });
      const { shim, told } = await fixture.acquire(request);
      const stream = await attach(shim);
      stream.on("error", () => undefined).on("data", () => undefined);
      await shim.start(request);
      const { near, far } = await openPair();
      const taken = await socketTakerOf(stream)?.take(descriptorOf(near));
      expect(taken?.outputBytes).toBeGreaterThanOrEqual(0);
      near.destroy();
      if (isServed) taken?.serve(0);
      far.destroy();
      if (!isServed) stream.destroy();
      expect(await told.ended).toMatchObject({ exitCode: 3 });
    });
  }

  for (const isServed of [false, true]) {
    const whom = isServed ? "the shim" : "the daemon";
    test(`a client of ${whom} whose input nobody reads may vanish too`, async () => {
      const script = "sleep 1; yes | head -c 9000000; cat | wc -c >&2; exit 3";
      const args = ["sh", "-c", script];
      const stdio = { openStdin: true, stdinOnce: true };
      const request = fixture.request({ args, stdio });
      const { shim, told } = await fixture.acquire(request);
      const stream = await attach(shim, { stdin: true });
      stream.on("error", () => undefined).resume();
      await shim.start({ ...request, log: { ...request.log, driver: "none" } });
      const { near, far } = await openPair();
      const input = Buffer.alloc(3_000_000);
      if (isServed) {
        const taken = await socketTakerOf(stream)?.take(descriptorOf(near));
        near.destroy();
        taken?.serve(0);
      }
      // It has read all that there is, so that its end is no reset.
      (isServed ? far : stream).write(input);
      await Bun.sleep(300);
      far.destroy();
      if (!isServed) stream.destroy();
      expect(await told.ended).toMatchObject({ exitCode: 3 });
    });
  }

  test("stdin reaches the process byte by byte and ends with its client", async () => {
    const stdio = { openStdin: true, stdinOnce: true };
    const request = fixture.request({ args: ["cat"], stdio });
    const { shim, told } = await fixture.acquire(request);
    const stream = await attach(shim, { stdin: true });
    const output = collect(stream);
    const input = Buffer.alloc(3_000_000, "input");
    stream.end(input);
    await shim.start(request);
    expect(payload(await output, 1).equals(input)).toBe(true);
    expect(await told.ended).toMatchObject({ exitCode: 0 });
  });

  test("a terminal has its size, changes it, and is left by the detach keys", async () => {
    const stdio = { hasTty: true, openStdin: true, rows: 30, columns: 90 };
    const request = fixture.request({ args: ["sh"], stdio });
    const { shim, told } = await fixture.acquire(request);
    const stream = await attach(shim, { stdin: true, detachKeys: [16, 17] });
    const output = collect(stream);
    await shim.start(request);
    stream.write("stty size; echo don\\e\n");
    await Bun.sleep(150);
    await shim.resize({ rows: 40, columns: 100 });
    stream.write("stty size\n");
    await Bun.sleep(150);
    stream.write("\u0010\u0011");
    const text = (await output).toString();
    expect(text).toContain("30 90");
    expect(text).toContain("40 100");
    expect((await shim.state()).phase).toBe("running");
    const again = await attach(shim, { stdin: true });
    again.on("data", () => undefined);
    again.write("exit 5\n");
    expect(await told.ended).toMatchObject({ exitCode: 5 });
  });

  test("execs run beside the container, with their own stdio and codes", async () => {
    const request = fixture.request({ args: ["sleep", "60"] });
    const { shim, told } = await fixture.acquire(request);
    const { pid } = await shim.start(request);
    const process = request.spec.process;
    if (process === undefined) throw new TypeError("no process");
    const stdio = { hasTty: false, openStdin: true, stdinOnce: true };
    told.execs.set("e1", Promise.withResolvers());
    const stream = await shim.attach({ execId: "e1", stdin: true, stdout: true, stderr: true });
    const output = collect(stream);
    stream.end("typed");
    const args = ["sh", "-c", "cat; echo err >&2; exit 9"];
    const exec = await shim.exec({ execId: "e1", process: { ...process, args }, stdio });
    expect(exec.pid).toBeGreaterThan(1);
    expect(await told.execs.get("e1")?.promise).toMatchObject({ exitCode: 9 });
    const bytes = await output;
    expect([payload(bytes, 1).toString(), payload(bytes, 2).toString()]).toEqual([
      "typed",
      "err\n",
    ]);
    const missing = shim.exec({ execId: "e2", process: { ...process, args: ["nope"] }, stdio });
    await expect(missing).rejects.toMatchObject({ details: { exitCode: 127 } });
    const hostile = shim.exec({ execId: "../e", process: { ...process, args }, stdio });
    await expect(hostile).rejects.toMatchObject({ kind: "invalid-argument" });
    expect(readdirSync(request.bundle).toSorted()).toEqual(["config.json", "rootfs"]);
    await Bun.sleep(500);
    const children = await run({ argv: ["ps", "-o", "stat=", "--ppid", String(shim.pid)] });
    expect(children.stdout).not.toContain("Z");
    signalProcess(pid, "SIGKILL");
    expect(await told.ended).toMatchObject({ exitCode: 137 });
  });

  test("a kill for want of memory is told", async () => {
    const args = ["sh", "-c", "x=$(yes | head -c 200000000); echo no"];
    const request = fixture.request({ args, memoryBytes: 16_000_000 });
    const { shim, told } = await fixture.acquire(request);
    await shim.start(request);
    expect(await told.ended).toMatchObject({ isOomKilled: true });
    expect(told.oomCount).toBeGreaterThan(0);
  });

  test("a killed shim costs its container, which is cleaned up behind", async () => {
    const request = fixture.request({ args: ["sleep", "60"] });
    const { shim, told } = await fixture.acquire(request);
    const { pid, pidStartTime } = await shim.start(request);
    signalProcess(shim.pid, "SIGKILL");
    expect(await told.ended).toEqual({ lost: `shim ${shim.pid} was killed` });
    expect(isSameProcess(pid, BigInt(pidStartTime))).toBe(false);
    expect(leftovers(request)).toEqual([]);
    await fixture.pool.forget(shim.name);
  });

  test("containers outlive the daemon: output, status and control are there for the next", async () => {
    const short = fixture.request({ args: ["sh", "-c", "sleep 0.3; echo late; exit 6"] });
    const long = fixture.request({ args: ["sleep", "60"] });
    const first = await fixture.acquire(short);
    const second = await fixture.acquire(long);
    await first.shim.start(short);
    const { pid } = await second.shim.start(long);
    await fixture.pool[Symbol.asyncDispose]();
    await Bun.sleep(900);
    fixture.pool = fixture.openPool();
    const [ended, running] = await fixture.pool.recover([
      { name: first.shim.name, containerId: short.containerId },
      { name: second.shim.name, containerId: long.containerId },
    ]);
    expect(ended).toMatchObject({ kind: "exited", status: { exitCode: 6 } });
    expect(logged(short)).toContain('"log":"late\\n"');
    if (running?.kind !== "running") throw new TypeError("not running");
    expect(running.state).toMatchObject({ phase: "running", pid });
    const told = listenTo(running.shim);
    signalProcess(pid, "SIGTERM");
    signalProcess(pid, "SIGKILL");
    expect(await told.ended).toMatchObject({ exitCode: 137 });
    await Promise.all([first, second].map(({ shim }) => fixture.pool.forget(shim.name)));
  });

  test("host ports are bound, served, and refused when taken", async () => {
    const port = (hostPort: number, group = 0, hostIp = "127.0.0.1"): PortPlan => ({
      protocol: "tcp",
      hostIp,
      hostPortFirst: hostPort,
      hostPortLast: hostPort,
      containerPort: 8080,
      group,
    });
    // It stays a little, so that what the proxy holds comes through: its end cuts connections.
    const args = ["sh", "-c", "nc -l -p 8080 -e cat; sleep 1"];
    const request = fixture.request({ args });
    const { shim, told } = await fixture.acquire(request);
    const { ports } = await shim.openSandbox({
      ...emptySandbox,
      ports: [port(0), port(0, 0, "127.0.0.2")],
    });
    await shim.start(request);
    expect(ports).toHaveLength(2);
    expect(ports[0]?.hostPort).toBe(ports[1]?.hostPort ?? 0);
    const other = await fixture.acquire(fixture.request({ args }));
    const taken = { ...emptySandbox, ports: [port(ports[0]?.hostPort ?? 0)] };
    await expect(other.shim.openSandbox(taken)).rejects.toMatchObject({
      kind: "conflict",
      details: { code: "EADDRINUSE" },
      message: `Bind for 127.0.0.1:${ports[0]?.hostPort} failed: port is already allocated`,
    });
    await other.shim.abandon();
    await Bun.sleep(100);
    const client = connect({
      port: ports[0]?.hostPort ?? 0,
      host: "127.0.0.1",
      allowHalfOpen: true,
    });
    const echoed = collect(client);
    const sent = Buffer.alloc(2_000_000, "abc");
    client.end(sent);
    expect((await echoed).equals(sent)).toBe(true);
    expect(await told.ended).toMatchObject({ exitCode: 0 });
  });

  test("names are answered at 127.0.0.11, others with a failure when nobody can be asked", async () => {
    const script =
      "nslookup -type=a web 127.0.0.11; nslookup -type=a other.example 127.0.0.11; true";
    const dns = { upstreams: ["127.0.0.1"], names: { web: ["10.9.8.7"] } };
    const request = fixture.request({ args: ["sh", "-c", script] });
    const { shim, told } = await fixture.acquire(request);
    await shim.openSandbox({ ...emptySandbox, dns });
    await shim.start(request);
    await told.ended;
    expect(logged(request)).toContain("10.9.8.7");
    expect(logged(request)).toMatch(/SERVFAIL|can't find other/);
  });

  test("many containers at once all get a shim and their own code", async () => {
    const codes = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const request = fixture.request({ args: ["sh", "-c", `exit ${index}`] });
        const { shim, told } = await fixture.acquire(request);
        await shim.start(request);
        const status = await told.ended;
        await fixture.pool.forget(shim.name);
        return "exitCode" in status ? status.exitCode : -1;
      }),
    );
    expect(codes).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  }, 20_000);

  test("a shim serves one container after the other and keeps nothing of them", async () => {
    // Of its own: after a burst the other has more spares than this asks for. Two, so that one is left
    // while the other serves: then nobody hurries to make a third.
    const own = new ShimFixture({ spareCount: 2 });
    await Bun.sleep(500);
    const terms: { pid: number; fdCount: number }[] = [];
    for (let round = 0; round < 8; round += 1) {
      const isMarked = round % 2 === 0;
      const request = own.request({
        args: ["sh", "-c", "cat /proc/sys/net/ipv4/ip_default_ttl; read line"],
        stdio: { openStdin: true },
        networkSysctls: isMarked ? { "net.ipv4.ip_default_ttl": "100" } : {},
      });
      const { shim, told } = await own.acquire(request);
      await shim.openSandbox({
        ...emptySandbox,
        ports: [
          {
            containerPort: 80,
            protocol: "tcp",
            hostIp: "127.0.0.1",
            hostPortFirst: 0,
            hostPortLast: 0,
            group: 0,
          },
        ],
      });
      await shim.start(request);
      terms.push({
        pid: shim.pid,
        fdCount: readdirSync(`/proc/${shim.pid}/fd`).length,
      });
      await shim.closeStdin();
      expect(await told.ended).toMatchObject({ exitCode: 1 });
      expect(leftovers(request)).toEqual([]);
      expect(logged(request)).toContain(`"log":"${isMarked ? 100 : 64}\\n"`);
      // As long as the status may be asked for, the folder is there, and names no living shim.
      expect(existsSync(join(own.root, "shims", shim.name, "exit.json"))).toBe(true);
      await Bun.sleep(100);
    }
    const pids = new Set(terms.map(({ pid }) => pid));
    expect(pids.size).toBeLessThan(terms.length);
    for (const pid of pids) {
      const served = terms.filter((term) => term.pid === pid);
      expect(served.at(-1)?.fdCount).toBeLessThanOrEqual((served[0]?.fdCount ?? 0) + 1);
    }
    // Another daemon, which knows of none of them, leaves the living shim of a later container alone.
    const request = own.request({ args: ["sleep", "60"] });
    const { shim, told } = await own.acquire(request);
    const { pid, pidStartTime } = await shim.start(request);
    await own.pool[Symbol.asyncDispose]();
    own.pool = own.openPool();
    const known = { name: shim.name, containerId: request.containerId };
    expect(await own.pool.recover([known])).toMatchObject([{ kind: "running" }]);
    expect(isSameProcess(pid, BigInt(pidStartTime))).toBe(true);
    signalProcess(pid, "SIGKILL");
    await Bun.sleep(300);
    expect(readExitStatus(join(own.root, "shims", shim.name))).toMatchObject({ exitCode: 137 });
    expect(told.oomCount).toBe(0);
    await own.close();
  }, 20_000);

  test("one container after the other is no burst, many at once are", async () => {
    const own = new ShimFixture({ spareCount: 2 });
    const shimCount = (): number => readdirSync(join(own.root, "shims")).length;
    for (let round = 0; round < 12; round += 1) {
      const request = own.request({ args: ["true"] });
      const { shim, told } = await own.acquire(request);
      await shim.start(request);
      await told.ended;
      await own.pool.forget(shim.name);
    }
    await Bun.sleep(500);
    expect(shimCount()).toBe(2);
    const pids = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const request = own.request({ args: ["sleep", "60"] });
        const { shim } = await own.acquire(request);
        return (await shim.start(request)).pid;
      }),
    );
    await Bun.sleep(1500);
    expect(shimCount()).toBe(12);
    for (const pid of pids) signalProcess(pid, "SIGKILL");
    await Bun.sleep(300);
    await own.close();
  }, 20_000);

  test("spares end with the daemon", async () => {
    const own = new ShimFixture();
    await Bun.sleep(400);
    await own.pool[Symbol.asyncDispose]();
    await Bun.sleep(400);
    expect(readdirSync(join(own.root, "shims"))).toEqual([]);
    const { stdout } = await run({ argv: ["pgrep", "-f", own.root] });
    expect(stdout).toBe("");
    await own.close();
  });
});
