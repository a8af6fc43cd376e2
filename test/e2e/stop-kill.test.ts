/** `start`, `stop`, `restart`, `kill`, `pause`: a container's states. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { at, numberAt, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

const polite = [
  "sh",
  "-c",
  "trap 'exit 4' TERM; trap 'echo hup' HUP; while :; do sleep 0.05; done",
];
const deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"];

async function running(config: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const container = uniqueName();
  await engine.runDetached({ Image: "busybox", Cmd: polite, ...config }, container);
  await Bun.sleep(150);
  return container;
}

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`stop with ${name}`, () => {
    test("sends SIGTERM and takes the exit code that follows", async () => {
      const container = await running();
      expect(await cli.ok("stop", container)).toBe(container);
      const state = at(await engine.inspect(container), "State");
      expect(state).toMatchObject({ Status: "exited", Running: false, ExitCode: 4, Pid: 0 });
    });

    test("kills what does not end in time", async () => {
      const container = await running({ Cmd: deaf });
      const startMs = performance.now();
      await cli.ok("stop", "-t", "1", container);
      expect(performance.now() - startMs).toBeLessThan(5_000);
      expect(at(await engine.inspect(container), "State", "ExitCode")).toBe(137);
    });

    test("sends the signal that is asked for", async () => {
      const command = ["sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done"];
      const container = await running({ Cmd: command });
      await cli.ok("stop", "-s", "USR1", container);
      expect(at(await engine.inspect(container), "State", "ExitCode")).toBe(9);
    });

    test("sends the container's stop signal, waits its stop timeout", async () => {
      const command = ["sh", "-c", "trap 'exit 8' USR2; while :; do sleep 0.05; done"];
      const container = uniqueName();
      const flags = ["--stop-signal", "SIGUSR2", "--stop-timeout", "2"];
      await cli.ok("run", "-d", "--name", container, ...flags, "busybox", ...command);
      await Bun.sleep(150);
      await cli.ok("stop", container);
      expect(at(await engine.inspect(container), "State", "ExitCode")).toBe(8);
      expect(at(await engine.inspect(container), "Config", "StopTimeout")).toBe(2);
    });

    test("of several, one unknown: the others stop, and it is said", async () => {
      const container = await running();
      const result = await cli.run(["stop", container, "no-such"]);
      expect(result.exitCode).toBe(1);
      expect(result.stdout.trim()).toBe(container);
      expect(result.stderr).toContain("No such container: no-such");
    });
  });

  describe(`kill with ${name}`, () => {
    test("kills", async () => {
      const container = await running();
      expect(await cli.ok("kill", container)).toBe(container);
      await engine.api("POST", `/containers/${container}/wait`);
      expect(at(await engine.inspect(container), "State", "ExitCode")).toBe(137);
    });

    test("-s takes names and numbers", async () => {
      const container = await running();
      await cli.ok("kill", "-s", "HUP", container);
      await cli.ok("kill", "--signal", "1", container);
      await cli.ok("kill", "--signal", "SIGTERM", container);
      await engine.api("POST", `/containers/${container}/wait`);
      expect(at(await engine.inspect(container), "State", "ExitCode")).toBe(4);
      expect(await cli.ok("logs", container)).toContain("hup");
    });

    test("refuses signals that are none, and stopped containers", async () => {
      const container = await running();
      expect(await cli.fails("kill", "-s", "NOSUCH", container)).toMatch(/invalid signal: NOSUCH/i);
      await cli.ok("kill", container);
      await engine.api("POST", `/containers/${container}/wait`);
      expect(await cli.fails("kill", container)).toMatch(/is not running/);
    });
  });

  describe(`start and restart with ${name}`, () => {
    test("start runs a created and an exited container", async () => {
      const container = uniqueName();
      await cli.ok("create", "--name", container, "busybox", "sh", "-c", "echo x >>/n; wc -l </n");
      expect(await cli.ok("start", container)).toBe(container);
      await engine.api("POST", `/containers/${container}/wait`);
      await cli.ok("start", container);
      await engine.api("POST", `/containers/${container}/wait`);
      expect(await cli.ok("logs", container)).toBe("1\n2");
    });

    test("start -a shows output and gives the exit code", async () => {
      const container = uniqueName();
      await cli.ok("create", "--name", container, "busybox", "sh", "-c", "echo hi; exit 3");
      const result = await cli.run(["start", "-a", container]);
      expect(result.stdout).toBe("hi\n");
      expect(result.exitCode).toBe(3);
    });

    test("start -ai passes stdin", async () => {
      const container = uniqueName();
      await cli.ok("create", "-i", "--name", container, "busybox", "cat");
      const result = await cli.run(["start", "-ai", container], { input: "typed\n" });
      expect(result.stdout).toBe("typed\n");
    });

    test("start of a command that is not there fails, and the container says why", async () => {
      const container = uniqueName();
      await cli.ok("create", "--name", container, "busybox", "no-such-command");
      expect(await cli.fails("start", container)).toContain("no-such-command");
      const state = at(await engine.inspect(container), "State");
      expect(at(state, "ExitCode")).toBe(127);
      expect(textAt(state, "Error")).toContain("no-such-command");
    });

    test("restart gives a new process and counts from now", async () => {
      const container = await running();
      const before = await engine.inspect(container);
      await cli.ok("restart", "-t", "1", container);
      const after = await engine.inspect(container);
      expect(numberAt(after, "State", "Pid")).not.toBe(numberAt(before, "State", "Pid"));
      expect(textAt(after, "State", "StartedAt") > textAt(before, "State", "StartedAt")).toBe(true);
      expect(at(after, "State", "Running")).toBe(true);
    });
  });

  describe(`pause with ${name}`, () => {
    test("stops the processes, unpause lets them go on", async () => {
      const container = uniqueName();
      const script = "while :; do echo tick; sleep 0.05; done";
      await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", script] }, container);
      await cli.ok("pause", container);
      expect(at(await engine.inspect(container), "State", "Status")).toBe("paused");
      const lines = (await cli.ok("logs", container)).split("\n").length;
      await Bun.sleep(300);
      expect((await cli.ok("logs", container)).split("\n").length).toBe(lines);
      expect(await cli.fails("pause", container)).toContain("is already paused");
      await cli.ok("unpause", container);
      await until(
        async () => (await cli.ok("logs", container)).split("\n").length > lines,
        "output to go on",
      );
      expect(await cli.fails("unpause", container)).toContain("is not paused");
    });

    test("a paused container can be stopped and removed by force", async () => {
      const container = await running();
      await cli.ok("pause", container);
      await cli.ok("rm", "-f", container);
      expect((await engine.api("GET", `/containers/${container}/json`)).status).toBe(404);
    });
  });
}

describe("states by API", () => {
  test("start of a running and stop of a stopped container are 304", async () => {
    const container = await running();
    expect((await engine.api("POST", `/containers/${container}/start`)).status).toBe(304);
    expect((await engine.api("POST", `/containers/${container}/stop`)).status).toBe(204);
    expect((await engine.api("POST", `/containers/${container}/stop`)).status).toBe(304);
  });

  test("ten starts at once: it runs once", async () => {
    const container = uniqueName();
    await engine.api("POST", `/containers/create?name=${container}`, {
      Image: "busybox",
      Cmd: ["sh", "-c", "echo started; sleep 60"],
    });
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => engine.api("POST", `/containers/${container}/start`)),
    );
    const statuses = answers.map((answer) => answer.status);
    expect(statuses.filter((status) => status === 204)).toHaveLength(1);
    expect(statuses.filter((status) => status === 304)).toHaveLength(9);
  });

  test("an out-of-memory kill is seen in inspect and in the events", async () => {
    const container = uniqueName();
    const sinceS = Math.floor(Date.now() / 1000) - 1;
    await engine.runDetached(
      {
        Image: "busybox",
        Cmd: ["sh", "-c", "tail /dev/zero"],
        HostConfig: { Memory: 16 * 1024 * 1024, MemorySwap: 16 * 1024 * 1024 },
      },
      container,
    );
    await engine.api("POST", `/containers/${container}/wait`);
    expect(at(await engine.inspect(container), "State", "OOMKilled")).toBe(true);
    const filters = encodeURIComponent(JSON.stringify({ container: [container], event: ["oom"] }));
    const untilS = Math.ceil(Date.now() / 1000) + 1;
    const events = await engine.api(
      "GET",
      `/events?since=${sinceS}&until=${untilS}&filters=${filters}`,
    );
    expect(events.text).toContain('"Action":"oom"');
  });

  test("top lists the processes", async () => {
    const container = await running({ Cmd: ["sleep", "77"] });
    const answer = await engine.api("GET", `/containers/${container}/top`);
    expect(at(answer.json, "Titles")).toContain("PID");
    expect(JSON.stringify(at(answer.json, "Processes"))).toContain("sleep 77");
    const chosen = await engine.api("GET", `/containers/${container}/top?ps_args=-o%20pid,args`);
    expect(at(chosen.json, "Titles")).toEqual(["PID", "COMMAND"]);
  });
});
