/** `attach`: joining a container's streams, by CLI, by hijack and by websocket. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { type Engine, uniqueName } from "../support/engine.ts";
import { readFrames } from "../support/http.ts";
import { at } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

/** Starts a container whose stdin is open. */
async function catching(
  under: Engine,
  config: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const container = uniqueName();
  await under.runDetached(
    { Image: "busybox", Cmd: ["cat"], OpenStdin: true, StdinOnce: true, ...config },
    container,
  );
  return container;
}

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`attach with ${name}`, () => {
    test("passes stdin and output, and ends with the container's exit code", async () => {
      const container = await catching(engine, {
        Cmd: ["sh", "-c", "read x; echo got $x; exit 5"],
      });
      const result = await cli.run(["attach", container], { input: "word\n" });
      expect(result.stdout).toBe("got word\n");
      expect(result.exitCode).toBe(5);
    });

    test("--no-stdin only listens", async () => {
      const container = uniqueName();
      await engine.runDetached(
        { Image: "busybox", Cmd: ["sh", "-c", "while :; do echo tick; sleep 0.1; done"] },
        container,
      );
      await using child = cli.start(["attach", "--no-stdin", "--sig-proxy=false", container]);
      await child.prints("tick\ntick\n");
      expect(at(await engine.inspect(container), "State", "Running")).toBe(true);
    });

    test("detach keys leave the container running", async () => {
      const container = await catching(engine, { Tty: true });
      await using child = cli.start(["attach", container], { tty: true });
      await Bun.sleep(500);
      child.write("hello\r");
      await child.prints("hello");
      child.write("\x10");
      await Bun.sleep(50);
      child.write("\x11");
      expect(await child.exited).toBeDefined();
      expect(at(await engine.inspect(container), "State", "Running")).toBe(true);
    });

    test("other detach keys can be chosen", async () => {
      const container = await catching(engine, { Tty: true });
      const args = ["attach", "--detach-keys", "ctrl-x", container];
      await using child = cli.start(args, { tty: true });
      await Bun.sleep(500);
      child.write("\x18");
      expect(await child.exited).toBeDefined();
      expect(at(await engine.inspect(container), "State", "Running")).toBe(true);
    });

    test("to a stopped, a paused and an unknown container is refused", async () => {
      const container = await catching(engine);
      await engine.api("POST", `/containers/${container}/pause`);
      expect(await cli.fails("attach", container)).toMatch(/paused/);
      await engine.api("POST", `/containers/${container}/unpause`);
      await engine.api("POST", `/containers/${container}/kill`);
      await engine.api("POST", `/containers/${container}/wait`);
      expect(await cli.fails("attach", container)).toMatch(/stopped container/);
      expect(await cli.fails("attach", "no-such")).toContain("No such container: no-such");
    });
  });
}

const hijackHead = (path: string, upgrade: boolean): string =>
  `POST /v1.51${path} HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n` +
  `${upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : ""}\r\n`;

describe("attach by API", () => {
  const query = "attach?stream=1&stdin=1&stdout=1&stderr=1";

  for (const upgrade of [true, false]) {
    test(`hijacks ${upgrade ? "with" : "without"} Upgrade, and half-closes`, async () => {
      const container = await catching(engine);
      using raw = await engine.raw();
      raw.send(hijackHead(`/containers/${container}/${query}`, upgrade));
      await until(() => raw.received.includes("\r\n\r\n"), "the answer's head");
      const head = raw.received.toString("latin1").split("\r\n")[0];
      expect(head).toBe(upgrade ? "HTTP/1.1 101 UPGRADED" : "HTTP/1.1 200 OK");
      raw.send("through\n");
      raw.socket.end();
      await raw.ended;
      const body = raw.received.subarray(raw.received.indexOf("\r\n\r\n") + 4);
      expect(readFrames(body)).toEqual([{ stream: "stdout", text: "through\n" }]);
    });
  }

  test("logs=1 gives what was written before", async () => {
    const container = await catching(engine, { Cmd: ["sh", "-c", "echo before; cat"] });
    await until(async () => {
      const logs = await engine.api("GET", `/containers/${container}/logs?stdout=1`);
      return logs.text.includes("before");
    }, "the first line");
    using raw = await engine.raw();
    raw.send(hijackHead(`/containers/${container}/attach?logs=1&stdout=1`, true));
    await raw.ended;
    expect(raw.received.toString()).toContain("before\n");
  });

  test("several listen to one container, and a slow one loses nothing", async () => {
    const container = uniqueName();
    const script = "read go; head -c 3000000 /dev/zero | tr '\\0' y; echo; echo done";
    await engine.runDetached(
      { Image: "busybox", Cmd: ["sh", "-c", script], OpenStdin: true },
      container,
    );
    using slow = await engine.raw();
    slow.send(hijackHead(`/containers/${container}/attach?stream=1&stdout=1`, true));
    await until(() => slow.received.length > 0, "the slow one to be attached");
    using quick = await engine.raw();
    quick.send(hijackHead(`/containers/${container}/${query}`, true));
    await until(() => quick.received.length > 0, "the quick one to be attached");
    slow.socket.pause();
    quick.send("go\n");
    await until(() => quick.received.length > 100_000, "output for the quick one");
    await Bun.sleep(500);
    slow.socket.resume();
    for (const each of [slow, quick]) {
      await until(() => each.received.subarray(-20).includes("done\n"), "all output", 20_000);
      expect(each.received.length).toBeGreaterThan(3_000_000);
    }
  });

  test("a websocket carries both directions", async () => {
    const container = await catching(engine);
    using raw = await engine.raw();
    raw.send(
      `GET /v1.51/containers/${container}/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n` +
        "Host: engine\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://engine\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await until(() => raw.received.includes("\r\n\r\n"), "the answer's head");
    expect(raw.received.toString("latin1")).toContain("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const text = Buffer.from("over ws\n");
    const mask = Buffer.from([1, 2, 3, 4]);
    const masked = text.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
    raw.send(Buffer.concat([Buffer.from([0x82, 0x80 | text.length]), mask, masked]));
    await until(() => raw.received.includes("over ws\n"), "the echo");
  });

  test("resize changes the terminal", async () => {
    const container = uniqueName();
    await engine.runDetached(
      {
        Image: "busybox",
        Cmd: ["sh", "-c", "trap 'stty size; exit' WINCH; while :; do sleep 0.05; done"],
        Tty: true,
      },
      container,
    );
    await Bun.sleep(300);
    const answer = await engine.api("POST", `/containers/${container}/resize?h=33&w=77`);
    expect(answer.status).toBe(200);
    await engine.api("POST", `/containers/${container}/wait`);
    const logs = await engine.api("GET", `/containers/${container}/logs?stdout=1`);
    expect(logs.text).toContain("33 77");
  });
});
