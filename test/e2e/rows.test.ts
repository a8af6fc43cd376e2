/**
 * What people were promised of containers, row by row: each is one claim of a public talk on
 * containers, named by its number, as the command line shows it.
 */
import { beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientNames, tugExecutable } from "../support/clients.ts";
import { runDaemonToEnd, startDaemon } from "../support/daemon.ts";
import { imageId, inFolder, referenceHost, uniqueName } from "../support/engine.ts";
import { rootTar } from "../support/images.ts";
import { at, numberAt, parseLines } from "../support/json.ts";
import { run, runOk, until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({
  images: ["busybox", "web", "volimg", "ep", "setup", "noentry"],
});
const isOurs = referenceHost === undefined;
let nextPort = 24_000 + (process.pid % 500) * 10;

let c1 = "";
beforeEach(async () => {
  c1 = uniqueName("c1");
  await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "99999"] }, c1);
});

for (const name of clientNames) {
  const cli = engine.client(name);
  const sh = async (script: string, ...flags: readonly string[]): Promise<string> =>
    await cli.ok("run", "--rm", ...flags, "busybox", "sh", "-c", script);

  describe(`isolation with ${name}`, () => {
    test("0.01 an image is a file system of its own", async () => {
      const probe = ["run", "--rm", "busybox", "test", "-e", "/etc/debian_version"];
      expect((await cli.run(probe)).exitCode).toBe(1);
    });
    test("0.02 namespaces are its own", async () => {
      for (const kind of ["pid", "mnt", "net", "ipc", "uts"]) {
        const inside = await cli.ok("run", "--rm", "busybox", "readlink", `/proc/self/ns/${kind}`);
        expect(inside).toMatch(new RegExp(`^${kind}:\\[\\d+\\]$`));
        expect(inside).not.toBe(await runOk(["readlink", `/proc/self/ns/${kind}`]));
      }
    });
    test("0.03 control groups bound memory", async () => {
      const files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes";
      expect(await sh(`cat ${files} 2>/dev/null || true`, "-m", "32m")).toBe("33554432");
    });
    test("0.04 the root is a union file system", async () => {
      await cli.ok("run", "--rm", "busybox", "grep", "-q", " / overlay ", "/proc/mounts");
    });
    test("0.29 cpu, memory, processes and io are limited", async () => {
      const limits = ["--cpus", ".5", "--pids-limit", "20", "-m", "64m", "--blkio-weight", "300"];
      await cli.ok("run", "--rm", ...limits, "busybox", "true");
      const script = "for i in $(seq 20); do sleep 2 & done";
      const args = ["run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script];
      expect((await cli.run(args)).stderr).toMatch(/can't fork/i);
    });
    test("0.30 capabilities are fine-grained", async () => {
      const chown = ["busybox", "chown", "1", "/tmp"];
      await cli.fails("run", "--rm", "--cap-drop", "CHOWN", ...chown);
      await cli.ok("run", "--rm", "--cap-drop", "ALL", "--cap-add", "CHOWN", ...chown);
    });
    test("1.09 seccomp is on by default", async () => {
      await cli.ok("run", "--rm", "busybox", "grep", "-q", "Seccomp:.*2", "/proc/self/status");
    });
    test("1.10 the host's root is out of sight", async () => {
      expect(await cli.ok("run", "--rm", "busybox", "ls", "/")).not.toContain("lost+found");
    });
    test("1.11 1.12 the process is the first of its PID namespace", async () => {
      expect(await sh("echo $$")).toBe("1");
    });
    test("2.09 it is root there, alone and gone afterwards", async () => {
      expect(await sh("id -u")).toBe("0");
      // A heading, sh and ps; wc too, when it has begun already.
      expect(["3", "4"]).toContain((await sh("ps | wc -l")).trim());
    });
    test("2.25 one process is listed for one process", async () => {
      expect((await cli.ok("top", c1)).split("\n")).toHaveLength(2);
    });
    test("3.21 exec sees its PID 1, and the host name is the short ID", async () => {
      expect(await cli.ok("exec", "-i", c1, "ps")).toMatch(/^ *1 .*sleep 99999/m);
      expect(await cli.ok("exec", c1, "hostname")).toBe(await cli.ok("ps", "-qf", `name=${c1}`));
    });
  });

  describe(`images with ${name}`, () => {
    test("0.05 3.08 a saved image is an OCI layout", async () => {
      const file = inFolder(engine, uniqueName("save"));
      await cli.ok("save", "-o", file, "busybox");
      expect((await runOk(["tar", "-tf", file])).split("\n")).toContain("oci-layout");
      expect(await cli.ok("inspect", "-f", "{{.Id}}", c1)).toMatch(/^[0-9a-f]{64}$/);
    });
    test("0.09 an image goes to another machine and runs there the same", async () => {
      const file = inFolder(engine, uniqueName("w"));
      const image = uniqueName("web");
      await cli.ok("tag", "web", image);
      await cli.ok("save", image, "-o", file);
      await cli.ok("rmi", "-f", image);
      await cli.ok("load", "-i", file);
      await cli.ok("run", "--rm", image, "true");
      await cli.ok("rmi", image);
    });
    test("0.42 images and ps have their heads", async () => {
      expect((await cli.ok("images")).split("\n")[0]).toContain("IMAGE");
      expect(await cli.ok("ps")).toContain("CONTAINER ID");
    });
    test("0.50 rmi takes an image away", async () => {
      await engine.importImage("x/y", { archive: rootTar() });
      await cli.ok("rmi", "x/y");
      await cli.fails("image", "inspect", "x/y");
    });
    test("0.70 images are addressed by content", async () => {
      const id = await cli.ok("image", "inspect", "busybox", "-f", "{{.Id}}");
      expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(id).toBe(await imageId(engine, "busybox"));
    });
    test("1.70 neither ENTRYPOINT nor CMD: no command specified", async () => {
      expect(await cli.fails("run", "--rm", "noentry")).toContain("no command specified");
    });
    test("1.71 ENTRYPOINT receives what is said", async () => {
      expect(await cli.ok("run", "--rm", "ep", "a", "b")).toBe("a b");
    });
    test("1.72 an entrypoint that sets up and execs leaves CMD as PID 1", async () => {
      expect(await cli.ok("run", "--rm", "setup")).toBe("1 yes");
    });
    test("2.26 two versions run side by side", async () => {
      for (const tag of ["1", "2"]) {
        const entries = [{ name: "version", content: tag }];
        const archive = rootTar({ entries, changes: [] });
        await engine.importImage(`app:${tag}`, { archive, changes: ['CMD ["sleep","60"]'] });
        const id = await cli.ok("run", "-d", `app:${tag}`);
        expect(await cli.ok("exec", id, "cat", "/version")).toBe(tag);
      }
      await engine.removeContainers();
      await cli.ok("rmi", "app:1", "app:2");
    });
  });

  describe(`daily use with ${name}`, () => {
    test("0.44 a shell is typed at, its exit is listed", async () => {
      const container = uniqueName();
      const args = ["run", "-i", "-t", "--name", container, "busybox", "/bin/sh"];
      await using child = cli.start(args, { tty: true });
      await child.prints("#");
      child.write("cat /etc/passwd; exit\r");
      await child.prints("nobody");
      await child.exited;
      expect(await cli.ok("ps", "-a", "-f", `name=${container}`)).toContain("Exited (0)");
    });
    test("0.45 a loop in the background: logs and stop", async () => {
      const container = uniqueName("hello-world");
      const script = "while true; do echo hello world; sleep 1; done";
      await cli.ok("run", "-d", "--name", container, "busybox", "sh", "-c", script);
      await until(async () => (await cli.ok("logs", container)).includes("hello world"), "a line");
      expect(await cli.ok("stop", "-t", "1", container)).toBe(container);
    });
    test("0.47 2.36 a published port answers", async () => {
      nextPort += 1;
      const port = nextPort;
      await cli.ok("run", "-d", "-p", `${port}:8080`, "web");
      let text = "";
      await until(async () => {
        try {
          text = await engine.fetchText(`http://localhost:${port}/`);
        } catch (error) {
          if (!(error instanceof Error)) throw error;
        }
        return text.includes("hello from web");
      }, "the page");
    });
    test("0.48 a mistyped flag is named", async () => {
      const said = await cli.fails("run", "-d", "--pull", "never", "docker-p", "8080:8080", "img");
      expect(said).toMatch(/docker-p|did you mean -p/i);
    });
    test("0.49 several are removed at once", async () => {
      const names = [uniqueName(), uniqueName()];
      for (const container of names) await cli.ok("create", "--name", container, "busybox");
      await cli.ok("rm", ...names);
      await cli.fails("inspect", ...names);
    });
    test("0.52 -e reaches the process", async () => {
      expect(await sh("echo $FOO", "-e", "FOO=bar")).toBe("bar");
    });
    test("0.53 --env-file reaches the process", async () => {
      const file = inFolder(engine, uniqueName("env"));
      writeFileSync(file, "FOO=bar\n");
      expect(await sh("echo $FOO", "--env-file", file)).toBe("bar");
    });
    test("0.56 a configuration file is mounted", async () => {
      const file = inFolder(engine, uniqueName("a.conf"));
      writeFileSync(file, "x = 1\ny = 2\n");
      const args = ["run", "--rm", "-v", `${file}:/etc/a.conf:ro`, "busybox", "cat", "/etc/a.conf"];
      expect((await cli.run(args)).stdout).toBe(readFileSync(file, "utf8"));
    });
    test("0.58 1.33 what it writes is on the host", async () => {
      const folder = inFolder(engine, uniqueName("d"));
      mkdirSync(folder);
      await sh("echo hi >/d/o", "-v", `${folder}:/d`);
      expect(readFileSync(join(folder, "o"), "utf8")).toBe("hi\n");
    });
    test("0.68 runtimes are chosen", async () => {
      const runtimes = isOurs ? ["crun", "runc"] : ["runc"];
      for (const runtime of runtimes) {
        await cli.ok("run", "--rm", "--runtime", runtime, "busybox", "true");
      }
    });
    test("1.41 dns flags are taken", async () => {
      const flags = ["--dns", "9.9.9.9", "--dns-search", "s.test"];
      expect(await sh("cat /etc/resolv.conf", ...flags)).toContain("s.test");
    });
    test("1.43 -it gives a terminal", async () => {
      const result = await cli.terminal(["run", "-it", "--rm", "busybox", "tty"]);
      expect(result.stdout).toContain("/dev/pts/0");
    });
    test("1.46 --restart-policy is no flag, --restart is", async () => {
      const said = await cli.fails("run", "--restart-policy", "always", "busybox");
      expect(said).toMatch(/restart/i);
      expect(said).toContain("unknown flag");
    });
    test("1.47 1.48 --name and -m are kept", async () => {
      const container = uniqueName("nm");
      await cli.ok("run", "--name", container, "-m", "8m", "busybox", "true");
      expect(await cli.ok("inspect", "-f", "{{.HostConfig.Memory}}", container)).toBe("8388608");
    });
    test("1.49 exec -it opens a shell", async () => {
      expect((await cli.terminal(["exec", "-it", c1, "sh", "-c", "exit"])).exitCode).toBe(0);
    });
    test("1.50 exec -u", async () => {
      expect(await cli.ok("exec", "-u", "12", c1, "id", "-u")).toBe("12");
    });
    test("2.27 everything is told in JSON", async () => {
      const [line] = parseLines(await cli.ok("ps", "--format", "json"));
      expect(at(line, "ID")).toBeDefined();
    });
    test("2.35 -d, -p, -v and -t go together", async () => {
      nextPort += 1;
      const folder = inFolder(engine, uniqueName("data"));
      const flags = ["-p", `${nextPort}:5432`, "-v", `${folder}:/var/lib/postgresql`, "-t"];
      await cli.ok("run", "-d", ...flags, "busybox", "sleep", "60");
    });
  });

  describe(`volumes with ${name}`, () => {
    test("0.69 volumes are managed by themselves", async () => {
      const volume = uniqueName("vol");
      await cli.ok("volume", "create", volume);
      expect((await cli.ok("volume", "ls", "-q")).split("\n")).toContain(volume);
      await cli.ok("volume", "inspect", volume);
      await cli.ok("volume", "rm", volume);
    });
    test("1.32 anonymous", async () => {
      const container = uniqueName("an");
      await cli.ok("run", "-v", "/data", "--name", container, "busybox", "true");
      const format = "{{(index .Mounts 0).Name}}";
      expect(await cli.ok("inspect", "-f", format, container)).toMatch(/^[0-9a-f]{64}$/);
    });
    test("1.34 1.35 named, shared by reference", async () => {
      const volume = uniqueName("nv");
      await sh("touch /d/x", "-v", `${volume}:/d`);
      const other = await cli.ok("run", "-d", "-v", `${volume}:/d`, "busybox", "sleep", "60");
      await sh("test -e /d/x && touch /d/y", "-v", `${volume}:/d`);
      await cli.ok("exec", other, "test", "-e", "/d/y");
      await cli.ok("rm", "-f", other);
      await cli.ok("volume", "rm", volume);
    });
    test("1.44 --rm takes the anonymous ones along", async () => {
      const container = uniqueName("gg");
      const before = await cli.ok("volume", "ls", "-q");
      await cli.ok("run", "--rm", "-v", "/a", "--name", container, "busybox", "true");
      await cli.fails("inspect", container);
      expect(await cli.ok("volume", "ls", "-q")).toBe(before);
    });
    test("1.60 VOLUME declares one, with the image's content", async () => {
      const container = uniqueName("v1");
      await cli.ok("run", "--name", container, "volimg", "cat", "/data/seed");
      expect(await cli.ok("inspect", "-f", "{{len .Mounts}}", container)).toBe("1");
      expect(await cli.ok("logs", container)).toBe("seeded");
    });
  });

  describe(`what is told, with ${name}`, () => {
    test("3.09 info has its fields", async () => {
      const fields =
        /^ *(Containers|Running|Paused|Stopped|Images|Server Version|Storage Driver|Backing Filesystem|Logging Driver|Volume|Network|Kernel Version|Operating System|OSType|Architecture|CPUs|Total Memory):/gm;
      expect((await cli.ok("info")).match(fields)?.length).toBeGreaterThanOrEqual(16);
    });
    test("3.10 ps has its columns", async () => {
      const head = (await cli.ok("ps")).split("\n")[0]?.replaceAll(/ +/g, " ");
      expect(head).toContain("CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES");
    });
    test("3.11 a created container is listed as such", async () => {
      const id = await cli.ok("create", "busybox");
      expect(await cli.ok("ps", "-a", "-f", `id=${id}`)).toContain("Created");
    });
    test("3.12 names are made up of two words", async () => {
      await cli.ok("run", "-d", "busybox", "sleep", "9");
      expect(await cli.ok("ps", "-l", "--format", "{{.Names}}")).toMatch(/^[a-z]+_[a-z]+[0-9]*$/);
    });
    test("3.13 a signal to the client reaches the container", async () => {
      const script = "trap 'exit 7' TERM; echo up; while :; do sleep 1; done";
      await using child = cli.start(["run", "--rm", "busybox", "sh", "-c", script]);
      await child.prints("up");
      child.kill("SIGTERM");
      expect(await child.exited).toBe(7);
    });
    test("3.14 run -d prints the whole ID", async () => {
      expect(await cli.ok("run", "-d", "web")).toMatch(/^[0-9a-f]{64}$/);
    });
    test("3.15 logs by a prefix of the ID", async () => {
      const id = await cli.ok("run", "-d", "busybox", "echo", "prefix");
      await engine.api("POST", `/containers/${id}/wait`);
      expect(await cli.ok("logs", id.slice(0, 8))).toBe("prefix");
    });
    test("4.10 a container that died says why", async () => {
      const container = uniqueName();
      await cli.ok(
        "run",
        "-d",
        "--name",
        container,
        "busybox",
        "sh",
        "-c",
        "echo reason >&2; exit 3",
      );
      await engine.api("POST", `/containers/${container}/wait`);
      expect(await cli.ok("ps", "-a", "-f", `name=${container}`)).toContain("Exited (3)");
      expect((await cli.run(["logs", container])).stderr).toBe("reason\n");
      const format = "{{.State.ExitCode}} {{.State.Error}}";
      expect((await cli.ok("inspect", "-f", format, container)).trim()).toBe("3");
    });
    test("4.13 -it needs a terminal, -i keeps output without carriage returns", async () => {
      const refused = await cli.run(["run", "-it", "busybox", "true"], { input: "" });
      expect(refused.stderr).toContain("the input device is not a TTY");
      const result = await cli.run(["run", "-i", "--rm", "busybox", "ps"], { input: "" });
      expect(result.stdout).not.toContain("\r");
    });
  });
}

describe.skipIf(!isOurs)("the daemon", () => {
  test("1.24 containers survive its death and its restart", async () => {
    await using daemon = await startDaemon({ flags: ["--live-restore"] });
    await daemon.engine.ensureImages("busybox");
    const id = await daemon.engine.runDetached({ Image: "busybox", Cmd: ["sleep", "999"] });
    const pid = numberAt(await daemon.engine.inspect(id), "State", "Pid");
    await daemon.kill9();
    await daemon.restart();
    expect(numberAt(await daemon.engine.inspect(id), "State", "Pid")).toBe(pid);
    for (const name of clientNames) await daemon.engine.client(name).ok("exec", id, "true");
  });

  test("1.25 a configuration that is not JSON names the line", async () => {
    const file = inFolder(engine, "d.json");
    writeFileSync(file, "{ live-restore: true }\n");
    const args = ["daemon", "--validate", "--config-file", file];
    const result = await run([tugExecutable(), ...args]);
    expect(`${result.stdout}${result.stderr}`).toContain("line 1");
  });

  test("1.26 SIGHUP applies the configuration", async () => {
    await using daemon = await startDaemon();
    writeFileSync(daemon.configPath, '{ "live-restore": true }');
    daemon.signal("SIGHUP");
    for (const name of clientNames) {
      const cli = daemon.engine.client(name);
      await until(
        async () => (await cli.ok("info", "-f", "{{.LiveRestoreEnabled}}")) === "true",
        "the new configuration",
      );
    }
  });

  test("3.23 tcp without TLS is refused unless it is said in so many words", async () => {
    const refused = await runDaemonToEnd({ flags: ["-H", "tcp://0.0.0.0:2375"] });
    expect(refused.exitCode).toBe(1);
    expect(refused.output).toContain("--allow-unauthenticated-tcp");
  });
});
