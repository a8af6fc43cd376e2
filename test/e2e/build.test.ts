/** Builds by `POST /build`, as clients of the classic builder use it. */
import assert from "node:assert/strict";
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { startDaemon } from "../support/daemon.ts";
import { type Engine, imageId, uniqueName } from "../support/engine.ts";
import { at, listAt, parseLines, textAt } from "../support/json.ts";
import { loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { tar, type TarEntry } from "../support/tar.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

interface Built {
  readonly status: number;
  /** All that `stream` messages say. */
  readonly text: string;
  readonly error: string;
  readonly code: unknown;
  readonly id: string;
}

async function build(
  dockerfile: string,
  options: {
    readonly on?: Engine;
    readonly files?: readonly TarEntry[];
    readonly query?: Readonly<Record<string, string>>;
    readonly body?: Uint8Array;
    readonly signal?: AbortSignal;
  } = {},
): Promise<Built> {
  const on = options.on ?? engine;
  const query = new URLSearchParams(options.query ?? {});
  const files = [{ name: "Dockerfile", content: dockerfile }, ...(options.files ?? [])];
  const answer = await on.api("POST", `/build?${query}`, options.body ?? tar(files), {
    headers: { "Content-Type": "application/x-tar" },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (answer.status !== 200) {
    return { status: answer.status, text: "", error: answer.message, code: undefined, id: "" };
  }
  const messages = parseLines(answer.text);
  const failed = messages.find((message) => at(message, "error") !== undefined);
  const ids = messages.map((message) => at(message, "aux", "ID")).filter((id) => id !== undefined);
  return {
    status: answer.status,
    text: messages.map((message) => String(at(message, "stream") ?? "")).join(""),
    error: failed === undefined ? "" : textAt(failed, "error"),
    code: failed === undefined ? undefined : at(failed, "errorDetail", "code"),
    id: String(ids.at(-1) ?? ""),
  };
}

async function ok(...call: Parameters<typeof build>): Promise<Built> {
  const built = await build(...call);
  assert.equal(built.error, "", built.text);
  assert.equal(built.status, 200);
  return built;
}

/** What a command prints in an image. */
async function inImage(id: string, command: string): Promise<string> {
  const client = engine.client("tug");
  return await client.ok("run", "--rm", "--entrypoint", "/bin/sh", id, "-c", command);
}

describe("POST /build", () => {
  test("leaves no image that cannot be removed, however its stages use each other", async () => {
    const name = uniqueName("stages");
    const listed = async (): Promise<readonly unknown[]> =>
      listAt((await engine.api("GET", "/images/json?all=1")).json).map((image) => at(image, "Id"));
    const before = new Set(await listed());
    const file = [
      `FROM busybox AS one\nENV A=${name}\nRUN echo 1 >/1`,
      "FROM busybox AS two\nRUN echo 2 >/2",
      "FROM one\nCOPY --from=two /2 /2\nRUN cat /1 /2\n",
    ].join("\n");
    const { id } = await ok(file, { query: { t: name } });
    const parentOf = async (image: string): Promise<string> =>
      String(at((await engine.api("GET", `/images/${image}/json`)).json, "Parent") ?? "");
    const chain: string[] = [];
    for (let at = id; at !== "" && chain.length < 20; at = await parentOf(at)) chain.push(at);
    // Two instructions of its own, two of the stage it begins with.
    expect(chain).toHaveLength(4);
    expect((await engine.api("DELETE", `/images/${name}`)).status).toBe(200);
    const filters = encodeURIComponent(JSON.stringify({ dangling: ["true"] }));
    await engine.api("POST", `/images/prune?filters=${filters}`);
    expect((await listed()).filter((one) => !before.has(one))).toEqual([]);
  });

  test("tells steps, IDs and tags as the classic builder does", async () => {
    const name = uniqueName("built");
    const stamp = uniqueName("stamp");
    const { text, id } = await ok(`FROM busybox\nRUN echo ${stamp}; echo bad >&2\nCMD ["x"]\n`, {
      query: { t: name },
    });
    const short = id.slice(7, 19);
    expect(text).toMatch(/^Step 1\/3 : FROM busybox\n ---> [0-9a-f]{12}\nStep 2\/3 : RUN echo/);
    expect(text).toMatch(/ ---> Running in [0-9a-f]{12}\n/);
    expect(text).toContain(`${stamp}\n`);
    expect(text).toContain("\u001b[91mbad\n\u001b[0m");
    expect(text).toMatch(/ ---> Removed intermediate container [0-9a-f]{12}\n/);
    expect(text).toContain(`Step 3/3 : CMD ["x"]\n ---> ${short}\n`);
    expect(text).toEndWith(`Successfully built ${short}\nSuccessfully tagged ${name}:latest\n`);
    expect(await imageId(engine, name)).toBe(id);
    const again = await ok(`FROM busybox\nRUN echo ${stamp}; echo bad >&2\nCMD ["x"]\n`);
    expect(again.text).toContain(" ---> Using cache\n");
    expect(again.id).toBe(id);
  });

  test("q says the ID and nothing else", async () => {
    const { text, id } = await build("FROM busybox\nENV A=b\n", { query: { q: "1" } });
    expect(text).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(id).toBe("");
  });

  test("a failing command ends the build with its exit code", async () => {
    const { text, error, code } = await build(
      "FROM busybox\nRUN echo last words; exit 7\nRUN never\n",
    );
    expect(error).toBe(
      "The command '/bin/sh -c echo last words; exit 7' returned a non-zero code: 7",
    );
    expect(code).toBe(7);
    expect(text).toContain("last words\n");
    expect(text).not.toContain("never");
  });

  test.each([
    ["FROM busybox\nFOO x\n", "dockerfile parse error on line 2: unknown instruction: FOO"],
    ["", "the Dockerfile cannot be empty|file with no instructions"],
    [
      "FROM scratch AS a\nCOPY --from=b / /\nFROM a AS b\n",
      "circular dependency detected on stage: a",
    ],
    ["RUN x\n", "no build stage in current context"],
    ["FROM busybox\nRUN <<EOF\nx\n", "unterminated heredoc"],
  ])("refuses %j before anything runs", async (dockerfile, message) => {
    const { status, error } = await build(dockerfile);
    expect(status).toBe(400);
    expect(error).toMatch(new RegExp(message));
  });

  test.each([
    ["t", { t: "UPPER" }, "invalid reference format"],
    ["buildargs", { buildargs: "[" }, "error reading buildargs"],
    ["networkmode", { networkmode: "container:x" }, "network mode"],
    ["target", { target: "nope" }, 'target stage "nope" could not be found'],
    ["dockerfile", { dockerfile: "missing" }, "no such file or directory"],
    ["platform", { platform: "a/b/c/d" }, "cannot parse platform"],
  ])("refuses a bad %s", async (_, query, message) => {
    const { status, error } = await build("FROM busybox\n", { query });
    expect(status).not.toBe(200);
    expect(error).toContain(message);
  });

  test("a body that is no tar is refused; one that is packed is read", async () => {
    const bad = await build("", { body: Buffer.from("garbage") });
    expect([bad.status, bad.error]).toEqual([400, "the build context is no tar archive"]);
    const body = gzipSync(tar([{ name: "Dockerfile", content: "FROM busybox\nENV Z=1\n" }]));
    await ok("", { body });
  });

  test("arguments, labels, target and Dockerfile are taken from the query", async () => {
    const other = "ARG V=0\nFROM busybox AS one\nARG V\nENV GOT=$V\nFROM one AS two\nENV TWO=1\n";
    const { id } = await ok("FROM scratch\n", {
      files: [{ name: "sub/Other", content: other }],
      query: {
        dockerfile: "sub/Other",
        target: "one",
        buildargs: JSON.stringify({ V: "7", UNSET: null }),
        labels: JSON.stringify({ key: "value" }),
      },
    });
    const { json } = await engine.api("GET", `/images/${id}/json`);
    expect(listAt(json, "Config", "Env")).toContain("GOT=7");
    expect(JSON.stringify(json)).not.toContain("TWO=1");
    expect(at(json, "Config", "Labels")).toMatchObject({ key: "value" });
  });

  test("nocache runs steps again, and the second result is another", async () => {
    const text = `FROM busybox\nRUN head -c 16 /dev/urandom > /r; echo ${uniqueName()}\n`;
    const first = await ok(text);
    expect((await ok(text)).id).toBe(first.id);
    expect((await ok(text, { query: { nocache: "1" } })).id).not.toBe(first.id);
  });

  test("a file that was merely touched is the same file; other content is not", async () => {
    const stamp = uniqueName();
    const text = `FROM busybox\nCOPY f /f\nRUN echo ${stamp}\n`;
    const file = (content: string): TarEntry => ({ name: "f", content });
    const first = await ok(text, { files: [file("a")] });
    const other = { ...file("a"), uid: 77 };
    expect((await ok(text, { files: [other] })).text).toContain("Using cache");
    const changed = await ok(text, { files: [file("b")] });
    expect(changed.text).toContain(`${stamp}\n`);
    expect(await inImage(changed.id, "cat /f")).toBe("b");
    expect(await inImage(first.id, "cat /f")).toBe("a");
  });
});

describe("steps of a build", () => {
  test("leave no mount points, hosts or name servers in their layers", async () => {
    const { id } = await ok(
      [
        "FROM busybox",
        "RUN --mount=type=cache,target=/made/by/mount --mount=type=tmpfs,target=/t \\",
        "  echo x > /made/by/mount/f; cat /etc/hosts > /seen",
      ].join("\n"),
    );
    const seen = await inImage(id, "cat /seen; ls -d /made /t 2>&1; true");
    expect(seen).toContain("buildkitsandbox");
    expect(seen).toContain("ls: /made: No such file");
    expect(seen).toContain("ls: /t: No such file");
  });

  test("a cache mount is there the next time, and in no image", async () => {
    const key = uniqueName("cache");
    const step = (command: string): string =>
      `FROM busybox\nRUN --mount=type=cache,id=${key},target=/c ${command}; echo ${uniqueName()}\n`;
    await ok(step("echo kept > /c/f"));
    const { text, id } = await ok(step("cat /c/f"));
    expect(text).toContain("kept\n");
    expect(await inImage(id, "ls /c 2>&1; true")).toContain("No such file");
  });

  test("bind mounts show contexts and stages, and forget what is written", async () => {
    const { text } = await ok(
      [
        "FROM busybox AS src",
        "RUN mkdir /d && echo from-stage > /d/f",
        "FROM busybox",
        "RUN --mount=type=bind,target=/ctx cat /ctx/sub/g",
        "RUN --mount=from=src,source=/d,target=/d,rw cat /d/f && echo new > /d/f && cat /d/f",
        "RUN --mount=from=src,source=/d,target=/d cat /d/f; touch /d/x || echo read-only",
      ].join("\n"),
      { files: [{ name: "sub/g", content: "from-context\n" }], query: { nocache: "1" } },
    );
    expect(text).toContain("from-context\n");
    expect(text).toMatch(/from-stage\nnew\n/);
    expect(text).toMatch(/from-stage\n(?:.*\n)*?.*read-only/);
  });

  test("a source that leads out of its tree finds nothing of the host", async () => {
    for (const line of [
      "COPY up/etc/passwd /p",
      "COPY ../../../../etc/shadow /p",
      "RUN --mount=type=bind,source=up/etc/shadow,target=/p cat /p",
      "RUN --mount=type=bind,source=../../../../../etc/shadow,target=/p cat /p",
    ]) {
      const { error, text } = await build(`FROM busybox\n${line}\n`, {
        files: [{ name: "up", type: "symlink", link: "../../../../../.." }],
        query: { nocache: "1" },
      });
      expect(error).not.toBe("");
      expect(text).not.toContain("root:");
    }
  });

  test("run with the isolation of a container", async () => {
    const { text } = await ok(
      "FROM busybox\nRUN grep -E 'CapEff|Seccomp:' /proc/self/status; cat /proc/1/comm; hostname\n",
      { query: { nocache: "1" } },
    );
    expect(text).toContain("CapEff:\t00000000a80425fb");
    expect(text).toContain("Seccomp:\t2");
    expect(text).toContain("buildkitsandbox");
    const bare = await ok("FROM busybox\nRUN --network=none ls /sys/class/net\n", {
      query: { nocache: "1" },
    });
    expect(bare.text).toMatch(/Running in [0-9a-f]{12}\nlo\n/);
  });

  test("output beyond the limit is clipped, and says so", async () => {
    const { text } = await ok("FROM busybox\nRUN yes | head -c 5000000\n", {
      query: { nocache: "1" },
    });
    expect(text.length).toBeLessThan(2_200_000);
    expect(text).toContain("[output clipped, log limit 2MiB reached]\n");
  });

  test("two builds at the same time run a shared step once", async () => {
    const stamp = uniqueName("shared");
    const text = `FROM busybox\nRUN head -c 16 /dev/urandom > /r; sleep 0.5; echo ${stamp}\n`;
    const [one, two] = await Promise.all([ok(text), ok(text)]);
    expect(one.id).toBe(two.id);
  });

  test("stages run side by side", async () => {
    const lines = [1, 2, 3].map((n) => `FROM busybox AS s${n}\nRUN sleep 1; echo ${n} > /${n}`);
    const copies = [1, 2, 3].map((n) => `COPY --from=s${n} /${n} /`);
    const begin = performance.now();
    await ok([...lines, "FROM scratch", ...copies].join("\n"), { query: { nocache: "1" } });
    expect(performance.now() - begin).toBeLessThan(2800);
  });

  test("a user that is not there is told in words", async () => {
    const { error } = await build("FROM busybox\nUSER nobody-here\nRUN true\n");
    expect(error).toContain("unable to find user nobody-here");
  });
});

describe("a build that is cut short", () => {
  test("leaves nothing when its client goes, nor when its daemon is killed", async () => {
    await using daemon = await startDaemon();
    const own = daemon.engine;
    await own.ensureImages("busybox");
    const snapshots = (): number => readdirSync(`${daemon.dataRoot}/snapshots`).length;
    const before = snapshots();
    const running = (): boolean =>
      readdirSync("/proc").some((pid) => {
        if (!/^\d+$/.test(pid) || !existsSync(`/proc/${pid}/cmdline`)) return false;
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("sleep\u00004321");
        } catch (error) {
          if (error instanceof Error) return false;
          throw error;
        }
      });
    const text = "FROM busybox\nRUN sleep 4321\n";
    const gone = new AbortController();
    const canceled = build(text, { on: own, signal: gone.signal }).catch(() => undefined);
    await until(running, "the step to run");
    gone.abort();
    await canceled;
    await until(() => !running(), "the step to be killed");
    await until(() => snapshots() === before, "its snapshot to go");

    const killed = build(text, { on: own }).catch(() => undefined);
    await until(running, "the step to run again");
    await daemon.kill9();
    await killed;
    await daemon.restart();
    await until(() => !running(), "the step to be killed by the next daemon");
    await until(() => snapshots() === before, "its snapshot to go");
    expect(readdirSync(`${daemon.execRoot}/builds`)).toEqual([]);
    expect(await daemon.leaks()).toEqual([]);
  }, 60_000);

  test("each instruction's ID is an image, also of a build that fails", async () => {
    const text = `FROM busybox\nRUN echo ${uniqueName()} > /f\nENV A=b\nRUN exit 3\n`;
    const { text: told, error } = await build(text);
    expect(error).toContain("non-zero code: 3");
    const ids = [...told.matchAll(/^ ---> ([0-9a-f]{12})$/gm)].map(([, id]) => id);
    expect(ids).toHaveLength(3);
    expect(await inImage(String(ids.at(-1)), "test -f /f && echo $A")).toBe("b");
  });

  test.skipIf(loopDiskLack() !== undefined)(
    "a step that fills the disk, and a context that does not fit, are told and take nothing",
    async () => {
      await using disk = await makeLoopDisk(192 * 1024 * 1024);
      await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
      const own = daemon.engine;
      await own.ensureImages("busybox");
      const filled = await build("FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M\n", { on: own });
      expect(filled.text).toContain("No space left on device");
      expect(filled.code).toBe(1);
      const large = await build("FROM busybox\n", {
        on: own,
        files: [{ name: "f", content: new Uint8Array(100 * 1024 * 1024) }],
      });
      expect(large.error).toContain("no space left on device: the build context does not fit");
      await ok("FROM busybox\nRUN echo goes on\n", { on: own });
    },
    60_000,
  );

  test("the cache is there after a kill, with whole layers", async () => {
    await using daemon = await startDaemon();
    const own = daemon.engine;
    await own.ensureImages("busybox");
    const text = "FROM busybox\nRUN echo one > /1\nRUN echo two > /2\n";
    const { id } = await ok(text, { on: own });
    await daemon.kill9();
    await daemon.restart();
    const again = await ok(text, { on: own });
    expect(again.id).toBe(id);
    expect(again.text.match(/Using cache/g)).toHaveLength(2);
  }, 30_000);

  test("prune gives back what no image needs, and the image stays whole", async () => {
    await using daemon = await startDaemon();
    const own = daemon.engine;
    await own.ensureImages("busybox");
    await ok("FROM busybox\nRUN head -c 3000000 /dev/zero > /big\nRUN rm /big\n", {
      on: own,
      query: { t: "kept" },
    });
    const { json } = await own.api("POST", "/build/prune?all=1");
    expect(listAt(json, "CachesDeleted").length).toBe(2);
    const ran = await own.client("tug").ok("run", "--rm", "kept", "echo", "whole");
    expect(ran).toBe("whole");
    expect((await own.api("POST", "/build/prune?all=1")).json).toEqual({
      CachesDeleted: null,
      SpaceReclaimed: 0,
    });
  }, 30_000);
});
