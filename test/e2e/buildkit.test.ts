/**
 * Builds with the real clients of BuildKit's protocol: docker with the plugins buildx and compose.
 *
 * `TUG_PEER_CONFIG` names a DOCKER_CONFIG folder that has the plugins.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { type Client, clientNames } from "../support/clients.ts";
import { run } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const pluginConfig = process.env["TUG_PEER_CONFIG"] ?? "/root/.docker";
const plugin = (name: string): string => join(pluginConfig, "cli-plugins", `docker-${name}`);
const hasBuildx = existsSync(plugin("buildx")) && clientNames.includes("docker");
const hasCompose = hasBuildx && existsSync(plugin("compose"));
if (!hasBuildx) {
  console.warn(
    "skipped: builds by BuildKit's protocol. Run them with TUG_PEER_CONFIG=<a DOCKER_CONFIG folder " +
      `with cli-plugins/docker-buildx>; there is none in ${pluginConfig}.`,
  );
}

// The test of what is sent reads of it in the daemon's log.
const engine = await useEngine({
  images: ["busybox"],
  daemon: { flags: ["--log-level", "debug"] },
});
const docker: Client = engine.client("docker");
let folderCount = 0;

beforeAll(() => {
  const config = join(engine.folder, "client");
  mkdirSync(config, { recursive: true });
  if (hasBuildx) symlinkSync(join(pluginConfig, "cli-plugins"), join(config, "cli-plugins"));
});
afterAll(() => rmSync(join(engine.folder, "client/cli-plugins"), { force: true }));

/** A context with a Dockerfile and other files. */
function context(dockerfile: string, files: Readonly<Record<string, string>> = {}): string {
  folderCount += 1;
  const folder = join(engine.folder, `context${folderCount}`);
  for (const [name, content] of Object.entries({ Dockerfile: dockerfile, ...files })) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

const plain = ["build", "--progress=plain"];

/** All that a build prints, which must go well. */
async function build(args: readonly string[]): Promise<string> {
  const result = await docker.run([...plain, ...args], { timeoutMs: 60_000 });
  expect({ code: result.exitCode, output: result.stderr }).toMatchObject({ code: 0 });
  return result.stderr;
}

describe.skipIf(!hasBuildx)("docker build", () => {
  test("builds, shows each step, and finds them all again", async () => {
    const folder = context("FROM busybox\nARG WHO\nRUN echo hello $WHO > /hi\nCOPY sub /sub\n", {
      "sub/file": "data",
      ignored: "x",
      ".dockerignore": "ignored\n",
    });
    const args = ["-t", "bk:1", "--build-arg", "WHO=you", folder];
    const first = await build(args);
    expect(first).toContain("[2/3] RUN echo hello you > /hi");
    expect(first).toMatch(/naming to docker\.io\/library\/bk:1/);
    const script = ["cat", "/hi", "/sub/file"];
    expect(await docker.ok("run", "--rm", "bk:1", ...script)).toBe("hello you\ndata");
    const second = await build(args);
    expect(second.match(/^#\d+ CACHED$/gm)?.length).toBe(3);
  });

  test("writes the image's ID, and metadata", async () => {
    const folder = context("FROM scratch\nCOPY Dockerfile /\n");
    const [idFile, metadataFile] = [join(folder, "id"), join(folder, "meta")];
    await build(["--iidfile", idFile, "--metadata-file", metadataFile, "-t", "bk:meta", folder]);
    const id = readFileSync(idFile, "utf8");
    const inspected = await docker.ok("image", "inspect", "-f", "{{.Id}}", "bk:meta");
    expect(id).toBe(inspected);
    const metadata = JSON.parse(readFileSync(metadataFile, "utf8"));
    expect(metadata["containerimage.config.digest"]).toBe(id);
    expect(metadata["image.name"]).toBe("docker.io/library/bk:meta");
  });

  test("shows output, exit code and place of a step that fails", async () => {
    const folder = context("FROM busybox\nRUN echo out; echo err >&2; exit 7\n");
    const output = await docker.fails(...plain, "--no-cache", folder);
    expect(output).toMatch(/^#\d+ [\d.]+ out$/m);
    expect(output).toMatch(/^#\d+ [\d.]+ err$/m);
    expect(output).toContain("   2 | >>> RUN echo out; echo err >&2; exit 7");
    expect(output).toContain("did not complete successfully: exit code: 7");
    expect(output).not.toContain("InvalidArgument");
  });

  test("shows the place of what is no Dockerfile", async () => {
    const output = await docker.fails(...plain, context("FROM busybox\nFOO bar\n"));
    expect(output).toContain("   2 | >>> FOO bar");
    expect(output).toContain("dockerfile parse error on line 2: unknown instruction: FOO");
  });

  test("refuses a target and a file that are not there", async () => {
    const folder = context("FROM busybox\n");
    expect(await docker.fails(...plain, "--target", "no", folder)).toContain(
      'target stage "no" could not be found',
    );
    expect(await docker.fails(...plain, "-f", join(folder, "No"), folder)).toMatch(
      /no such file or directory/,
    );
  });

  test("gives secrets to a step, and keeps them to itself", async () => {
    const folder = context(
      "FROM busybox\n" +
        "RUN --mount=type=secret,id=tok sha256sum /run/secrets/tok\n" +
        'RUN --mount=type=secret,id=env,env=E test "${#E}" = 7\n',
      { token: "hunter2" },
    );
    const token = `id=tok,src=${join(folder, "token")}`;
    const result = await docker.run(
      [...plain, "-t", "bk:sec", "--secret", token, "--secret", "id=env,env=SECRET_ENV", folder],
      { env: { SECRET_ENV: "fromenv" }, timeoutMs: 60_000 },
    );
    expect(result.stderr).toContain(
      "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7",
    );
    expect(result.exitCode).toBe(0);
    const history = await docker.ok("history", "--no-trunc", "bk:sec");
    expect(`${history}${engine.daemon?.log() ?? ""}`).not.toMatch(/hunter2|fromenv/);
    expect(await docker.fails(...plain, "--no-cache", folder)).toContain("exit code: 1");
  });

  test("leads a step to the client's ssh agent", async () => {
    const folder = context(
      "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo hello | nc local:$SSH_AUTH_SOCK || true\n" +
        "RUN --mount=type=ssh,required=true test -S $SSH_AUTH_SOCK\n",
    );
    const path = join(folder, "agent.sock");
    const server = net.createServer((socket) => socket.end("x"));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      await build(["--no-cache", "--ssh", `default=${path}`, folder]);
      expect(await docker.fails(...plain, "--no-cache", folder)).toMatch(/ssh/i);
    } finally {
      server.close();
    }
  });

  test("takes contexts from stdin, and by name", async () => {
    const dockerfile = "FROM busybox\nCOPY --from=extra f /f\nRUN cat /f\n";
    const extra = context("", { f: "from extra" });
    const named = await build(["--build-context", `extra=${extra}`, context(dockerfile)]);
    expect(named).toContain("from extra");
    const alias = context("FROM alias\nRUN echo ok\n");
    await build(["--build-context", "alias=docker-image://busybox", alias]);
    const script = `tar -C ${extra} -c . | docker build -q -f Dockerfile2 -`;
    writeFileSync(join(extra, "Dockerfile2"), "FROM scratch\nCOPY f /f\n");
    for (const line of [script, "echo 'FROM busybox' | docker build -q -"]) {
      const result = await run(["sh", "-c", line], {
        env: { ...dockerEnv(), PATH: process.env["PATH"] ?? "" },
        timeoutMs: 60_000,
      });
      expect(result.stdout, result.stderr).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    }
  });

  test("gives folders and archives, several at once", async () => {
    const folder = context("FROM scratch\nCOPY sub /sub\n", { "sub/f": "content" });
    const out = join(engine.folder, `out${folderCount}`);
    await build([
      ...["-o", `type=local,dest=${out}`],
      ...["-o", `type=tar,dest=${out}.tar`],
      ...["-o", `type=oci,dest=${out}.oci`],
      ...["-o", `type=docker,dest=${out}.docker,name=bk:tar`],
      ...["-o", "type=image,name=bk:several"],
      folder,
    ]);
    expect(readFileSync(join(out, "sub/f"), "utf8")).toBe("content");
    expect((await run(["tar", "-tf", `${out}.tar`])).stdout).toContain("sub/f");
    expect((await run(["tar", "-tf", `${out}.oci`])).stdout).toContain("index.json");
    expect(await docker.ok("load", "-i", `${out}.docker`)).toContain("bk:tar");
    expect(await docker.ok("image", "inspect", "-f", "{{.Id}}", "bk:several")).toMatch(/^sha256:/);
  });

  test("sends only what has changed since the last time", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 200 }, (_, at) => [`files/f${at}`, `content ${at}`]),
    );
    const folder = context("FROM scratch\nCOPY files /files\n", files);
    const sent = (): readonly string[] =>
      engine.daemon?.log().match(/received a client's folder.*/g) ?? [];
    await build([folder]);
    writeFileSync(join(folder, "files/f7"), "changed");
    const before = sent().length;
    await build(["-t", "bk:changed", folder]);
    const counts = sent()
      .slice(before)
      .map((line) => Number(/sentCount=(\d+)/.exec(line)?.[1]));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1);
  });

  test("ends its steps when the client is interrupted, or killed", async () => {
    const folder = context("FROM busybox\nRUN echo begun; sleep 4321\n");
    const isRunning = async (): Promise<boolean> =>
      (await run(["pgrep", "-f", "^sleep 4321"])).exitCode === 0;
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      const child = Bun.spawn(["docker", ...plain, folder], {
        env: { ...process.env, ...dockerEnv() },
        stdout: "ignore",
        stderr: "pipe",
      });
      while (!(await isRunning())) await Bun.sleep(50);
      child.kill(signal);
      const output = await new Response(child.stderr).text();
      if (signal === "SIGINT") expect(output).toContain("CANCELED");
      await child.exited;
      const end = performance.now() + 10_000;
      while ((await isRunning()) && performance.now() < end) await Bun.sleep(50);
      expect(await isRunning()).toBe(false);
    }
  }, 60_000);

  test("builds many at once", async () => {
    const builds = Array.from({ length: 6 }, (_, at) =>
      build(["-t", `bk:many${at}`, context(`FROM busybox\nRUN echo ${at} > /at\n`)]),
    );
    await Promise.all(builds);
    expect(await docker.ok("run", "--rm", "bk:many4", "cat", "/at")).toBe("4");
  }, 60_000);
});

