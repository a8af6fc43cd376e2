/** `tug daemon`: its flags, daemon.json, signals, listeners and locks. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificates } from "../support/certificates.ts";
import { clientNames, openClient, tugExecutable } from "../support/clients.ts";
import { runDaemonToEnd, startDaemon } from "../support/daemon.ts";
import { referenceHost } from "../support/engine.ts";
import { request } from "../support/http.ts";
import { at, textAt } from "../support/json.ts";
import { cgroupFolders } from "../support/leaks.ts";
import { run, runOk, start, until } from "../support/process.ts";

const ours = describe.skipIf(referenceHost !== undefined);
const scratch = mkdtempSync("/tmp/tugcfg-");
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function validate(text: string): Promise<{ readonly code: number; readonly said: string }> {
  const file = join(scratch, `daemon-${Math.random()}.json`);
  writeFileSync(file, text);
  const result = await run([tugExecutable(), "daemon", "--validate", "--config-file", file]);
  return { code: result.exitCode, said: `${result.stdout}${result.stderr}` };
}

ours("daemon.json", () => {
  test("that is right is said to be", async () => {
    const found = await validate(
      '{ "live-restore": true, "log-level": "warn", "labels": ["a=b"] }',
    );
    expect(found).toEqual({ code: 0, said: "configuration OK\n" });
  });

  test("that does not parse names the line", async () => {
    const found = await validate("{ live-restore: true }");
    expect(found.code).toBe(1);
    expect(found.said).toContain("line 1");
    expect((await validate('{\n  "debug": true,\n  "x": }\n')).said).toContain("line 3");
  });

  test("with an unknown key or a wrong type names the key", async () => {
    expect((await validate('{ "no-such-key": 1 }')).said).toContain("no-such-key");
    const wrong = await validate('{ "debug": "yes" }');
    expect(wrong.code).toBe(1);
    expect(wrong.said).toContain("debug");
  });

  test("that says what a flag says too is refused", async () => {
    const found = await runDaemonToEnd({ config: { "data-root": "/x" } });
    expect(found.exitCode).toBe(1);
    expect(found.output).toContain("data-root");
  });

  test("that is named and missing is refused, --help and --version work", async () => {
    const missing = ["daemon", "--validate", "--config-file", "/no/such/file"];
    expect((await run([tugExecutable(), ...missing])).exitCode).toBe(1);
    const help = await runOk([tugExecutable(), "daemon", "--help"]);
    for (const flag of [
      ...["--host", "--data-root", "--exec-root", "--pidfile", "--log-level", "--log-format"],
      ...["--live-restore", "--default-runtime", "--add-runtime", "--config-file", "--validate"],
      ...["--debug", "--group", "--tls", "--tlscacert", "--tlscert", "--tlskey", "--tlsverify"],
    ]) {
      expect(help).toContain(flag);
    }
    expect(await runOk([tugExecutable(), "daemon", "--version"])).toMatch(/Tug version \d/);
    const unknown = await run([tugExecutable(), "daemon", "--no-such-flag"]);
    expect(unknown.exitCode).not.toBe(0);
    expect(unknown.stderr).toContain("no-such-flag");
  });
});

ours("a daemon", () => {
  test("that is second on a data root is refused, with the pid of the first", async () => {
    await using first = await startDaemon();
    const second = await runDaemonToEnd({ dataRoot: first.dataRoot });
    expect(second.exitCode).toBe(1);
    expect(second.output).toContain(String(first.pid));
    expect(second.output).toContain(first.dataRoot);
  });

  test("tells what it runs with, and writes its pid", async () => {
    await using daemon = await startDaemon({
      flags: [
        "--label",
        "room=12",
        "--default-runtime",
        "runc",
        "--add-runtime",
        "other=/usr/bin/crun",
      ],
    });
    const { json } = await daemon.engine.api("GET", "/info");
    expect(json).toMatchObject({
      DockerRootDir: daemon.dataRoot,
      Labels: ["room=12"],
      DefaultRuntime: "runc",
      LoggingDriver: "json-file",
    });
    expect(at(json, "Runtimes", "other", "path")).toBe("/usr/bin/crun");
    expect((await Bun.file(daemon.pidFile).text()).trim()).toBe(String(daemon.pid));
  });

  test("takes SIGHUP: what can be reloaded is, what does not parse is not", async () => {
    await using daemon = await startDaemon({ config: { "live-restore": false } });
    const isKept = async (): Promise<unknown> =>
      at((await daemon.engine.api("GET", "/info")).json, "LiveRestoreEnabled");
    expect(await isKept()).toBe(false);
    writeFileSync(daemon.configPath, '{ "live-restore": true, "labels": ["new=1"] }');
    daemon.signal("SIGHUP");
    await until(async () => (await isKept()) === true, "the new configuration");
    writeFileSync(daemon.configPath, "{ broken");
    daemon.signal("SIGHUP");
    await until(() => daemon.log().includes("not reloaded"), "the log to say so");
    expect(await isKept()).toBe(true);
  });

  test("stops cleanly on SIGTERM, containers and all", async () => {
    await using daemon = await startDaemon({ flags: ["--shutdown-timeout", "2"] });
    await daemon.engine.ensureImages("busybox");
    const script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    const id = await daemon.engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", script] });
    await Bun.sleep(200);
    expect(await daemon.stop()).toBe(0);
    expect(existsSync(daemon.pidFile)).toBe(false);
    expect(cgroupFolders(daemon.cgroup)).toEqual([]);
    await daemon.restart();
    const state = at(await daemon.engine.inspect(id), "State");
    expect(state).toMatchObject({ Running: false, ExitCode: 0 });
    await daemon.engine.removeContainers();
    expect(await daemon.leaks()).toEqual([]);
  });

  test("with live-restore leaves containers running when it stops", async () => {
    await using daemon = await startDaemon({ flags: ["--live-restore"] });
    await daemon.engine.ensureImages("busybox");
    const id = await daemon.engine.runDetached({ Image: "busybox", Cmd: ["sleep", "300"] });
    const before = at(await daemon.engine.inspect(id), "State", "Pid");
    expect(await daemon.stop()).toBe(0);
    expect(cgroupFolders(daemon.cgroup).filter((path) => path.endsWith(id))).not.toEqual([]);
    await daemon.restart();
    expect(at(await daemon.engine.inspect(id), "State")).toMatchObject({
      Running: true,
      Pid: before,
    });
    await daemon.engine.removeContainers();
    expect(await daemon.stop()).toBe(0);
    expect(cgroupFolders(daemon.cgroup)).toEqual([]);
  });

  test("takes away the control groups of one that was killed, once it stops itself", async () => {
    await using daemon = await startDaemon({ flags: ["--shutdown-timeout", "1"] });
    await daemon.engine.ensureImages("busybox");
    await daemon.engine.runDetached({ Image: "busybox", Cmd: ["sleep", "300"] });
    await daemon.kill9();
    expect(cgroupFolders(daemon.cgroup)).not.toEqual([]);
    await daemon.restart();
    expect(await daemon.stop()).toBe(0);
    expect(cgroupFolders(daemon.cgroup)).toEqual([]);
  });

  test("logs in JSON when asked, and less when asked", async () => {
    await using daemon = await startDaemon({
      flags: ["--log-format", "json", "--log-level", "debug"],
    });
    const lines = daemon.log().trim().split("\n");
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(typeof JSON.parse(line)).toBe("object");
    await using quiet = await startDaemon({ flags: ["--log-level", "error"] });
    expect(quiet.log()).toBe("");
  });

  test("runs containers under the runtimes it was given", async () => {
    await using daemon = await startDaemon({ flags: ["--add-runtime", "mine=/usr/bin/crun"] });
    await daemon.engine.ensureImages("busybox");
    for (const name of clientNames) {
      const cli = daemon.engine.client(name);
      for (const runtime of ["mine", "crun", ...(Bun.which("runc") === null ? [] : ["runc"])]) {
        const said = await cli.ok("run", "--rm", "--runtime", runtime, "busybox", "echo", runtime);
        expect(said).toBe(runtime);
      }
      const refused = await cli.fails("run", "--rm", "--runtime", "nosuch", "busybox", "true");
      expect(refused).toMatch(/unknown or invalid runtime name: nosuch/);
    }
  });

  test("has a socket for its group alone", async () => {
    await using daemon = await startDaemon();
    expect(statSync(daemon.engine.socketPath).mode & 0o777).toBe(0o660);
    expect(statSync(daemon.dataRoot).mode & 0o007).toBe(0);
  });

  test("listens on several sockets", async () => {
    const second = join(scratch, "second.sock");
    await using _daemon = await startDaemon({ flags: ["-H", `unix://${second}`] });
    expect((await request(second, { method: "GET", path: "/_ping" })).text).toBe("OK");
  });

  test("takes a socket that is handed over", async () => {
    const folder = mkdtempSync("/tmp/tugact-");
    const socket = join(folder, "s");
    // As systemd does: the listening socket is descriptor 3, the environment says so.
    const code =
      `use IO::Socket::UNIX; $^F = 10; $s = IO::Socket::UNIX->new(Local => "${socket}", Listen => 9);` +
      "use POSIX; POSIX::dup2(fileno($s), 3); $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; exec @ARGV";
    await using daemon = start([
      ...["perl", "-e", code, tugExecutable(), "daemon", "-H", "fd://"],
      ...["--data-root", join(folder, "d"), "--exec-root", join(folder, "x")],
      ...["--pidfile", join(folder, "p"), "--bridge", `tugact${process.pid}`],
    ]);
    await until(
      async () => {
        try {
          return (await request(socket, { method: "GET", path: "/_ping" })).text === "OK";
        } catch (error) {
          if (error instanceof Error) return false;
          throw error;
        }
      },
      () => `the daemon to answer: ${daemon.stderr}`,
    );
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
    await run(["ip", "link", "del", `tugact${process.pid}`]);
    await run(["nft", "delete", "table", "inet", `tug_tugact${process.pid}`]);
    rmSync(folder, { recursive: true, force: true });
  });
});

ours("tcp", () => {
  test("is refused without client certificates, unless it is said in so many words", async () => {
    const refused = await runDaemonToEnd({ flags: ["-H", "tcp://127.0.0.1:0"] });
    expect(refused.exitCode).toBe(1);
    expect(refused.output).toContain("--tlsverify");
    const port = 22_000 + (process.pid % 1000);
    const host = `tcp://127.0.0.1:${port}`;
    await using _open = await startDaemon({ flags: ["-H", host, "--allow-unauthenticated-tcp"] });
    expect(await (await fetch(`http://127.0.0.1:${port}/_ping`)).text()).toBe("OK");
    const foreign = await fetch(`http://127.0.0.1:${port}/info`, {
      headers: { Origin: "http://evil.test", Host: "evil.test" },
    });
    expect(foreign.status).toBeGreaterThanOrEqual(400);
  });

  test("with --tlsverify serves those that have a certificate, and nobody else", async () => {
    const folder = mkdtempSync("/tmp/tugtls-");
    await makeCertificates(folder, {
      ca: {},
      server: { signer: "ca", extension: "subjectAltName=IP:127.0.0.1,DNS:localhost" },
      client: { signer: "ca", extension: "extendedKeyUsage=clientAuth" },
    });
    const port = 23_000 + (process.pid % 1000);
    const file = (name: string): string => join(folder, name);
    await using daemon = await startDaemon({
      flags: [
        ...["-H", `tcp://127.0.0.1:${port}`, "--tlsverify", "--tlscacert", file("ca.pem")],
        ...["--tlscert", file("server.pem"), "--tlskey", file("server.key")],
      ],
    });
    await expect(
      fetch(`https://127.0.0.1:${port}/info`, { tls: { rejectUnauthorized: false } }),
    ).rejects.toThrow();
    for (const name of clientNames) {
      const host = `tcp://127.0.0.1:${port}`;
      const cli = openClient(name, { host, home: daemon.folder });
      const flags = ["--tlsverify", "--tlscacert", file("ca.pem")];
      const own = ["--tlscert", file("client.pem"), "--tlskey", file("client.key")];
      expect(await cli.ok(...flags, ...own, "ps", "-q")).toBe("");
      await cli.fails(...flags, "ps", "-q");
      // What is much takes another way where the connection is plain.
      await daemon.engine.ensureImages("busybox");
      const run = ["run", "--rm", "busybox", "seq", "1", "500000"];
      const lines = Array.from({ length: 500_000 }, (_, index) => `${index + 1}`).join("\n");
      expect(await cli.ok(...flags, ...own, ...run)).toBe(lines);
    }
    rmSync(folder, { recursive: true, force: true });
  });
});

ours("the daemon that nobody started", () => {
  test("is started by the first command that needs it", async () => {
    const help = await runOk([tugExecutable(), "--help"]);
    expect(help).toMatch(/daemon/);
    expect(textAt({ help }, "help")).not.toBe("");
  });
});
