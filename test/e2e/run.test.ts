/** `run`: from command to exit code, in the foreground and detached. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { clientNames } from "../support/clients.ts";
import { inFolder, referenceHost, uniqueName } from "../support/engine.ts";
import { at } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "ep", "setup", "noentry", "user"] });

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`run with ${name}: exit codes`, () => {
    test("gives the container's own", async () => {
      const result = await cli.run(["run", "--rm", "busybox", "sh", "-c", "exit 7"]);
      expect(result.exitCode).toBe(7);
    });

    test("gives 128 and the signal for a killed process", async () => {
      const container = uniqueName();
      const child = cli.start([
        "run",
        "--name",
        container,
        "busybox",
        "sh",
        "-c",
        "echo up; sleep 60",
      ]);
      await child.prints("up");
      await engine.api("POST", `/containers/${container}/kill`);
      expect(await child.exited).toBe(137);
    });

    test("gives 127 for a command that is not there and says which", async () => {
      const result = await cli.run(["run", "--rm", "busybox", "no-such-command"]);
      expect(result.exitCode).toBe(127);
      expect(result.stderr).toContain("no-such-command");
      expect(result.stderr).toMatch(/not found/);
    });

    test("gives 126 for a command that cannot be executed", async () => {
      const result = await cli.run(["run", "--rm", "busybox", "/etc/passwd"]);
      expect(result.exitCode).toBe(126);
      expect(result.stderr).toMatch(/permission denied/i);
    });

    test("gives 125 when the engine refuses", async () => {
      const result = await cli.run(["run", "--rm", "--pull", "never", "no-such-image", "true"]);
      expect(result.exitCode).toBe(125);
      expect(result.stderr).toMatch(/no such image/i);
    });

    test("gives 125 for a flag that is not there", async () => {
      const result = await cli.run(["run", "--no-such-flag", "busybox"]);
      expect(result.exitCode).toBe(125);
      expect(result.stderr).toContain("unknown flag: --no-such-flag");
    });
  });

  describe(`run with ${name}: streams`, () => {
    test("keeps stdout and stderr apart", async () => {
      const result = await cli.run([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2",
      ]);
      expect(result.stdout).toBe("out\n");
      expect(result.stderr).toBe("err\n");
    });

    test("keeps pipes byte-exact in both directions", async () => {
      const bytes = new Uint8Array(1_000_003).map((_, index) => (index * 7 + (index >> 8)) & 255);
      const result = await cli.run(["run", "--rm", "-i", "busybox", "cat"], { input: bytes });
      expect(Bun.hash(result.stdoutBytes)).toBe(Bun.hash(bytes));
      expect(result.exitCode).toBe(0);
    });

    test("half-closes: output that follows the end of input arrives", async () => {
      const command = "cat >/dev/null; sleep 0.2; echo after the end";
      const result = await cli.run(["run", "--rm", "-i", "busybox", "sh", "-c", command], {
        input: "x",
      });
      expect(result.stdout).toBe("after the end\n");
    });

    test("without -i gives an empty stdin", async () => {
      const result = await cli.run(["run", "--rm", "busybox", "wc", "-c"], { input: "unseen" });
      expect(result.stdout.trim()).toBe("0");
    });

    test("-a picks streams", async () => {
      const command = ["busybox", "sh", "-c", "echo out; echo err >&2"];
      const result = await cli.run(["run", "--rm", "-a", "stderr", ...command]);
      expect(result.stdout).toBe("");
      expect(result.stderr).toBe("err\n");
    });

    test("survives a reader that goes away", async () => {
      const child = cli.start(["run", "--rm", "busybox", "sh", "-c", "yes | head -c 3000000"]);
      await child.prints("y\ny\n");
      child.kill("SIGKILL");
      await child.exited;
      const list = await cli.ok("ps", "-q");
      expect(list).toBeDefined();
    });
  });

  describe(`run with ${name}: detached`, () => {
    test("prints the whole ID and leaves the container running", async () => {
      const id = await cli.ok("run", "-d", "busybox", "sleep", "60");
      expect(id).toMatch(/^[0-9a-f]{64}$/);
      expect(at(await engine.inspect(id), "State", "Running")).toBe(true);
    });

    test("--name names it, and a second one of that name is refused with 125", async () => {
      const container = uniqueName();
      await cli.ok("run", "-d", "--name", container, "busybox", "sleep", "60");
      const second = await cli.run(["run", "-d", "--name", container, "busybox", "true"]);
      expect(second.exitCode).toBe(125);
      expect(second.stderr).toContain(`The container name "/${container}" is already in use`);
    });

    test("--rm removes it when it ends", async () => {
      const container = uniqueName();
      await cli.ok("run", "-d", "--rm", "--name", container, "busybox", "sleep", "0.1");
      await until(
        async () => (await engine.api("GET", `/containers/${container}/json`)).status === 404,
        "the container to be removed",
      );
    });

    test("--rm and -d together with a restart policy are refused", async () => {
      const said = await cli.fails("run", "--rm", "--restart", "always", "busybox", "true");
      expect(said).toMatch(/conflicting options|AutoRemove/i);
    });

    test("--cidfile holds the ID, and is not overwritten", async () => {
      const file = inFolder(engine, `${uniqueName("cid")}`);
      const id = await cli.ok("run", "-d", "--cidfile", file, "busybox", "true");
      expect(readFileSync(file, "utf8").trim()).toBe(id);
      const said = await cli.fails("run", "-d", "--cidfile", file, "busybox", "true");
      expect(said).toMatch(/container ID file found|already exists/i);
      expect(existsSync(file)).toBe(true);
    });
  });

  describe(`run with ${name}: what the process is`, () => {
    test("it is PID 1 of its own namespaces", async () => {
      expect(await cli.ok("run", "--rm", "busybox", "sh", "-c", "echo $$")).toBe("1");
    });

    test("ENTRYPOINT receives CMD as arguments", async () => {
      expect(await cli.ok("run", "--rm", "ep")).toBe("from cmd");
      expect(await cli.ok("run", "--rm", "ep", "a", "b")).toBe("a b");
    });

    test("--entrypoint replaces ENTRYPOINT and drops CMD", async () => {
      expect(await cli.ok("run", "--rm", "--entrypoint", "/bin/echo", "ep")).toBe("");
      expect(await cli.ok("run", "--rm", "--entrypoint", "/bin/echo", "ep", "x")).toBe("x");
    });

    test("an entrypoint that ends in exec leaves CMD as PID 1", async () => {
      expect(await cli.ok("run", "--rm", "setup")).toBe("1 yes");
    });

    test("without any command it is refused", async () => {
      expect(await cli.fails("run", "--rm", "noentry")).toContain("no command specified");
    });

    test("-e sets, overrides and passes on variables", async () => {
      const result = await cli.run(
        ["run", "--rm", "-e", "A=1", "-e", "GREETING=bye", "-e", "PASSED", "user", "env"],
        { env: { PASSED: "through" } },
      );
      const lines = result.stdout.split("\n");
      expect(lines).toContain("A=1");
      expect(lines).toContain("GREETING=bye");
      expect(lines).toContain("PASSED=through");
    });

    test("--env-file is read, and -e wins over it", async () => {
      const file = inFolder(engine, uniqueName("env"));
      await Bun.write(file, "# comment\nONE=from file\nTWO=2\n\n");
      const said = await cli.ok(
        "run",
        "--rm",
        "--env-file",
        file,
        "-e",
        "TWO=cli",
        "busybox",
        "env",
      );
      expect(said.split("\n")).toContain("ONE=from file");
      expect(said.split("\n")).toContain("TWO=cli");
    });

    test("the image's user, home and working directory apply", async () => {
      const said = await cli.ok("run", "--rm", "user", "sh", "-c", "id -u; id -g; echo $HOME; pwd");
      expect(said).toBe("1000\n1000\n/home/app\n/work/here");
    });

    test("-u takes names, numbers and groups", async () => {
      const id = ["busybox", "sh", "-c", "echo $(id -u):$(id -g)"];
      expect(await cli.ok("run", "--rm", "-u", "app", ...id)).toBe("1000:1000");
      expect(await cli.ok("run", "--rm", "-u", "12", ...id)).toBe("12:0");
      expect(await cli.ok("run", "--rm", "-u", "12:34", ...id)).toBe("12:34");
      expect(await cli.ok("run", "--rm", "-u", "app:extra", ...id)).toBe("1000:1234");
    });

    test("a user that the image does not have is refused by name", async () => {
      expect(await cli.fails("run", "--rm", "-u", "nosuch", "busybox", "true")).toContain(
        "unable to find user nosuch",
      );
    });

    test("--group-add adds", async () => {
      const said = await cli.ok("run", "--rm", "--group-add", "1234", "busybox", "id", "-G");
      expect(said.split(" ")).toContain("1234");
    });

    test("-w makes the working directory where it is missing", async () => {
      expect(await cli.ok("run", "--rm", "-w", "/new/place", "busybox", "pwd")).toBe("/new/place");
    });

    test("-h sets the host name, and the ID is it otherwise", async () => {
      expect(await cli.ok("run", "--rm", "-h", "boat", "busybox", "hostname")).toBe("boat");
      const said = await cli.ok(
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "hostname; cat /etc/hostname",
      );
      expect(said).toMatch(/^([0-9a-f]{12})\n\1$/);
    });

    test.skipIf(referenceHost !== undefined)("--init puts an init before the command", async () => {
      const said = await cli.ok("run", "--rm", "--init", "busybox", "sh", "-c", "echo $$");
      expect(said).not.toBe("1");
    });

    test("programs can tell that they are in a container", async () => {
      const look = ["stat", "-c", "%a %s %F", "/.dockerenv"];
      const told = "755 0 regular empty file";
      expect(await cli.ok("run", "--rm", "busybox", ...look)).toBe(told);
      expect(await cli.ok("run", "--rm", "--read-only", "busybox", ...look)).toBe(told);
    });

    test("--read-only makes the root read-only, --tmpfs stays writable", async () => {
      const flags = ["run", "--rm", "--read-only", "--tmpfs", "/scratch", "busybox"];
      expect(await cli.ok(...flags, "touch", "/scratch/x")).toBe("");
      expect(await cli.fails(...flags, "touch", "/x")).toContain("Read-only file system");
    });

    test("labels are kept", async () => {
      const container = uniqueName();
      await cli.ok("run", "--name", container, "-l", "a=b", "--label", "c", "busybox", "true");
      const labels = at(await engine.inspect(container), "Config", "Labels");
      expect(labels).toMatchObject({ a: "b", c: "" });
    });

    test("the root file system is an overlay", async () => {
      const said = await cli.ok("run", "--rm", "busybox", "cat", "/proc/mounts");
      expect(said).toMatch(/^overlay \/ overlay /m);
    });

    test("one container's files are not another's", async () => {
      await cli.ok("run", "--rm", "busybox", "touch", "/mark");
      const result = await cli.run(["run", "--rm", "busybox", "test", "-e", "/mark"]);
      expect(result.exitCode).toBe(1);
    });
  });

  describe(`run with ${name}: signals`, () => {
    test("are passed on to the container, whose exit code comes back", async () => {
      const command = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
      const child = cli.start(["run", "--rm", "busybox", "sh", "-c", command]);
      await child.prints("ready");
      child.kill("SIGTERM");
      expect(await child.exited).toBe(7);
    });

    test("stay here with --sig-proxy=false", async () => {
      const container = uniqueName();
      const command = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
      const child = cli.start([
        ...["run", "--name", container, "--sig-proxy=false", "busybox", "sh", "-c", command],
      ]);
      await child.prints("ready");
      child.kill("SIGTERM");
      await Bun.sleep(300);
      child.kill("SIGKILL");
      expect(at(await engine.inspect(container), "State", "Running")).toBe(true);
    });
  });
}