describe.skipIf(!hasBuildx)("docker buildx", () => {
  test("tells of the builder and its cache, and prunes it", async () => {
    expect(await docker.ok("buildx", "inspect")).toMatch(/BuildKit version:\s+v\d+\.\d+/);
    expect(await docker.ok("buildx", "ls")).toContain("running");
    await build(["--no-cache", context("FROM busybox\nRUN echo to be pruned > /x\n")]);
    expect(await docker.ok("buildx", "du", "--verbose")).toContain("to be pruned");
    expect(await docker.ok("buildx", "prune", "-f", "-a")).toContain("Total:");
  });

  test("bakes targets that stand on each other", async () => {
    const folder = context("FROM busybox\nRUN echo other\n", {
      "docker-bake.hcl":
        'group "default" { targets = ["app", "other"] }\n' +
        'target "base" { dockerfile-inline = "FROM busybox\\nRUN echo base > /base\\n" }\n' +
        'target "app" {\n  contexts = { mybase = "target:base" }\n' +
        '  dockerfile-inline = "FROM mybase\\nRUN cat /base > /app\\n"\n  tags = ["bk:app"]\n}\n' +
        'target "other" { tags = ["bk:other"] }\n',
    });
    const result = await docker.run(["buildx", "bake", "--progress=plain"], {
      cwd: folder,
      timeoutMs: 60_000,
    });
    expect(result.exitCode, result.stderr).toBe(0);
    expect(await docker.ok("run", "--rm", "bk:app", "cat", "/app")).toBe("base");
    expect(await docker.ok("image", "inspect", "-f", "ok", "bk:other")).toBe("ok");
  }, 60_000);
});

test.skipIf(!hasCompose)(
  "docker compose build builds its services",
  async () => {
    const folder = context("FROM busybox\nCOPY Dockerfile /here\n", {
      "compose.yaml":
        "name: bkcompose\nservices:\n  web:\n    build: .\n    image: bk:web\n" +
        "  db:\n    build:\n      context: .\n      dockerfile_inline: |\n" +
        "        FROM busybox\n        RUN echo db\n    image: bk:db\n",
    });
    const result = await docker.run(["compose", "build"], { cwd: folder, timeoutMs: 60_000 });
    expect(result.exitCode, result.stderr).toBe(0);
    expect(await docker.ok("image", "inspect", "-f", "{{.RepoTags}}", "bk:web", "bk:db")).toBe(
      "[bk:web]\n[bk:db]",
    );
  },
  60_000,
);

function dockerEnv(): Record<string, string> {
  return {
    DOCKER_HOST: engine.host,
    DOCKER_CONFIG: join(engine.folder, "client"),
    HOME: engine.folder,
  };
}
