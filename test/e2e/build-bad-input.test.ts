/** Builds of what nobody should build, by clients that do not behave. */
import assert from "node:assert/strict";
import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, uniqueName } from "../support/engine.ts";
import { at, listAt, parseLines, textAt } from "../support/json.ts";
import { readdirOptional } from "../support/leaks.ts";
import { loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { run, until } from "../support/process.ts";
import { tar, type TarEntry } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const tug = engine.client("tug");
const daemon = engine.daemon ?? assert.fail("these tests look into a daemon of their own");
const mebibyte = 1024 * 1024;

interface Answered {
  readonly status: number;
  readonly text: string;
  readonly error: string;
  readonly id: string;
}

/** `POST /build` of a tar. */
async function build(
  entries: string | readonly TarEntry[],
  options: {
    readonly on?: Engine;
    readonly query?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<Answered> {
  const files = typeof entries === "string" ? [{ name: "Dockerfile", content: entries }] : entries;
  const query = new URLSearchParams(options.query ?? {});
  const answer = await (options.on ?? engine).api("POST", `/build?${query}`, tar(files), {
    headers: { "Content-Type": "application/x-tar" },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (answer.status !== 200) {
    return { status: answer.status, text: "", error: answer.message, id: "" };
  }
  const messages = parseLines(answer.text);
  const failed = messages.find((message) => at(message, "error") !== undefined);
  return {
    status: answer.status,
    text: messages.map((message) => String(at(message, "stream") ?? "")).join(""),
    error: failed === undefined ? "" : textAt(failed, "error"),
    id: String(messages.map((message) => at(message, "aux", "ID")).findLast(Boolean) ?? ""),
  };
}

function context(files: Readonly<Record<string, string>>, on: Engine = engine): string {
  const folder = join(on.folder, uniqueName("bad"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** Whether a process with this argument runs anywhere. */
function isRunning(argument: string): boolean {
  return readdirSync("/proc").some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(argument);
    } catch (error) {
      if (error instanceof Error) return false;
      throw error;
    }
  });
}

/** Nothing of a build is on the machine. */
async function expectNothingLeft(of: TestDaemon): Promise<void> {
  await until(
    () => readdirSync(join(of.execRoot, "builds")).length === 0,
    () => `bundles to go: ${readdirSync(join(of.execRoot, "builds")).join()}`,
  );
  expect(await of.leaks()).toEqual([]);
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  expect(mounts).not.toContain(`${of.execRoot}/builds/`);
}

describe("a Dockerfile", () => {
  test("of 10 MB is built, or refused with the line that is too long", async () => {
    const comment = `${"# nothing to see here ".repeat(20)}\n`;
    const comments = comment.repeat(Math.ceil((10 * mebibyte) / comment.length));
    const good = await build(`FROM busybox\n${comments}ENV A=b\n`);
    expect(good.error).toBe("");
    const line = await build(`FROM busybox\nRUN : ${"x".repeat(10 * mebibyte)}\n`);
    expect(line).toMatchObject({ status: 400 });
    expect(line.error).toMatch(/line 2.*65535|65535.*line 2|dockerfile line greater than/i);
    const heredoc = await build(
      `FROM busybox\nCOPY <<E /f\n${`${"y".repeat(1000)}\n`.repeat(10_000)}E\n`,
    );
    expect(heredoc.error).toBe("");
    const many = await build(`FROM busybox\n${"ENV A=b\n".repeat(500_000)}`);
    expect(many).toMatchObject({ status: 400 });
    expect(many.error).toContain("instructions");
    const large = await build(`FROM busybox\n${comments}${comments}`);
    expect(large.status).not.toBe(200);
  }, 60_000);

  // Messages are those of Docker 28.5, but for `${B`.
  test.each([
    [
      'ENV A="b',
      'failed to process "\\"b": unexpected end of statement while looking for matching double-quote',
    ],
    ["LABEL a='b c", "unexpected end of statement while looking for matching single-quote"],
    ['WORKDIR "/a', 'failed to process "\\"/a": unexpected end of statement'],
    ['EXPOSE "80', "unexpected end of statement while looking for matching double-quote"],
    ["COPY <<E /x\nabc", "unterminated heredoc"],
    ["RUN <<A <<B\nx\nA", "unterminated heredoc"],
    ["ENV A=${B", "failed to process"],
  ])("with %j, unclosed, is refused", async (line, message) => {
    const { status, error } = await build(`FROM busybox\n${line}\n`);
    expect({ status, error }).toEqual({ status: 400, error: expect.stringContaining(message) });
  });

  test('with RUN ["a" runs it as a command, as Docker does', async () => {
    const { error } = await build('FROM busybox\nRUN ["a"\n');
    expect(error).toContain("returned a non-zero code");
  });

  test.each([
    ["FROM busybox AS a\nCOPY --from=b /x /\nFROM busybox AS b\nCOPY --from=a /x /\n"],
    ["FROM busybox AS a\nCOPY --from=a /x /\n"],
    ["FROM busybox AS a\nRUN --mount=type=bind,from=b,target=/b :\nFROM a AS b\n"],
  ])("whose stages stand on each other is refused: %j", async (text) => {
    const { status, error } = await build(text);
    expect({ status, error }).toEqual({
      status: 400,
      error: expect.stringContaining("circular dependency detected on stage: "),
    });
  });

  test("is no circle where a name is taken before its stage", async () => {
    // FROM looks back only: `b` is an image here.
    const { error } = await build("FROM nowhere.invalid/b AS a\nFROM a AS b\n");
    expect(error).toContain("nowhere.invalid/b");
  });
});

describe("a path that leads out", () => {
  const outside = join(engine.folder, uniqueName("outside"));
  mkdirSync(outside, { recursive: true });
  writeFileSync(join(outside, "secret"), "of the host");

  test.each(["../../outside", "/..", "../../../../../../etc", ".."])(
    "of a bind mount shows the context at most: %s",
    async (source) => {
      const { error, text } = await build([
        {
          name: "Dockerfile",
          content: `FROM busybox\nRUN --mount=type=bind,source=${source},target=/x ls -A /x; echo ${uniqueName()}\n`,
        },
        { name: "mine", content: "x" },
      ]);
      if (error !== "") expect(error).toMatch(/not found/);
      expect(text).not.toMatch(/passwd|secret|shadow/);
    },
  );

  test.each([
    ["COPY link /x", outside],
    ["COPY link/secret /x", outside],
    ["COPY link /x", "/etc/passwd"],
    ["COPY sub/up /x", "../../../../../../../etc/passwd"],
    ["ADD link /x", "/proc/self/environ"],
    ["COPY --parents ./link/secret /x", outside],
  ])("of a context's symlink finds nothing of the host: %s → %s", async (line, target) => {
    const folder = context({
      Dockerfile: `FROM busybox\n${line}\nRUN cat -R /x 2>/dev/null; true\n`,
    });
    mkdirSync(join(folder, "sub"));
    symlinkSync(target, join(folder, "link"));
    symlinkSync(target, join(folder, "sub/up"));
    const name = uniqueName();
    const result = await tug.run(["build", "-t", name, folder]);
    if (result.exitCode === 0) {
      const seen = await tug.ok("run", "--rm", name, "sh", "-c", "cat /x /x/* 2>/dev/null; true");
      expect(seen).not.toMatch(/of the host|root:|PATH=/);
    } else expect(result.stderr).toMatch(/not found/);
  });

  test.each(["/out/secret", "/out", "/deep/secret"])(
    "of a stage's symlink finds nothing of the host: %s",
    async (path) => {
      const { error, id } = await build(
        `FROM busybox AS a\nRUN ln -s ${outside} /out; ln -s ../../../../../../..${outside} /deep\n` +
          `FROM busybox\nCOPY --from=a ${path} /x\n`,
      );
      if (error !== "") {
        expect(error).toMatch(/no such file or directory/);
        return;
      }
      const seen = await tug.ok("run", "--rm", id, "sh", "-c", "cat /x /x/* 2>/dev/null; true");
      expect(seen).not.toContain("of the host");
    },
  );
});

describe("a context's tar with hostile entries", () => {
  const target = join(engine.folder, uniqueName("victim"));
  mkdirSync(target, { recursive: true });
  const dockerfile = { name: "Dockerfile", content: "FROM busybox\nCOPY . /c\n" };

  test.each<[string, readonly TarEntry[]]>([
    ["a name that climbs", [{ name: `../../../../../../../..${target}/f`, content: "x" }]],
    ["an absolute name", [{ name: `${target}/f`, content: "x" }]],
    [
      "a file through a link",
      [
        { name: "l", type: "symlink", link: target },
        { name: "l/f", content: "x" },
      ],
    ],
    [
      "a file through a chain of links",
      [
        { name: "a", type: "symlink", link: "b/../../../../../../../.." },
        { name: "b", type: "directory" },
        { name: `a${target}/f`, content: "x" },
      ],
    ],
    ["a hard link to the host", [{ name: "h", type: "hardlink", link: "/etc/shadow" }]],
    [
      "a hard link through a link",
      [
        { name: "e", type: "symlink", link: "/etc" },
        { name: "h", type: "hardlink", link: "e/shadow" },
      ],
    ],
    [
      "a link in the Dockerfile's place",
      [{ name: "Dockerfile", type: "symlink", link: "/etc/shadow" }],
    ],
    [
      "a link in the ignore file's place",
      [{ name: ".dockerignore", type: "symlink", link: "/etc/shadow" }],
    ],
    ["a device", [{ name: "sda", type: "block", device: [8, 0] }]],
    ["a size beyond the archive", [{ name: "big", content: "x", sizeBytes: 1e10 }]],
    ["no end of folders", [{ name: `${"d/".repeat(45)}f`, content: "x" }]],
    ["a NUL and a newline", [{ name: "a\nb", content: "x" }]],
    [
      "a whiteout",
      [
        { name: ".wh..wh..opq", content: "" },
        { name: ".wh.Dockerfile", content: "" },
      ],
    ],
  ])("does no harm: %s", async (_, entries) => {
    const { error, id } = await build([dockerfile, ...entries]);
    expect(readdirSync(target)).toEqual([]);
    if (id === "") {
      expect(error).not.toMatch(/internal|undefined|TypeError/);
      return;
    }
    const seen = await tug.ok(
      "run",
      ...["--rm", id, "sh", "-c", "cat /c/* 2>/dev/null | head -c 4096; true"],
    );
    expect(seen).not.toContain("root:");
  });

  test("leaves no folder behind", () => {
    expect(readdirSync(join(daemon.dataRoot, "build/received"))).toEqual([]);
  });
});

/** Files below a folder that hold a text, whatever they are. */
async function filesWith(text: string, folder: string): Promise<readonly string[]> {
  const result = await run(["grep", "-rlaF", "--devices=skip", "--", text, folder], {
    timeoutMs: 60_000,
  });
  return result.stdout.split("\n").filter((line) => line !== "");
}

describe("a secret", () => {
  test("that is missing is told by name, when it is required", async () => {
    const result = await tug.run([
      "build",
      context({
        Dockerfile: "FROM busybox\nRUN --mount=type=secret,id=tok,required cat /run/secrets/tok\n",
      }),
    ]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("secret tok: not found");
    await tug.ok(
      "build",
      "-q",
      context({
        Dockerfile: `FROM busybox\nRUN --mount=type=secret,id=tok test ! -e /run/secrets/tok && echo ${uniqueName()}\n`,
      }),
    );
  });

  test("is in no history, log, key, layer, database or argument, also when the step fails", async () => {
    const value = `hunter2-${uniqueName("secret")}`;
    const marker = uniqueName("57");
    const step = (end: string): string =>
      "RUN --mount=type=secret,id=s --mount=type=secret,id=s,env=S,target=/other " +
      `test -s /run/secrets/s && test -n "$S" && sleep 1.${marker.replace(/\D/g, "")}${end}\n`;
    const folder = context({
      Dockerfile: `FROM busybox\n${step("")}COPY ok /ok\n`,
      "bad/Dockerfile": `FROM busybox\n${step(" && false")}`,
      ok: "ok",
      value,
    });
    writeFileSync(join(folder, ".dockerignore"), "value\n");
    const name = uniqueName();
    const args = ["build", "--secret", `id=s,src=${join(folder, "value")}`, "--explain", "--steps"];
    const building = tug.run([...args, "-t", name, folder]);
    await until(() => isRunning(`1.${marker.replace(/\D/g, "")}`), "the step to run");
    expect(isRunning(value)).toBe(false);
    const good = await building;
    expect(good.exitCode).toBe(0);
    const bad = await tug.run([...args, "--debug-on-fail", join(folder, "bad")]);
    expect(bad.exitCode).toBe(1);
    const [history, inspected] = await Promise.all([
      tug.ok("history", "--no-trunc", name),
      tug.ok("image", "inspect", name),
    ]);
    for (const text of [good.stdout, good.stderr, bad.stderr, history, inspected, daemon.log()]) {
      expect(text).not.toContain(value);
    }
    expect(await filesWith(value, daemon.dataRoot)).toEqual([]);
    expect(await filesWith(value, daemon.execRoot)).toEqual([]);
    // Another value is the same step: it is not in the key either.
    writeFileSync(join(folder, "value"), "another");
    const again = await tug.run([...args, folder]);
    expect(again.stderr).toMatch(/RUN --mount=type=secret.* HIT /);
  }, 60_000);
});

describe("a command that takes all", () => {
  test("output without end is clipped, and canceled", async () => {
    const before = memoryOf(daemon.pid);
    const gone = new AbortController();
    const building = build("FROM busybox\nRUN while :; do echo 77-endless; done\n", {
      signal: gone.signal,
    });
    building.catch(() => undefined);
    await until(() => isRunning("echo 77-endless"), "the step to run");
    await Bun.sleep(2000);
    expect(memoryOf(daemon.pid) - before).toBeLessThan(300 * mebibyte);
    gone.abort();
    await until(() => !isRunning("echo 77-endless"), "the step to be killed");
    await expectNothingLeft(daemon);
  }, 30_000);

  test("forks without end stay within their bound, and go with their step", async () => {
    const bound = await build(
      "FROM busybox\nRUN cat /sys/fs/cgroup/pids.max || cat /sys/fs/cgroup/pids/pids.max\n",
    );
    expect(bound.text).toMatch(/8192$/m);
    const ulimits = JSON.stringify([{ Name: "nproc", Soft: 100, Hard: 100 }]);
    const gone = new AbortController();
    const bomb =
      "FROM busybox\nUSER 61234\n" +
      "RUN echo 'sleep 61234 & sh /tmp/b & sh /tmp/b' > /tmp/b; sh /tmp/b; sleep 61234\n";
    const building = build(bomb, { query: { ulimits }, signal: gone.signal });
    building.catch(() => undefined);
    await until(() => isRunning("sleep\u000061234"), "the bomb to go off");
    await Bun.sleep(500);
    expect((await engine.api("GET", "/_ping")).status).toBe(200);
    gone.abort();
    await until(() => !isRunning("61234"), "all of it to be killed");
    await expectNothingLeft(daemon);
  }, 30_000);

  test("processes that it leaves behind end with it", async () => {
    const { error } = await build(
      `FROM busybox\nRUN (setsid sleep 61235 &) ; (trap '' TERM HUP; sleep 61235 &); echo ${uniqueName()}\n`,
    );
    expect(error).toBe("");
    expect(isRunning("sleep\u000061235")).toBe(false);
  });

  const lack = loopDiskLack();
  if (lack !== undefined) console.warn(`skipped: ${lack}`);
  test.skipIf(lack !== undefined)(
    "a full disk is told, given back, and builds go on",
    async () => {
      await using disk = await makeLoopDisk(96 * mebibyte);
      await using own = await startDaemon({ dataRoot: join(disk.path, "data") });
      await own.engine.ensureImages("busybox");
      const free = async (): Promise<number> =>
        Number((await run(["df", "--output=avail", "-B1", disk.path])).stdout.split("\n")[1]);
      const before = await free();
      const full = await build("FROM busybox\nRUN cat /dev/zero > /fill\n", { on: own.engine });
      expect(full.error).toMatch(/no space left|non-zero code: 1/i);
      expect(full.text).toContain("No space left on device");
      const large = await build(
        [
          { name: "Dockerfile", content: "FROM busybox\nCOPY f /f\n" },
          { name: "f", content: Buffer.alloc(60 * mebibyte, "x") },
        ],
        { on: own.engine },
      );
      expect(`${large.status} ${large.error}`).toMatch(/no space left/i);
      await until(async () => (await free()) > before - 4 * mebibyte, "the space to be given back");
      const good = await build("FROM busybox\nRUN echo fine > /f\n", { on: own.engine });
      expect(good.error).toBe("");
      await expectNothingLeft(own);
      await own.stop();
    },
    60_000,
  );
});

function memoryOf(pid: number): number {
  const [, kibibytes = "0"] =
    /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kibibytes) * 1024;
}

describe("a client that vanishes", () => {
  const text = (salt: string): string =>
    "FROM busybox AS a\n" +
    `RUN echo ${salt}; sleep 0.2\nCOPY large /l\n` +
    "FROM busybox\nCOPY --from=a /l /l\nRUN sleep 0.2\nRUN cat /l > /l2\n";

  test("at any moment leaves nothing, and the next build is whole", async () => {
    await using own = await startDaemon();
    await own.engine.ensureImages("busybox");
    const client = own.engine.client("tug");
    const large = "0123456789abcdef".repeat(mebibyte / 4);
    for (let round = 0; round < 10; round += 1) {
      const salt = uniqueName();
      const folder = context({ Dockerfile: text(salt), large: `${salt}${large}` }, own.engine);
      const child = client.start(["build", "-t", `vanished-${round}`, folder]);
      await Bun.sleep(20 + round * 110);
      child.kill("SIGKILL");
      await child.exited;
      await until(() => !isRunning(salt), "its steps to be killed");
    }
    await expectNothingLeft(own);
    const folder = context({ Dockerfile: text("last"), large }, own.engine);
    await client.ok("build", "-t", "whole", folder);
    const size = await client.ok("run", "--rm", "whole", "wc", "-c", "/l2");
    expect(size).toBe(`${large.length} /l2`);
    const active = readdirSync(join(own.dataRoot, "snapshots"));
    await own.engine.api("POST", "/build/prune?all=1");
    expect(active.length).toBeLessThan(60);
  }, 90_000);

  test("of two that build the same does not take the other's step along", async () => {
    const salt = uniqueName();
    const step = `sleep 1; echo ${salt} ran >> /runs/${salt}; cat /runs/${salt}`;
    const dockerfile = `FROM busybox\nRUN --mount=type=cache,target=/runs ${step}\n`;
    const folder = context({ Dockerfile: dockerfile });
    const [first, second] = [0, 1].map(() => tug.start(["build", "--progress=plain", folder]));
    if (first === undefined || second === undefined) return;
    await until(() => isRunning(salt), "the step to run");
    await Bun.sleep(300);
    first.kill("SIGKILL");
    expect(await second.exited).toBe(0);
    // Once, however many wanted it.
    expect(second.stderr.match(new RegExp(`^#\\d+ [\\d.]+ ${salt} ran$`, "gm"))).toHaveLength(1);
    await expectNothingLeft(daemon);
  }, 30_000);

  test("in the middle of sending its tar is no build", async () => {
    const received = join(daemon.dataRoot, "build/received");
    const connection = await engine.raw();
    connection.send(
      "POST /v1.51/build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n" +
        `Transfer-Encoding: chunked\r\n\r\n200\r\n${"x".repeat(512)}\r\n`,
    );
    await until(() => readdirOptional(received).length > 0, "the context to begin");
    connection[Symbol.dispose]();
    await until(() => readdirOptional(received).length === 0, "what came of it to go");
  });
});

test("images of builds that failed are listed nowhere", async () => {
  const { json } = await engine.api("GET", "/images/json");
  for (const image of listAt(json)) {
    for (const name of listAt(image, "RepoTags")) expect(String(name)).not.toStartWith("vanished");
  }
  expect(existsSync("/tmp/tug-build-escape")).toBe(false);
  expect(statSync("/etc/shadow").nlink).toBe(1);
});
