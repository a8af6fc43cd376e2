/** Terminals: `-t`, sizes, detaching, and what must not get one. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { at } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`terminals with ${name}`, () => {
    test("-it gives one, and the exit code comes through", async () => {
      const result = await cli.terminal([
        "run",
        "-it",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "tty; exit 6",
      ]);
      expect(result.stdout).toContain("/dev/pts/0");
      expect(result.exitCode).toBe(6);
    });

    test("a shell is typed at", async () => {
      await using child = cli.start(["run", "-it", "--rm", "busybox", "sh"], { tty: true });
      await child.prints("#");
      child.write("echo $((6*7)); exit 3\r");
      await child.prints("42");
      expect(await child.exited).toBe(3);
    });

    test("/dev/console is there with one, and not without", async () => {
      const shown = await cli.terminal(["run", "-it", "--rm", "busybox", "ls", "/dev/console"]);
      expect(shown.stdout).toContain("/dev/console");
      expect(shown.exitCode).toBe(0);
      expect((await cli.run(["run", "--rm", "busybox", "ls", "/dev/console"])).exitCode).toBe(1);
    });

    test("-t with -d keeps one, stdout and stderr in one stream", async () => {
      const container = uniqueName();
      const script = "test -t 1 && echo terminal; echo err >&2";
      await cli.ok("run", "-d", "-t", "--name", container, "busybox", "sh", "-c", script);
      await engine.api("POST", `/containers/${container}/wait`);
      const result = await cli.run(["logs", container]);
      expect(result.stdout).toBe("terminal\r\nerr\r\n");
    });

    test("-it without a terminal on stdin is refused in a sentence", async () => {
      const result = await cli.run(["run", "-it", "--rm", "busybox", "true"], { input: "" });
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain("the input device is not a TTY");
    });

    test("-i without -t writes no carriage returns", async () => {
      const result = await cli.run(["run", "-i", "--rm", "busybox", "sh", "-c", "seq 100"]);
      expect(result.stdout).not.toContain("\r");
    });

    test("it has the size of the client's, also when that changes", async () => {
      const args = ["run", "-it", "--rm", "busybox", "sh", "-c", "sleep 0.5; stty size"];
      const result = await cli.terminal(args, { before: "stty rows 31 cols 97" });
      expect(result.stdout).toContain("31 97");
    });

    test("Ctrl-C reaches the process in it", async () => {
      await using child = cli.start(
        [
          "run",
          "-it",
          "--rm",
          "busybox",
          "sh",
          "-c",
          "trap 'exit 9' INT; echo up; while :; do sleep 0.05; done",
        ],
        { tty: true },
      );
      await child.prints("up");
      child.write("\x03");
      expect(await child.exited).toBe(9);
    });

    test("detach keys leave it running, attach comes back", async () => {
      const container = uniqueName();
      await using child = cli.start(["run", "-it", "--name", container, "busybox", "sh"], {
        tty: true,
      });
      await child.prints("#");
      child.write("\x10\x11");
      await child.exited;
      expect(at(await engine.inspect(container), "State", "Running")).toBe(true);
      await using again = cli.start(["attach", container], { tty: true });
      await Bun.sleep(400);
      again.write("echo back; exit\r");
      await again.prints("back");
      await again.exited;
    });

    test("TERM is set in it", async () => {
      const result = await cli.terminal([
        "run",
        "-it",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "echo $TERM",
      ]);
      expect(result.stdout).toContain("xterm");
    });
  });
}
