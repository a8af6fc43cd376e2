/** What a build refuses or warns of before it runs: policy, checks, hints. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startDaemon } from "../support/daemon.ts";
import { hasDockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { type Engine, uniqueName } from "../support/engine.ts";
import { dockerArchive } from "../support/images.ts";
import { run } from "../support/process.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const tug = engine.client("tug");

function context(dockerfile: string, on: Engine = engine): string {
  const folder = join(on.folder, uniqueName("checks"));
  mkdirSync(folder);
  writeFileSync(join(folder, "Dockerfile"), dockerfile);
  return folder;
}

describe.skipIf(!hasDockerRegistry)("the image policy (needs docker-registry)", () => {
  test("holds for every image that a build takes from", async () => {
    await using registry = await startDockerRegistry();
    const { host } = registry;
    await using daemon = await startDaemon();
    const { engine: own } = daemon;
    const client = own.client("tug");
    await own.ensureImages("busybox");
    for (const name of ["good/base:1", "bad/base:1", "bad/late:1"]) {
      await client.ok("tag", "busybox", `${host}/${name}`);
      await client.ok("push", `${host}/${name}`);
    }
    await client.ok("rmi", "-f", `${host}/bad/late:1`);
    const path = join(own.folder, "policy.json");
    const docker = { [`${host}/good`]: [{ type: "insecureAcceptAnything" }] };
    writeFileSync(path, JSON.stringify({ default: [{ type: "reject" }], transports: { docker } }));
    await daemon.stop();
    await daemon.restart({ flags: ["--image-policy", path] });
    const good = `FROM ${host}/good/base:1\n`;
    await client.ok("build", "-q", context(`${good}RUN echo a > /a\n`, own));
    const named = ["--build-context", `${host}/good/base:1=docker-image://${host}/bad/base:1`];
    for (const [dockerfile, ...args] of [
      [`FROM ${host}/bad/base:1\nRUN true\n`],
      [`FROM ${host}/bad/late:1\nRUN true\n`],
      [`${good}COPY --from=${host}/bad/base:1 / /x\n`],
      [`${good}RUN --mount=type=bind,from=${host}/bad/base:1,target=/x true\n`],
      [`ARG BASE=${host}/bad/base:1\nFROM $BASE\nRUN true\n`],
      [`${good}RUN true\n`, ...named],
    ] as const) {
      const refused = await client.run(["build", ...args, context(dockerfile, own)]);
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toMatch(
        /bad\/\w+:1 may not be (built on|pulled): rule default\[0\] rejects it/,
      );
    }
    // A stage that is not needed is not asked for.
    const unused = `FROM ${host}/bad/base:1 AS unused\nRUN true\n${good}ENV A=b\n`;
    await client.ok("build", "-q", context(unused, own));
    await daemon.stop();
  }, 60_000);
});

describe("tug build --check", () => {
  test("fails for warnings, and draws them", async () => {
    const result = await tug.run(["build", "--check", context("FROM busybox\nMAINTAINER me\n")]);
    expect(result.exitCode).toBe(1);
    expect(result.stdout).toContain("WARNING: MaintainerDeprecated");
    expect(result.stdout).toContain("   2 | >>> MAINTAINER me");
    const good = await tug.run(["build", "--check", context("FROM busybox\nENV A=b\n")]);
    expect(good.exitCode).toBe(0);
  });

  test("takes the rules to skip, and whether they are errors, from a build argument", async () => {
    const folder = context("FROM busybox\nMAINTAINER me\n");
    const check = (text: string): readonly string[] => [
      "build",
      ...["--build-arg", `BUILDKIT_DOCKERFILE_CHECK=${text}`],
      folder,
    ];
    const skipped = await tug.run([...check("skip=MaintainerDeprecated"), "--check"]);
    expect(skipped).toMatchObject({ exitCode: 0 });
    const failed = await tug.run(check("error=true"));
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain("lint violation found for rules: MaintainerDeprecated");
    // It wins over the file.
    const own = context("# check=error=true\nFROM busybox\nMAINTAINER me\n");
    await tug.ok("build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", own);
    // Docker 28.5 says the same.
    expect(await tug.fails(...check("bogus"))).toContain(
      'failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: invalid check option "bogus"',
    );
  });

  test("tells warnings and the failure of what cannot be built", async () => {
    for (const [line = "", message = ""] of [
      ["ENV A=${X?need}", "X: need"],
      ["FROM nowhere.invalid/x", "nowhere.invalid/x"],
    ]) {
      const folder = context(`FROM busybox\nMAINTAINER me\n${line}\n`);
      const result = await tug.run(["build", "--check", folder]);
      expect(result.exitCode).toBe(1);
      expect(result.stdout).toContain("WARNING: MaintainerDeprecated");
      expect(result.stdout).toContain("ERROR: ");
      expect(result.stdout).toContain(message);
    }
  });
});

test("a comment behind COPY is explained when it is not found as a file", async () => {
  const folder = context("FROM busybox\nCOPY Dockerfile # all of it\n");
  const message = await tug.fails("build", folder);
  expect(message).toMatch(
    /not found.*'#' is taken for a path|'#' begins a comment only at the start/s,
  );
});

describe("layers packed by", () => {
  test.each(["bzip2", "xz"])(
    "%s are loaded, and run",
    async (program) => {
      if (Bun.which(program) === null) {
        console.warn(`skipped: the program ${program} is not installed`);
        return;
      }
      const pack = async (input: Uint8Array): Promise<Uint8Array> =>
        (await run([program, "--stdout"], { input })).stdoutBytes;
      const name = uniqueName("packed");
      const layer = tar([{ name: "f", content: program }]);
      const diffIds = [`sha256:${createHash("sha256").update(layer).digest("hex")}`];
      const layers = [Buffer.from(await pack(layer))];
      const archive = dockerArchive({ layers, diffIds, tags: [`${name}:latest`] });
      const answer = await engine.api("POST", "/images/load", await pack(archive), {
        headers: { "Content-Type": "application/x-tar" },
      });
      expect(answer.text).toContain("Loaded image");
      const imported = uniqueName("imported");
      await engine.importImage(imported, {
        archive: await pack(tar([{ name: "g", content: program }])),
      });
      const built = await tug.run([
        "build",
        "-t",
        "made",
        context(`FROM busybox\nCOPY --from=${imported} /g /g\nCOPY --from=${name} /f /f\n`),
      ]);
      expect(built.stderr).not.toContain("ERROR");
      expect(await tug.ok("run", "--rm", "made", "cat", "/f", "/g")).toBe(`${program}${program}`);
    },
    30_000,
  );
});
