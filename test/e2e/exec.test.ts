/** `exec`: further processes in a running container. */
import { beforeEach, describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { readFrames } from "../support/http.ts";
import { at, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
let container = "";
beforeEach(async () => {
  container = uniqueName();
  await engine.runDetached(
    { Image: "busybox", Cmd: ["sleep", "300"], Env: ["FROM=container"], WorkingDir: "/tmp" },
    container,
  );
});

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`exec with ${name}`, () => {
    test("runs beside PID 1 and gives its own exit code", async () => {
      expect(await cli.ok("exec", container, "ps")).toContain("sleep 300");
      const result = await cli.run(["exec", container, "sh", "-c", "exit 3"]);
      expect(result.exitCode).toBe(3);
    });

    test("keeps stdout and stderr apart", async () => {
      const result = await cli.run(["exec", container, "sh", "-c", "echo o; echo e >&2"]);
      expect(result.stdout).toBe("o\n");
      expect(result.stderr).toBe("e\n");
    });

    test("-i passes bytes both ways and half-closes", async () => {
      const bytes = new Uint8Array(300_001).map((_, index) => (index * 13) & 255);
      const result = await cli.run(["exec", "-i", container, "sh", "-c", "cat; echo -n end"], {
        input: bytes,
      });
      expect(result.stdoutBytes.length).toBe(bytes.length + 3);
      expect(Bun.hash(result.stdoutBytes.slice(0, bytes.length))).toBe(Bun.hash(bytes));
    });

    test("output of one that ends at once comes whole, also of several beside each other", async () => {
      // More than a pipe holds: what is read ahead of a busy client counts as well.
      const sizeBytes = 2_141_184;
      const lane = async (): Promise<void> => {
        for (let round = 0; round < 8; round += 1) {
          const args = ["exec", container, "head", "-c", `${sizeBytes}`, "/dev/zero"];
          expect((await cli.run(args)).stdoutBytes.length).toBe(sizeBytes);
        }
      };
      await Promise.all([lane(), lane(), lane(), lane()]);
    }, 60_000);

    test("has the container's environment, directory and network name", async () => {
      const said = await cli.ok("exec", container, "sh", "-c", "echo $FROM; pwd; hostname");
      const id = textAt(await engine.inspect(container), "Id");
      expect(said).toBe(`container\n/tmp\n${id.slice(0, 12)}`);
    });

    test("-e, -u and -w are its own", async () => {
      const flags = ["-e", "X=y", "-u", "app", "-w", "/bin"];
      const said = await cli.ok("exec", ...flags, container, "sh", "-c", "echo $X; id -u; pwd");
      expect(said).toBe("y\n1000\n/bin");
      expect(await cli.ok("exec", "-u", "12", container, "id", "-u")).toBe("12");
    });

    test("--env-file is read", async () => {
      const file = `${engine.folder}/${uniqueName("env")}`;
      await Bun.write(file, "FILED=1\n");
      const said = await cli.ok("exec", "--env-file", file, container, "sh", "-c", "echo $FILED");
      expect(said).toBe("1");
    });

    test("-d returns at once and the process runs on", async () => {
      expect(await cli.ok("exec", "-d", container, "sh", "-c", "sleep 0.2; touch /tmp/done")).toBe(
        "",
      );
      await Bun.sleep(600);
      expect(await cli.ok("exec", container, "ls", "/tmp/done")).toBe("/tmp/done");
    });

    test("-t gives a terminal", async () => {
      const result = await cli.terminal(["exec", "-it", container, "sh", "-c", "tty; exit 4"]);
      expect(result.stdout).toMatch(/\/dev\/pts\/\d/);
      expect(result.exitCode).toBe(4);
    });

    test("127 for a command that is not there, 126 for one that cannot be executed", async () => {
      const missing = await cli.run(["exec", container, "no-such-command"]);
      expect(missing.exitCode).toBe(127);
      expect(`${missing.stdout}${missing.stderr}`).toContain("no-such-command");
      expect((await cli.run(["exec", container, "/etc/passwd"])).exitCode).toBe(126);
    });

    test("in a container that is stopped or unknown is refused", async () => {
      await engine.api("POST", `/containers/${container}/kill`);
      expect(await cli.fails("exec", container, "true")).toMatch(/is not running/);
      expect(await cli.fails("exec", "no-such", "true")).toContain("No such container: no-such");
    });

    test("-u of a user that is not there is refused by name", async () => {
      expect(await cli.fails("exec", "-u", "nosuch", container, "true")).toContain("nosuch");
    });
  });
}

