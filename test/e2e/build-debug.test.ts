/** `tug build --debug-on-fail`. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Engine, uniqueName } from "../support/engine.ts";
import { listAt, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { startDaemon } from "../support/daemon.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const tug = engine.client("tug");

function context(dockerfile: string, on: Engine = engine): string {
  const folder = join(on.folder, uniqueName("debug"));
  mkdirSync(folder);
  writeFileSync(join(folder, "Dockerfile"), dockerfile);
  return folder;
}

const text = (): string =>
  "FROM busybox\nENV E=env\nARG A=arg\nWORKDIR /work\nUSER 1000:1000\n" +
  "RUN --mount=type=cache,target=/cache,uid=1000 --mount=type=secret,id=s,uid=1000 " +
  "--mount=type=bind,target=/context --mount=type=tmpfs,target=/scratch " +
  `echo ${uniqueName()} left > /tmp/left; echo kept > /cache/f; exit 3\n`;

/** Names of images and containers of failed steps. */
async function left(on: Engine = engine): Promise<readonly string[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: ["tug.build.failed-step"] }));
  const images = await on.api("GET", `/images/json?filters=${filters}`);
  const containers = await on.api("GET", `/containers/json?all=1&filters=${filters}`);
  return [
    ...listAt(images.json).map((image) => listAt(image, "RepoTags").join()),
    ...listAt(containers.json).map((container) => textAt(container, "Id")),
  ];
}

describe("tug build --debug-on-fail", () => {
  test("opens a shell that is as the step was; afterwards nothing is left", async () => {
    const folder = context(text());
    const secret = join(engine.folder, "secret");
    writeFileSync(secret, "hidden-value");
    const args = ["build", "--progress=plain", "--debug-on-fail", "--secret", `id=s,src=${secret}`];
    await using child = tug.start([...args, folder], { tty: true });
    await child.prints(/^\/work \$ /m);
    expect(child.stdout).toContain("exit code: 3");
    child.write(
      "cat /tmp/left; cat /cache/f; cat /run/secrets/s; id -u; pwd; echo $E-$A; " +
        "ls /context; touch /scratch/x && echo wrote; echo d'o'ne\n",
    );
    await child.prints("wrote\r\ndone");
    expect(child.stdout).not.toContain("isPrivileged");
    expect(child.stdout).toMatch(
      /left\s+kept\s+hidden-value\s*1000\s+\/work\s+env-arg\s+Dockerfile\s+wrote/,
    );
    expect(await left()).toHaveLength(2);
    child.write("exit\n");
    expect(await child.exited).toBe(1);
    await until(async () => (await left()).length === 0, "image and container to go");
    const builds = join(engine.daemon?.execRoot ?? "", "builds");
    await until(() => readdirSync(builds).length === 0, "the step's mounts to go");
  }, 60_000);

  test("a client that is killed takes its shell along", async () => {
    const child = tug.start(
      [
        "build",
        "--debug-on-fail",
        context(
          text().replace("type=secret,id=s", "type=tmpfs,target=/t").replace("/t,uid=1000", "/t"),
        ),
      ],
      { tty: true },
    );
    await child.prints(/^\/work \$ /m);
    await child[Symbol.asyncDispose]();
    await until(async () => (await left()).length === 0, "image and container to go");
  }, 60_000);

  test("without a terminal tells how to look into the step", async () => {
    const result = await tug.run([
      "build",
      "--debug-on-fail",
      context("FROM busybox\nRUN echo x > /f; exit 4\n"),
    ]);
    expect(result.exitCode).toBe(1);
    const [, image = ""] = /tug run --rm -it (failed-step:\w+) \/bin\/sh/.exec(result.stderr) ?? [];
    expect(await tug.ok("run", "--rm", image, "cat", "/f")).toBe("x");
    expect(await tug.ok("rmi", image)).toContain("Untagged");
  }, 30_000);

  test("has nothing to offer where no command failed", async () => {
    const { stderr } = await tug.run([
      "build",
      "--debug-on-fail",
      context("FROM busybox\nCOPY no /\n"),
    ]);
    expect(stderr).toContain("no command has failed");
  });

  test("what a killed daemon leaves is removed by the next one", async () => {
    await using daemon = await startDaemon();
    const own = daemon.engine;
    await own.ensureImages("busybox");
    const client = own.client("tug");
    const folder = context("FROM busybox\nRUN --mount=type=cache,target=/c exit 4\n", own);
    await client.run(["build", "--debug-on-fail", folder]);
    await using child = client.start(["build", "--debug-on-fail", folder], { tty: true });
    await child.prints(/^\/ # /m);
    expect(await left(own)).toHaveLength(3);
    await daemon.kill9();
    await daemon.restart();
    expect(await left(own)).toEqual([]);
    expect(readdirSync(join(daemon.execRoot, "builds"))).toEqual([]);
    expect(await daemon.leaks()).toEqual([]);
  }, 60_000);
});
