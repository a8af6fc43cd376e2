/** `tug build`: contexts, outputs, secrets, failures, the cache, as a user meets them. */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { imageId, uniqueName } from "../support/engine.ts";
import { at, textAt } from "../support/json.ts";
import { type Result, run, runOk } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const tug = engine.client("tug");
const slow = 60_000;

/** A folder with files. */
function context(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(engine.folder, "context-"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

async function build(
  args: readonly string[],
  options: Parameters<typeof tug.run>[1] = {},
): Promise<Result> {
  return await tug.run(["build", ...args], { timeoutMs: slow, ...options });
}

async function built(
  args: readonly string[],
  options: Parameters<typeof tug.run>[1] = {},
): Promise<string> {
  const result = await build(["-q", ...args], options);
  expect({ exitCode: result.exitCode, stderr: result.stderr }).toEqual({ exitCode: 0, stderr: "" });
  return result.stdout.trim();
}

describe("what is built from", () => {
  test("a folder, whose .dockerignore keeps files from being sent", async () => {
    const folder = context({
      Dockerfile: "FROM busybox\nCOPY . /all\n",
      ".dockerignore": "*.log\nsecret\n",
      "keep.txt": "kept",
      "drop.log": "dropped",
      "secret/key": "x",
    });
    const name = uniqueName("built");
    const id = await built(["-t", name, folder]);
    expect(id).toBe(await imageId(engine, name));
    const listed = await tug.ok("run", "--rm", name, "ls", "-A", "/all");
    expect(listed.split("\n").toSorted()).toEqual([".dockerignore", "Dockerfile", "keep.txt"]);
  });

  test("another Dockerfile, by -f, from standard input, and one that is a link", async () => {
    const folder = context({ "deep/Other": "FROM busybox\nCOPY f /f\n", f: "1" });
    const other = join(folder, "deep/Other");
    expect(await built(["-f", other, folder])).toStartWith("sha256:");
    const fromInput = await built(["-f", "-", folder], { input: "FROM busybox\nCOPY f /f\n" });
    expect(fromInput).toBe(await built(["-f", other, folder]));
    symlinkSync("deep/Other", join(folder, "Dockerfile"));
    expect(await built([folder])).toBe(fromInput);
  });

  test("standard input: a Dockerfile alone, or a tar, packed too", async () => {
    const alone = "FROM busybox\nRUN echo hi >/x\n";
    expect(await built(["-"], { input: alone })).toStartWith("sha256:");
    const folder = context({ Dockerfile: "FROM busybox\nCOPY f /f\n", f: "of a tar" });
    const name = uniqueName("tarred");
    for (const flag of ["-c", "-cz"]) {
      const { stdoutBytes } = await run(["tar", "-C", folder, flag, "."]);
      await built(["-t", name, "-"], { input: stdoutBytes });
      expect(await tug.ok("run", "--rm", name, "cat", "/f")).toBe("of a tar");
    }
  });

  test("a repository, and named contexts", async () => {
    const folder = context({ Dockerfile: "FROM busybox\nCOPY --from=extra f /f\n" });
    const extra = context({ f: "of another folder" });
    const git = ["git", "-C", folder, "-c", "user.name=t", "-c", "user.email=t@t"];
    await runOk(["git", "init", "-q", "-b", "main", folder]);
    await runOk([...git, "add", "."]);
    await runOk([...git, "commit", "-qm", "one"]);
    const name = uniqueName("git");
    await built(["--build-context", `extra=${extra}`, "-t", name, `file://${folder}/.git#main`]);
    expect(await tug.ok("run", "--rm", name, "cat", "/f")).toBe("of another folder");
  });

  for (const [what, args, sentence] of [
    ["a folder that is not there", ["/no/such/folder"], 'path "/no/such/folder" not found'],
    ["a file", ["/etc/hostname"], "is not a directory"],
    ["no Dockerfile", ["/tmp/"], "failed to read dockerfile"],
    ["standard input twice", ["-f", "-", "-"], "can't use stdin for both"],
    ["an unknown output", ["-o", "type=nope", "/"], 'invalid output type "nope"'],
    [
      "a secret without its file",
      ["--secret", "id=x,src=/no/such", "-"],
      "failed to stat /no/such",
    ],
    ["an unknown call", ["--call", "nope", "-"], "one of build, check, outline, targets"],
    ["a platform that is none", ["--platform", "a/b/c/d", "-"], "invalid platform"],
  ] as const) {
    test(`${what} is refused before anything is sent`, async () => {
      const result = await build(args);
      expect(result.exitCode).toBeGreaterThan(0);
      expect(result.stderr).toContain(sentence);
    });
  }
});

describe("what becomes of it", () => {
  const dockerfile =
    "FROM busybox AS base\nFROM scratch\nCOPY --from=base /bin/busybox /b\nCOPY <<E /t\nhi\nE\n";

  test("a folder and a tar hold the files, an image the names", async () => {
    const folder = context({ Dockerfile: dockerfile });
    const target = join(folder, "out");
    await built(["-o", target, folder]);
    expect(readFileSync(join(target, "t"), "utf8")).toBe("hi\n");
    const tar = join(folder, "out.tar");
    await built(["-o", `type=tar,dest=${tar}`, folder]);
    expect((await runOk(["tar", "-tf", tar])).split("\n").toSorted()).toEqual(["b", "t"]);
    const piped = await tug.run(["build", "-o", "-", folder], { timeoutMs: slow });
    expect(piped.stdoutBytes.length).toBeGreaterThan(1_000_000);
    const [one, two] = [uniqueName("a"), uniqueName("b")];
    await built(["-t", one, "-t", `${two}:x`, folder]);
    expect(await imageId(engine, one)).toBe(await imageId(engine, `${two}:x`));
  });

  test("archives are loaded again; --iidfile and --metadata-file say what was made", async () => {
    const folder = context({ Dockerfile: "FROM busybox\nLABEL a=b\n" });
    const name = uniqueName("archived");
    const [iid, metadata] = [join(folder, "iid"), join(folder, "metadata")];
    const tar = join(folder, "image.tar");
    await built(["-t", name, "-o", `type=docker,dest=${tar}`, "--metadata-file", metadata, folder]);
    expect(textAt(JSON.parse(readFileSync(metadata, "utf8")), "containerimage.digest")).toStartWith(
      "sha256:",
    );
    expect(await tug.ok("load", "-i", tar)).toContain(`Loaded image: ${name}:latest`);
    await built(["-t", name, "--iidfile", iid, folder]);
    expect(readFileSync(iid, "utf8")).toBe(await imageId(engine, name));
  });

  test("the same source date gives the same image twice", async () => {
    const folder = context({
      Dockerfile: "FROM busybox\nRUN date >/dev/null; touch /new\nCOPY f /f\n",
      f: "1",
    });
    const env = { SOURCE_DATE_EPOCH: "1700000000" };
    const first = await built([folder], { env });
    await Bun.sleep(1100);
    expect(await built(["--no-cache", folder], { env })).toBe(first);
  });
});

describe("what goes on", () => {
  test("plain progress says each step, its output and what was cached", async () => {
    const stamp = uniqueName("stamp");
    const folder = context({ Dockerfile: `FROM busybox\nARG V=1\nRUN echo ${stamp} $V\n` });
    const first = await build([folder]);
    expect(first.stderr).toContain("[internal] load build definition from Dockerfile");
    expect(first.stderr).toMatch(new RegExp(`#\\d+ \\d\\.\\d{3} ${stamp} 1`));
    expect((await build([folder])).stderr).toMatch(/#\d+ \[2\/2\] RUN echo .*\n#\d+ CACHED/);
    expect((await build(["--no-cache", folder])).stderr).toMatch(new RegExp(`${stamp} 1`));
    expect((await build(["--build-arg", "V=2", folder])).stderr).toContain(`${stamp} 2`);
  });

  test("a failing step is told with its output and its place; the exit code is 1", async () => {
    const folder = context({ Dockerfile: "FROM busybox\nRUN echo so far; exit 7\n" });
    const { exitCode, stderr } = await build([folder]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("so far");
    expect(stderr).toContain("   2 | >>> RUN echo so far; exit 7");
    expect(stderr).toContain("did not complete successfully: exit code: 7");
  });

  test("a Dockerfile that does not parse is told with its line", async () => {
    const folder = context({ Dockerfile: "FROM busybox\nFOO bar\n" });
    const { exitCode, stderr } = await build([folder]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("   2 | >>> FOO bar");
    expect(stderr).toMatch(/unknown instruction: FOO/i);
  });

  test("--check finds and builds nothing", async () => {
    const folder = context({ Dockerfile: "FROM busybox\nCMD echo hi\nRUN false\n" });
    const { stdout, exitCode } = await tug.run(["build", "--check", folder], { timeoutMs: slow });
    expect(stdout).toContain("JSONArgsRecommended");
    expect(stdout).toContain("Dockerfile:2");
    // Docker: a check that finds something fails, seen in 28.5.
    expect(exitCode).toBe(1);
  });

  test("Ctrl-C ends the step and leaves nothing", async () => {
    const folder = context({ Dockerfile: "FROM busybox\nRUN echo begun; sleep 100\n" });
    await using building = tug.start(["build", "--no-cache", "--progress", "plain", folder]);
    for (let look = 0; look < 500 && !building.stderr.includes("begun"); look += 1)
      await Bun.sleep(20);
    building.kill("SIGINT");
    expect(await building.exited).toBe(1);
    expect(building.stderr).toContain("canceled");
  });
});

test("secrets are there for the step and nowhere after", async () => {
  const value = uniqueName("hush");
  const folder = context({
    Dockerfile:
      "FROM busybox\n" +
      'RUN --mount=type=secret,id=f test "$(cat /run/secrets/f)" = "$(cat /run/secrets/f)" && sha256sum /run/secrets/f >/sum\n' +
      'RUN --mount=type=secret,id=e,env=E test -n "$E"\n',
    token: value,
  });
  writeFileSync(join(folder, ".dockerignore"), "token\n");
  const name = uniqueName("secret");
  const flags = ["--secret", `id=f,src=${join(folder, "token")}`, "--secret", "id=e,env=HUSH"];
  await built([...flags, "-t", name, folder], { env: { HUSH: value } });
  expect(await tug.ok("history", "--no-trunc", name)).not.toContain(value);
  expect(JSON.stringify((await engine.api("GET", `/images/${name}/json`)).json)).not.toContain(
    value,
  );
  expect(engine.daemon?.log() ?? "").not.toContain(value);
  const archive = join(folder, "image.tar");
  await tug.ok("save", "-o", archive, name);
  const grep = await run(["grep", "-c", value, archive]);
  expect(grep.stdout.trim()).toBe("0");
  const missing = await build(["--secret", "id=f,env=NO_SUCH_VARIABLE", folder]);
  expect(missing.stderr).toContain("environment variable NO_SUCH_VARIABLE is not set");
});

describe("the cache", () => {
  beforeAll(async () => {
    const folder = context({ Dockerfile: "FROM busybox\nRUN head -c 100000 /dev/zero >/z\n" });
    await built(["-t", uniqueName("cached"), folder]);
  });

  test("du tells what it takes, prune gives it back", async () => {
    const table = await tug.ok("builder", "du");
    expect(table).toMatch(/^ID +RECLAIMABLE +SIZE +LAST ACCESSED/);
    expect(table).toMatch(/Total:\s+[\d.]+\w*B/);
    const pruned = await tug.ok("builder", "prune", "-af");
    expect(pruned).toContain("Total reclaimed space:");
    const { json } = await engine.api("GET", "/system/df");
    expect(at(json, "BuildCache")).toEqual([]);
  });
});
