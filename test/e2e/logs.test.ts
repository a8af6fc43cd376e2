/** `logs`: what containers have written, and write. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { readFrames } from "../support/http.ts";
import { textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

/** Runs a script to its end. */
async function ran(script: string): Promise<string> {
  const name = uniqueName();
  await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", script] }, name);
  await engine.api("POST", `/containers/${name}/wait`);
  return name;
}

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`logs with ${name}`, () => {
    test("gives stdout on stdout and stderr on stderr", async () => {
      const container = await ran("echo out; echo err >&2");
      const result = await cli.run(["logs", container]);
      expect(result.stdout).toBe("out\n");
      expect(result.stderr).toBe("err\n");
    });

    test("--tail counts lines from the end", async () => {
      const container = await ran("seq 10");
      expect(await cli.ok("logs", "--tail", "3", container)).toBe("8\n9\n10");
      expect(await cli.ok("logs", "-n", "0", container)).toBe("");
      expect((await cli.ok("logs", "--tail", "all", container)).split("\n")).toHaveLength(10);
      expect((await cli.ok("logs", "--tail", "99", container)).split("\n")).toHaveLength(10);
    });

    test("-t puts a time before each line", async () => {
      const container = await ran("echo x");
      expect(await cli.ok("logs", "-t", container)).toMatch(
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z x$/,
      );
    });

    test("--since and --until cut by time", async () => {
      const container = await ran("echo early; sleep 1.2; echo late");
      const lines = (await cli.ok("logs", "-t", container)).split("\n");
      const [, second = ""] = lines.map((line) => line.split(" ")[0] ?? "");
      const middle = new Date(Date.parse(second) - 500).toISOString();
      expect(await cli.ok("logs", "--since", middle, container)).toBe("late");
      expect(await cli.ok("logs", "--until", middle, container)).toBe("early");
      expect(await cli.ok("logs", "--since", "10m", container)).toBe("early\nlate");
    });

    test("-f follows to the end of the container", async () => {
      const container = uniqueName();
      const script = "for i in 1 2 3 4; do echo line $i; sleep 0.1; done";
      await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", script] }, container);
      expect(await cli.ok("logs", "-f", container)).toBe("line 1\nline 2\nline 3\nline 4");
    });

    test("works by a prefix of the ID", async () => {
      const container = await ran("echo found");
      const id = textAt(await engine.inspect(container), "Id");
      expect(await cli.ok("logs", id.slice(0, 10))).toBe("found");
    });

    test("keeps a line without an end, and empty lines", async () => {
      const container = await ran("echo; echo a; echo; printf 'no end'");
      expect((await cli.run(["logs", container])).stdout).toBe("\na\n\nno end");
    });

    test("keeps lines longer than any buffer", async () => {
      const container = await ran("head -c 100000 /dev/zero | tr '\\0' x; echo");
      const said = (await cli.run(["logs", container])).stdout;
      expect(said).toBe(`${"x".repeat(100_000)}\n`);
    });

    test("keeps what is there after a restart", async () => {
      const container = await ran("echo again");
      await cli.ok("start", container);
      await engine.api("POST", `/containers/${container}/wait`);
      expect(await cli.ok("logs", container)).toBe("again\nagain");
    });

    test("of an unknown container fails", async () => {
      expect(await cli.fails("logs", "no-such")).toContain("No such container: no-such");
    });
  });
}

describe("logs by API", () => {
  test("frames tell the stream", async () => {
    const container = await ran("echo out; sleep 0.1; echo err >&2");
    const answer = await engine.api("GET", `/containers/${container}/logs?stdout=1&stderr=1`);
    expect(readFrames(answer.bytes)).toEqual([
      { stream: "stdout", text: "out\n" },
      { stream: "stderr", text: "err\n" },
    ]);
    const onlyErr = await engine.api("GET", `/containers/${container}/logs?stderr=1`);
    expect(readFrames(onlyErr.bytes)).toEqual([{ stream: "stderr", text: "err\n" }]);
  });

  test("without a stream is refused", async () => {
    const container = await ran("true");
    const answer = await engine.api("GET", `/containers/${container}/logs`);
    expect(answer.status).toBe(400);
    expect(answer.message).toBe("Bad parameters: you must choose at least one stream");
  });

  test("a follower sees lines while they are written", async () => {
    const container = uniqueName();
    await engine.runDetached(
      { Image: "busybox", Cmd: ["sh", "-c", "echo one; sleep 30"] },
      container,
    );
    const stop = new AbortController();
    const path = `/containers/${container}/logs?stdout=1&follow=1`;
    const response = await engine.open("GET", path, undefined, { signal: stop.signal });
    const reader = response.body?.getReader();
    const first = await reader?.read();
    expect(readFrames(first?.value ?? new Uint8Array())).toEqual([
      { stream: "stdout", text: "one\n" },
    ]);
    stop.abort();
  });

  test("a terminal's log is not framed", async () => {
    const container = uniqueName();
    await engine.runDetached({ Image: "busybox", Cmd: ["echo", "tty"], Tty: true }, container);
    await engine.api("POST", `/containers/${container}/wait`);
    const answer = await engine.api("GET", `/containers/${container}/logs?stdout=1`);
    expect(answer.text).toBe("tty\r\n");
  });

  test("json-file rotates: old files are dropped, the newest lines stay", async () => {
    const container = uniqueName();
    await engine.runDetached(
      {
        Image: "busybox",
        Cmd: ["sh", "-c", "seq 1 3000"],
        HostConfig: {
          LogConfig: { Type: "json-file", Config: { "max-size": "50k", "max-file": "2" } },
        },
      },
      container,
    );
    await engine.api("POST", `/containers/${container}/wait`);
    await until(async () => {
      const answer = await engine.api("GET", `/containers/${container}/logs?stdout=1&tail=1`);
      return readFrames(answer.bytes)[0]?.text === "3000\n";
    }, "the last line");
    const all = await engine.api("GET", `/containers/${container}/logs?stdout=1`);
    const lines = readFrames(all.bytes).map((frame) => frame.text.trim());
    expect(lines.length).toBeLessThan(3000);
    expect(lines.length).toBeGreaterThan(500);
    expect(lines.at(-1)).toBe("3000");
  });

  test("driver none has nothing to read and says so", async () => {
    const container = uniqueName();
    await engine.runDetached(
      { Image: "busybox", Cmd: ["true"], HostConfig: { LogConfig: { Type: "none" } } },
      container,
    );
    const answer = await engine.api("GET", `/containers/${container}/logs?stdout=1`);
    expect(answer.status).toBe(501);
    expect(answer.message).toContain("configured logging driver does not support reading");
  });

  test("an unknown driver and unknown options are refused at create", async () => {
    for (const LogConfig of [
      { Type: "no-such-driver" },
      { Type: "json-file", Config: { "no-such-option": "1" } },
    ]) {
      const answer = await engine.api("POST", "/containers/create", {
        Image: "busybox",
        HostConfig: { LogConfig },
      });
      expect(answer.status).toBe(400);
    }
  });
});
