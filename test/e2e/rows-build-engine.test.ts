/**
 * What people were promised of builds as part of an operation: whose images may be built on, builds that
 * a clock starts, very large ones, the engine that builds itself. As in `rows-build.test.ts`.
 */
import { describe, expect, test } from "bun:test";
import assert from "node:assert/strict";
import {
  closeSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  openSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type Builder, builders, linkPlugins } from "../support/builders.ts";
import { checkout, tugExecutable } from "../support/clients.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, imageId, inFolder, referenceHost, uniqueName } from "../support/engine.ts";
import { readdirOptional, readOptional } from "../support/leaks.ts";
import { describeResult, type Result, run, runOk } from "../support/process.ts";
import { startTugRegistry } from "../support/tug-registry.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const ours = describe.skipIf(referenceHost !== undefined);
linkPlugins(engine);
const longMs = 120_000;
const mebibyte = 1024 * 1024;
/** What a build of the largest images may take of the engine's memory. */
const memoryMaxBytes = 300 * mebibyte;
/** Size of the largest files of the test's image; a real one, as of TeX or Qt, has 5000. */
const largeMebibytes = Number(process.env["TUG_TEST_LARGE_MIB"] ?? "400");

/** Makes a context. @returns its path */
function context(files: Readonly<Record<string, string>>): string {
  const folder = inFolder(engine, uniqueName("context"));
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

async function build(
  builder: Builder,
  args: readonly string[],
  on: Engine = engine,
): Promise<Result> {
  const plain = builder.isBuildkit ? ["--progress=plain"] : [];
  const options = { env: builder.env, timeoutMs: longMs };
  return await on.client(builder.cli).run(["build", ...plain, ...args], options);
}

async function built(...args: Parameters<typeof build>): Promise<void> {
  const result = await build(...args);
  if (result.exitCode !== 0) assert.fail(describeResult(args[1], result));
}

/** The most memory that the daemon and its helpers had, each for itself. */
function peakBytes(daemon: TestDaemon): number {
  const tasks = readdirOptional(`/proc/${daemon.pid}/task`);
  const children = tasks.flatMap((task) =>
    (readOptional(`/proc/${daemon.pid}/task/${task}/children`) ?? "").split(" ").filter(Boolean),
  );
  const peaks = [String(daemon.pid), ...children].map((pid) =>
    Number(/^VmHWM:\s+(\d+)/m.exec(readOptional(`/proc/${pid}/status`) ?? "")?.[1] ?? 0),
  );
  return Math.max(...peaks) * 1024;
}

/** Bytes that no compression makes less. */
function writeLarge(path: string): void {
  const block = crypto.getRandomValues(new Uint8Array(65_536));
  const fd = openSync(path, "w");
  for (let count = 0; count < (largeMebibytes * mebibyte) / block.length; count += 1) {
    block.set(Buffer.from(String(count).padEnd(16)));
    writeSync(fd, block);
  }
  closeSync(fd);
}

/** A context with all that building this project takes, and with what its compiler runs on. */
async function projectContext(): Promise<string> {
  const folder = context({
    Dockerfile: [
      "FROM busybox AS toolchain",
      "COPY root/ /",
      "FROM toolchain",
      "WORKDIR /project",
      "COPY project/ .",
      'CMD ["sh", "-c", "bun tools/build.ts && cp dist/tug /b/"]',
    ].join("\n"),
  });
  const bun = process.execPath;
  const needed = [...(await runOk(["ldd", bun])).matchAll(/(\/\S+) \(0x/g)];
  for (const path of ["/usr/bin/bun", ...needed.map(([, found = ""]) => found)]) {
    mkdirSync(join(folder, "root", dirname(path)), { recursive: true });
    copyFileSync(path === "/usr/bin/bun" ? bun : path, join(folder, "root", path));
  }
  const dependencies = ["@bufbuild", "@noble", "jose"].map((name) => `node_modules/${name}`);
  for (const name of ["src", "tools", "package.json", "tsconfig.json", ...dependencies]) {
    cpSync(join(checkout, name), join(folder, "project", name), { recursive: true });
  }
  return folder;
}

for (const builder of builders) {
  const cli = engine.client(builder.cli);

  describe(`builds with ${builder.name}`, () => {
    test("4.06 a clock builds: the same image while nothing changes, the last good one else", async () => {
      const image = uniqueName("nightly");
      const folder = context({ Dockerfile: "FROM busybox\nCOPY app /app\n", app: "one" });
      const docker = Bun.which("docker") ?? "";
      const program = builder.cli === "docker" ? docker : tugExecutable();
      /** As cron runs it: nearly no environment, no terminal, nothing to read. */
      const fromClock = async (): Promise<Result> => {
        const env = {
          PATH: "/usr/bin:/bin",
          HOME: engine.folder,
          DOCKER_CONFIG: inFolder(engine, "client"),
          DOCKER_HOST: engine.host,
          ...builder.env,
        };
        const words = Object.entries(env).map(([key, value]) => `${key}=${value}`);
        const argv = ["env", "-i", ...words, program, "build", "-t", image, folder];
        const result = await run(argv, { timeoutMs: 60_000 });
        // It goes into a mail. Docker's client returns the carriage for the classic call, always.
        const unreadable = builder.isBuildkit ? /[\r\x1b]/ : /\x1b/;
        expect(`${result.stdout}${result.stderr}`).not.toMatch(unreadable);
        return result;
      };
      const ids: string[] = [];
      for (const content of ["one", "one", "two"]) {
        writeFileSync(join(folder, "app"), `${content} ${image}`);
        expect(await fromClock()).toMatchObject({ exitCode: 0 });
        ids.push(await imageId(engine, image));
      }
      expect([ids[0] === ids[1], ids[1] === ids[2]]).toEqual([true, false]);
      writeFileSync(join(folder, "Dockerfile"), "FROM busybox\nRUN exit 3\n");
      const failed = await fromClock();
      expect(failed.exitCode).not.toBe(0);
      expect(`${failed.stdout}${failed.stderr}`).toMatch(/exit 3/);
      expect(await imageId(engine, image)).toBe(ids[2] ?? "");
      // What a night's build has replaced can be given back.
      const dangling = await cli.ok("images", "-q", "--no-trunc", "-f", "dangling=true");
      expect(dangling).toContain(ids[0] ?? "");
      await cli.ok("image", "prune", "-f");
      expect(await cli.ok("images", "-aq", "--no-trunc")).not.toContain(ids[0] ?? "");
      expect(await cli.ok("run", "--rm", image, "cat", "/app")).toBe(`two ${image}`);
    });

    test(
      "4.23 the engine builds itself, and what was built is put on the host",
      async () => {
        const image = uniqueName("self");
        await built(builder, ["-t", image, await projectContext()]);
        const bundles = inFolder(engine, uniqueName("bundles"));
        mkdirSync(bundles);
        const bundled = ["run", "--rm", "--network", "none", "-v", `${bundles}:/b`, image];
        const made = await cli.run(bundled, { timeoutMs: longMs });
        expect(made).toMatchObject({ exitCode: 0 });
        const tug = join(bundles, "tug");
        expect(await runOk([tug, "--version"])).toBe(await runOk([tugExecutable(), "--version"]));
        const listed = await runOk([tug, "-H", engine.host, "images", "-q", image]);
        expect(listed).toMatch(/^[0-9a-f]{12}$/);
      },
      longMs,
    );
  });

  ours(`engines of their own, builds with ${builder.name}`, () => {
    test(
      "1.55 a policy says which bases may be built on",
      async () => {
        await using registry = await startTugRegistry();
        const [official, other] = [`${registry.host}/library/base:1`, `${registry.host}/x/crazy:1`];
        for (const image of [official, other]) {
          await cli.ok("tag", "busybox", image);
          await cli.ok("push", "-q", image);
        }
        const policy = inFolder(engine, uniqueName("policy"));
        const docker = { [`${registry.host}/library`]: [{ type: "insecureAcceptAnything" }] };
        const rules = { default: [{ type: "reject" }], transports: { docker } };
        writeFileSync(policy, JSON.stringify(rules));
        await using guarded = await startDaemon({ flags: ["--image-policy", policy] });
        linkPlugins(guarded.engine);
        const of = (text: string): string => context({ Dockerfile: text });
        const image = uniqueName("allowed");
        await built(builder, ["-t", image, of(`FROM ${official}\nRUN true\n`)], guarded.engine);
        for (const text of [
          `FROM ${other}\nRUN true\n`,
          `FROM ${official} AS a\nFROM ${other}\nCOPY --from=a /bin /b\n`,
          `FROM ${official}\nCOPY --from=${other} /bin /b\n`,
        ]) {
          const result = await build(builder, [of(text)], guarded.engine);
          expect(result.exitCode).not.toBe(0);
          expect(`${result.stdout}${result.stderr}`).toMatch(
            /x\/crazy:1 may not be (pulled|built on): rule default\[0\] rejects it/,
          );
        }
        await guarded.stop();
      },
      longMs,
    );

    test(
      "4.22 a very large image is built in little memory",
      async () => {
        await using own = await startDaemon();
        linkPlugins(own.engine);
        await own.engine.ensureImages("busybox");
        const folder = context({
          Dockerfile: [
            "FROM busybox AS tools",
            "COPY large /copied",
            "RUN cat /copied >/made && wc -c </made >/size",
            "FROM busybox",
            "COPY --from=tools /made /size /",
          ].join("\n"),
        });
        writeLarge(join(folder, "large"));
        const image = uniqueName("large");
        await built(builder, ["-t", image, folder], own.engine);
        const quiet = ["run", "--rm", "--network", "none", image];
        expect(await own.engine.client(builder.cli).ok(...quiet, "cat", "/size")).toBe(
          String(largeMebibytes * mebibyte),
        );
        expect(peakBytes(own)).toBeLessThan(memoryMaxBytes);
        await own.stop();
      },
      longMs,
    );
  });
}