describe("exec by API", () => {
  const create = async (config: Readonly<Record<string, unknown>>): Promise<string> => {
    const answer = await engine.api("POST", `/containers/${container}/exec`, config);
    expect(answer.status).toBe(201);
    return textAt(answer.json, "Id");
  };

  test("inspect tells command, state and exit code", async () => {
    const id = await create({ Cmd: ["sh", "-c", "exit 9"], AttachStdout: true });
    const before = await engine.api("GET", `/exec/${id}/json`);
    expect(before.json).toMatchObject({ ID: id, Running: false, ExitCode: null });
    expect(at(before.json, "ProcessConfig", "entrypoint")).toBe("sh");
    expect(at(before.json, "ProcessConfig", "arguments")).toEqual(["-c", "exit 9"]);
    const started = await engine.api("POST", `/exec/${id}/start`, { Detach: false, Tty: false });
    expect(started.status).toBe(200);
    const after = await engine.api("GET", `/exec/${id}/json`);
    expect(after.json).toMatchObject({ Running: false, ExitCode: 9 });
  });

  test("starts once only", async () => {
    const id = await create({ Cmd: ["true"], AttachStdout: true });
    await engine.api("POST", `/exec/${id}/start`, { Detach: false });
    const again = await engine.api("POST", `/exec/${id}/start`, { Detach: false });
    // Docker: answers 200 and puts the sentence into the stream, seen in 28.5
    expect(again.text).toMatch(/already/);
  });

  test("what is asked for once the head of its start is there reaches its process", async () => {
    const id = await create({
      Cmd: ["sh", "-c", "read _; stty size"],
      Tty: true,
      AttachStdin: true,
      AttachStdout: true,
    });
    using connection = await engine.raw();
    const body = '{"Tty":true}';
    connection.send(
      `POST /v1.51/exec/${id}/start HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until(() => connection.received.includes("\r\n\r\n"), "the head");
    const told = await engine.api("GET", `/exec/${id}/json`);
    expect(told.json).toMatchObject({ Running: true, ExitCode: null });
    expect((await engine.api("POST", `/exec/${id}/resize?h=21&w=43`)).status).toBe(200);
    connection.send("\n");
    await connection.ended;
    expect(connection.received.toString()).toContain("21 43");
  });

  test("output is framed as its start asks, with a terminal or without", async () => {
    const shown = await create({ Cmd: ["echo", "shown"], Tty: true, AttachStdout: true });
    const framed = await engine.api("POST", `/exec/${shown}/start`, {});
    expect(readFrames(framed.bytes)).toEqual([{ stream: "stdout", text: "shown\r\n" }]);
    const Cmd = ["sh", "-c", "echo out; echo never >&2"];
    const apart = await create({ Cmd, AttachStdout: true, AttachStderr: true });
    expect((await engine.api("POST", `/exec/${apart}/start`, { Tty: true })).text).toBe("out\n");
  });

  test("without a command is refused", async () => {
    const answer = await engine.api("POST", `/containers/${container}/exec`, { Cmd: [] });
    expect(answer.status).toBe(400);
    expect(answer.message).toBe("No exec command specified");
  });

  test("an unknown one is 404", async () => {
    const answer = await engine.api("GET", "/exec/beef/json");
    expect(answer.status).toBe(404);
    expect(answer.message).toBe("No such exec instance: beef");
  });

  test("in a paused container is refused", async () => {
    await engine.api("POST", `/containers/${container}/pause`);
    const answer = await engine.api("POST", `/containers/${container}/exec`, { Cmd: ["true"] });
    await engine.api("POST", `/containers/${container}/unpause`);
    expect(answer.status).toBe(409);
    expect(answer.message).toContain("is paused, unpause the container before exec");
  });

  test("the container's list of execs names the running one", async () => {
    const id = await create({ Cmd: ["sleep", "5"] });
    await engine.api("POST", `/exec/${id}/start`, { Detach: true });
    expect(at(await engine.inspect(container), "ExecIDs")).toContain(id);
  });
});
