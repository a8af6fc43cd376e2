/**
 * What people were promised of builds, row by row: each is one claim of a public talk on containers,
 * named by its number, as the command line shows it.
 */
import { describe, expect, test } from "bun:test";
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { builders, linkPlugins } from "../support/builders.ts";
import { inFolder, uniqueName } from "../support/engine.ts";
import { rootTar } from "../support/images.ts";
import { describeResult, type Result, runOk, type RunOptions } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const secretText = "s3cr3t-of-the-test";

linkPlugins(engine);

/** Makes a context. @returns its path */
function context(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = inFolder(engine, uniqueName("context"));
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

for (const builder of builders) {
  const cli = engine.client(builder.cli);
  const plain = builder.isBuildkit ? ["--progress=plain"] : [];
  const build = async (
    args: readonly string[],
    options: RunOptions & { readonly plain?: readonly string[] } = {},
  ): Promise<Result> =>
    await cli.run(["build", ...plain, ...args], {
      timeoutMs: 60_000,
      ...options,
      env: { ...builder.env, ...options.env },
    });
  /** Builds what must succeed. @returns all that it said */
  const built = async (args: readonly string[], options: RunOptions = {}): Promise<string> => {
    const result = await build(args, options);
    if (result.exitCode !== 0)
      assert.fail(describeResult([builder.name, "build", ...args], result));
    return `${result.stdout}${result.stderr}`;
  };
  /** Builds a Dockerfile of lines without any file beside it. */
  const builtLines = async (
    lines: readonly string[],
    ...args: readonly string[]
  ): Promise<string> => await built([...args, "-"], { input: `${lines.join("\n")}\n` });
  const refused = async (files: Readonly<Record<string, string>>): Promise<string> => {
    const result = await build([context(files)]);
    expect(result.exitCode).not.toBe(0);
    return `${result.stdout}${result.stderr}`;
  };
  const inImage = async (image: string, ...argv: readonly string[]): Promise<string> =>
    await cli.ok("run", "--rm", image, ...argv);
  /** How many steps the cache spared. */
  const cachedCount = (said: string): number => [...said.matchAll(/CACHED|Using cache/g)].length;
  const name = (stem: string): string => uniqueName(stem);

  describe(`builds with ${builder.name}`, () => {
    test("0.46 from a folder, and from a git repository", async () => {
      const image = name("xy");
      const folder = context({ Dockerfile: "FROM busybox\nCOPY f /f\n", f: "hello\n" });
      await built(["-t", image, folder]);
      expect(await inImage(image, "cat", "/f")).toBe("hello");
      if (!builder.isBuildkit) return;
      const git = async (...args: readonly string[]): Promise<string> =>
        await runOk(["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", ...args]);
      await git("init", "-q", "-b", "main");
      await git("add", ".");
      await git("commit", "-qm", "one");
      const port = 26_000 + (process.pid % 3_000);
      const argv = ["git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1"];
      const served = Bun.spawn([...argv, `--port=${port}`, `--base-path=${folder}`, folder], {
        stderr: "ignore",
      });
      try {
        await Bun.sleep(300);
        await built(["-t", image, `git://127.0.0.1:${port}/.git#main`]);
        expect(await inImage(image, "cat", "/f")).toBe("hello");
      } finally {
        served.kill();
      }
    });
    test("0.51 only what has changed is made again", async () => {
      const lines = "FROM busybox\nRUN echo slow > /slow\nCOPY app.conf /app.conf\n";
      const folder = context({ Dockerfile: lines, "app.conf": `1 ${name("v")}` });
      await built([folder]);
      const changed = `2 ${name("v")}`;
      writeFileSync(join(folder, "app.conf"), changed);
      const image = name("changed");
      const said = await built(["-t", image, folder]);
      expect(cachedCount(said)).toBeGreaterThan(0);
      expect(said).not.toMatch(/COPY app.conf.*\n.*(CACHED|Using cache)/);
      expect(await inImage(image, "cat", "/app.conf")).toBe(changed);
    });
    test("1.01 the same sources make the same image", async () => {
      const folder = context({
        Dockerfile: "FROM busybox\nCOPY f /f\nRUN echo made > /made && mkdir /d && echo x > /d/x\n",
        f: "f",
      });
      const ids: string[] = [];
      for (const round of ["1", "2"]) {
        if (round === "2") await Bun.sleep(1_100);
        const image = name("same");
        const arg = ["--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
        await built(["--no-cache", ...arg, "-t", image, folder]);
        ids.push(await cli.ok("image", "inspect", "-f", "{{.Id}}", image));
      }
      expect(ids[0]).toBe(ids[1] ?? "");
    });
    test("1.18 USER keeps root out", async () => {
      const image = name("user");
      await builtLines(["FROM busybox", "USER 1000"], "-t", image);
      expect(await inImage(image, "id", "-u")).toBe("1000");
    });
    test("1.21 the history tells what was run, and a build can be checked", async () => {
      const image = name("checked");
      await builtLines(["FROM busybox", "RUN echo x > /x"], "-t", image);
      expect(await cli.ok("history", "--no-trunc", image)).toContain("RUN");
      if (!builder.isBuildkit) return;
      const folder = context({ Dockerfile: "FROM busybox\nENV A=1\nCMD echo $A\n" });
      const checked = await build(["--check", folder], { plain: [] });
      expect(`${checked.stdout}${checked.stderr}`).toContain("JSONArgsRecommended");
    });
    test("1.20 a bill of materials goes with an image", async () => {
      if (builder.cli !== "tug") return;
      const target = inFolder(engine, name("sbom.tar"));
      const folder = context({ Dockerfile: "FROM busybox\nRUN echo x > /x\n" });
      await built(["--sbom=true", "-o", `type=oci,dest=${target}`, folder]);
      const files = (await runOk(["tar", "-tf", target])).split("\n");
      const blobs = files.filter((file) => /^blobs\/sha256\/.{64}$/.test(file));
      const texts = await Promise.all(
        blobs.map(async (blob) => await runOk(["tar", "-xOf", target, blob])),
      );
      expect(texts.some((text) => text.includes("https://spdx.dev/Document"))).toBe(true);
    });
    test("1.38 the version is `latest` when nobody says one", async () => {
      const image = `r/${name("i")}`;
      await builtLines(["FROM busybox", "LABEL a=1"], "-t", image);
      expect(await cli.ok("images", "--format", "{{.Tag}}", image)).toBe("latest");
    });
    test("1.39 1.40 the cache is used, and left alone with --no-cache", async () => {
      const lines = ["FROM busybox", "RUN echo cache > /c", "RUN echo more > /m"];
      await builtLines(lines);
      expect(cachedCount(await builtLines(lines))).toBeGreaterThan(1);
      const anew = await builtLines(lines, "--no-cache");
      expect(anew).not.toMatch(/(RUN echo.*\n.*(CACHED|Using cache))/);
    });
    test("1.51 each instruction has its line in the history", async () => {
      const image = name("anatomy");
      await builtLines(["FROM busybox", "RUN echo x > /x", 'CMD ["cat", "/x"]'], "-t", image);
      const base = (await cli.ok("history", "-q", "busybox")).split("\n").length;
      expect((await cli.ok("history", "-q", image)).split("\n")).toHaveLength(base + 2);
      expect(await inImage(image)).toBe("x");
    });
    test("1.52 a container is made from a step below the image", async () => {
      if (builder.isBuildkit) return;
      const said = await builtLines([
        "FROM busybox",
        "RUN echo 1 > /1",
        "RUN echo 2 > /2",
        "RUN echo 3 > /3",
      ]);
      const ids = [...said.matchAll(/^ ---> ([0-9a-f]{12})$/gm)].map(([, id]) => id ?? "");
      const listed = await inImage(ids[1] ?? "", "ls", "/");
      expect(listed).toMatch(/^1$/m);
      expect(listed).not.toMatch(/^2$/m);
    });
    test("1.53 a short name is one of the official library", async () => {
      const said = await refused({ Dockerfile: "FROM no-such-base-of-the-test:8\n" });
      expect(said).toMatch(
        /docker\.io\/library\/no-such-base-of-the-test:8|no-such-base-of-the-test/,
      );
    });
    test("1.54 a base is made of an archive alone", async () => {
      const image = name("rootfs");
      const folder = context({
        Dockerfile: 'FROM scratch\nADD rootfs.tar /\nCMD ["sh", "-c", "echo from scratch"]\n',
        "rootfs.tar": rootTar(),
      });
      await built(["-t", image, folder]);
      expect(await inImage(image)).toBe("from scratch");
    });
    test("1.57 LABEL is inspected", async () => {
      const image = name("label");
      await builtLines(["FROM busybox", 'LABEL author="some one"'], "-t", image);
      expect(await cli.ok("inspect", "-f", "{{.Config.Labels.author}}", image)).toBe("some one");
    });
    test("1.58 EXPOSE is published with -P", async () => {
      const image = name("expose");
      await builtLines(["FROM busybox", "EXPOSE 8080", 'CMD ["sleep", "60"]'], "-t", image);
      const id = await cli.ok("run", "-d", "-P", "--label", "tugtest=1", image);
      expect(await cli.ok("port", id)).toMatch(/^8080\/tcp -> /m);
    });
    test("1.59 RUN is a matter of /bin/sh, unless SHELL says another", async () => {
      const image = name("shell");
      const lines = [
        "FROM busybox",
        "RUN echo $0 > /0",
        'SHELL ["/bin/ash", "-c"]',
        "RUN echo $0 > /1",
      ];
      await builtLines(lines, "-t", image);
      expect(await inImage(image, "cat", "/0", "/1")).toBe("/bin/sh\n/bin/ash");
    });
    test("1.60 VOLUME makes an anonymous volume with what the image has there", async () => {
      const image = name("vol");
      await builtLines(
        ["FROM busybox", "RUN mkdir /data && echo seed > /data/s", "VOLUME /data"],
        "-t",
        image,
      );
      const id = await cli.ok("run", "-d", image, "cat", "/data/s");
      expect(await cli.ok("inspect", "-f", "{{len .Mounts}}", id)).toBe("1");
      await cli.ok("wait", id);
      expect(await cli.ok("logs", id)).toBe("seed");
    });
    test("1.61 1.62 COPY copies, ADD unpacks and fetches", async () => {
      const server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: () => new Response("fetched\n"),
      });
      try {
        const image = name("add");
        const folder = context({
          Dockerfile: `FROM busybox\nCOPY f /f\nADD a.tar /x/\nADD http://127.0.0.1:${server.port}/g /g\n`,
          f: "copied\n",
          "a.tar": rootTar({
            changes: [],
            entries: [{ name: "in-archive", content: "unpacked\n" }],
          }),
        });
        await built(["-t", image, folder]);
        const texts = await inImage(image, "cat", "/f", "/x/in-archive", "/g");
        expect(texts).toBe("copied\nunpacked\nfetched");
      } finally {
        await server.stop(true);
      }
    });
    test("1.63 --chmod", async () => {
      const image = name("chmod");
      const folder = context({ Dockerfile: "FROM busybox\nCOPY --chmod=755 f /f\n", f: "f" });
      await built(["-t", image, folder]);
      expect(await inImage(image, "stat", "-c", "%a", "/f")).toBe("755");
    });
    test("1.64 1.73 the last stage has the binary and not the tools", async () => {
      const image = name("ms");
      const lines = [
        "FROM busybox AS builder",
        "RUN dd if=/dev/urandom of=/tools bs=1k count=2000 2>/dev/null && echo binary > /out",
        "FROM busybox",
        "COPY --from=builder /out /out",
      ];
      await builtLines(lines, "-t", image);
      await builtLines(lines, "-t", `${image}-builder`, "--target", "builder");
      expect(await inImage(image, "cat", "/out")).toBe("binary");
      await cli.fails("run", "--rm", image, "test", "-e", "/tools");
      const size = async (of: string): Promise<number> =>
        Number(await cli.ok("image", "inspect", "-f", "{{.Size}}", of));
      expect(await size(image)).toBeLessThan(await size(`${image}-builder`));
    });
    test("1.65 1.66 ENV is a default that a run changes without another build", async () => {
      const image = name("env");
      const lines = ["FROM busybox", "ENV A=1", "RUN echo $A > /a"];
      await builtLines(lines, "-t", image);
      expect(await cli.ok("run", "--rm", "-e", "A=2", image, "sh", "-c", "echo $A")).toBe("2");
      expect(await inImage(image, "sh", "-c", "echo $A")).toBe("1");
      expect(cachedCount(await builtLines(lines))).toBeGreaterThan(0);
    });
    test("1.67 WORKDIR lasts, cd does not", async () => {
      const image = name("wd");
      await builtLines(
        ["FROM busybox", "WORKDIR /w", "RUN cd /etc && pwd > /tmp/1", "RUN pwd > /tmp/2"],
        "-t",
        image,
      );
      expect(await inImage(image, "pwd")).toBe("/w");
      expect(await inImage(image, "cat", "/tmp/1", "/tmp/2")).toBe("/etc\n/w");
    });
    test("1.68 ARG makes anew what stands behind it", async () => {
      const lines = ["FROM busybox", "RUN echo before > /b", "ARG V=1", "RUN echo $V > /v"];
      const image = name("arg");
      await builtLines(lines);
      const said = await builtLines(lines, "--build-arg", "V=2", "-t", image);
      expect(await inImage(image, "cat", "/v")).toBe("2");
      expect(cachedCount(said)).toBeGreaterThan(0);
    });
    test("1.69 a secret is nowhere in the image, an ARG is, and the lint says so", async () => {
      if (!builder.isBuildkit) return;
      const image = name("secret");
      const folder = context({
        Dockerfile:
          "FROM busybox\nARG MY_TOKEN\nRUN --mount=type=secret,id=s wc -c < /run/secrets/s > /count\n",
        s: secretText,
      });
      const said = await built(["--secret", `id=s,src=${join(folder, "s")}`, "-t", image, folder]);
      expect(said).toContain("SecretsUsedInArgOrEnv");
      expect(said).not.toContain(secretText);
      expect(await cli.ok("history", "--no-trunc", image)).not.toContain(secretText);
      expect(await inImage(image, "cat", "/count")).toBe(String(secretText.length));
      const saved = inFolder(engine, name("saved.tar"));
      await cli.ok("save", "-o", saved, image);
      expect(readFileSync(saved).includes(secretText)).toBe(false);
    });
    test("1.70 1.71 1.72 ENTRYPOINT and CMD", async () => {
      const image = name("ep");
      await builtLines(["FROM busybox", 'ENTRYPOINT ["echo"]', 'CMD ["from cmd"]'], "-t", image);
      expect(await inImage(image)).toBe("from cmd");
      expect(await inImage(image, "a", "b")).toBe("a b");
      const bare = name("bare");
      const folder = context({ Dockerfile: "FROM scratch\nCOPY f /\n", f: "f" });
      await built(["-t", bare, folder]);
      expect(await cli.fails("run", "--rm", bare)).toContain("no command specified");
    });
    test("2.15 a Dockerfile of 2014: MAINTAINER, lines that go on, EXPOSE, ENTRYPOINT", async () => {
      const image = name("redis");
      const lines = [
        "FROM busybox",
        'MAINTAINER James Turnbull "james@example.com"',
        "ENV REFRESHED_AT 2014-06-01",
        "RUN true && \\",
        "    echo redis > /redis",
        "EXPOSE 6379",
        'ENTRYPOINT ["/bin/cat", "/redis"]',
        "CMD []",
      ];
      await builtLines(lines, "-t", image);
      expect(await cli.ok("inspect", "-f", "{{.Author}}", image)).toContain("Turnbull");
      expect(await inImage(image)).toBe("redis");
    });
    test("2.16 a line that was broken without a backslash is named", async () => {
      const said = await refused({
        Dockerfile: "FROM busybox\nRUN apt-get -yqq update && apt-get -yqq\ninstall ruby\n",
      });
      expect(said).toMatch(/unknown instruction: install/i);
      expect(said).toMatch(/line 3/);
    });
    test("2.17 ONBUILD is triggered in the child", async () => {
      const [parent, child] = [name("ob"), name("obc")];
      await builtLines(["FROM busybox", "ONBUILD RUN touch /ob"], "-t", parent);
      await cli.fails("run", "--rm", parent, "test", "-e", "/ob");
      await builtLines([`FROM ${parent}`], "-t", child);
      await inImage(child, "test", "-e", "/ob");
    });
    test("2.20 the history tells sizes", async () => {
      const image = name("sizes");
      await builtLines(["FROM busybox", "RUN echo xx > /x", "CMD true"], "-t", image);
      const [cmd = "", ran = ""] = (
        await cli.ok("history", "--format", "{{.CreatedBy}} {{.Size}}", image)
      ).split("\n");
      expect(cmd).toMatch(/CMD.* 0B$/);
      expect(ran).toMatch(/RUN.* 3B$/);
    });
    test("2.30 2.31 images are made on images", async () => {
      const [parent, child] = [name("parent"), name("child")];
      await builtLines(["FROM busybox", "ENV FROM_PARENT=1", "RUN echo p > /p"], "-t", parent);
      await builtLines([`FROM ${parent}`, "RUN echo $FROM_PARENT$(cat /p) > /c"], "-t", child);
      expect(await inImage(child, "cat", "/c")).toBe("1p");
    });
    test("3.16 FROM MAINTAINER ADD ENV EXPOSE RUN USER VOLUME WORKDIR CMD ENTRYPOINT", async () => {
      const image = name("eleven");
      const folder = context({
        Dockerfile: [
          ...["FROM busybox", "MAINTAINER me", "ADD f /f", "ENV E=1", "EXPOSE 1"],
          ...["RUN chmod 644 /f", "USER 1000", "VOLUME /v", "WORKDIR /w", 'CMD ["/f"]'],
          ...['ENTRYPOINT ["cat"]', ""],
        ].join("\n"),
        f: "all eleven\n",
      });
      await built(["-t", image, folder]);
      expect(await inImage(image)).toBe("all eleven");
    });
    test("3.17 4.16 lines with \\ and ENV without =, which is warned of", async () => {
      const image = name("legacy");
      const lines = [
        "FROM busybox",
        "RUN echo 1 > /1; \\",
        "    echo twitter:x:1001:1001::/home/twitter:/bin/sh >> /etc/passwd \\",
        "    && mkdir -p /home/twitter",
        "USER twitter",
        "ENV HOME /home/twitter",
        "ENV PKGS a b c",
      ];
      const said = await builtLines(lines, "-t", image);
      expect(await inImage(image, "sh", "-c", "echo $(id -un) $HOME $PKGS")).toBe(
        "twitter /home/twitter a b c",
      );
      if (builder.isBuildkit) expect(said).toContain("LegacyKeyValueFormat");
    });
    test("4.07 a script that is echoed with \\n\\ is there byte by byte", async () => {
      const image = name("echoed");
      const lines = [
        "FROM busybox",
        "RUN echo -e '\\n\\",
        // Docker: a line of a comment is none of the instruction, wherever it stands, seen in 28.5
        "#!/bin/sh\\n\\",
        " echo backed up\\n\\",
        "' >> /backup.sh",
      ];
      await builtLines(lines, "-t", image);
      expect(await inImage(image, "sh", "/backup.sh")).toBe("backed up");
      expect((await cli.run(["run", "--rm", image, "cat", "/backup.sh"])).stdout).toBe(
        "\n echo backed up\n\n",
      );
    });
    test("4.12 4.13 what an image wrote goes into the next one", async () => {
      const [first, second] = [name("gen"), name("i2")];
      await builtLines(["FROM busybox", 'CMD ["sh", "-c", "echo zone $((6*7))"]'], "-t", first);
      const generated = (await cli.run(["run", "--rm", "-i", first])).stdout;
      expect(generated).not.toContain("\r");
      const folder = context({
        Dockerfile: "FROM busybox\nCOPY named.conf /etc/named.conf\n",
        "named.conf": generated,
      });
      await built(["-t", second, folder]);
      const shown = await cli.run(["run", "--rm", second, "cat", "/etc/named.conf"]);
      expect(shown.stdout).toBe(generated);
    });
    test("4.14 a comment behind an instruction is explained", async () => {
      const said = await refused({
        Dockerfile: "FROM busybox\nADD f /etc/named.conf  ### DUMMY NAMED FILE ###\n",
        f: "f",
      });
      expect(said).toMatch(/'#' begins a comment only at the start of a line|not found/);
      expect(said).toMatch(/comment/);
    });
    test("4.15 braces are as sh takes them", async () => {
      const image = name("braces");
      await builtLines(
        ["FROM busybox", "RUN mkdir -p /zones/data/{internal,external}"],
        "-t",
        image,
      );
      expect(await inImage(image, "ls", "/zones/data")).toBe("{internal,external}");
    });
    test("4.19 the result goes to a folder", async () => {
      if (!builder.isBuildkit) return;
      const target = inFolder(engine, name("out"));
      const folder = context({
        Dockerfile:
          "FROM busybox AS b\nRUN printf '#!/bin/sh\\necho ran\\n' > /bin1 && chmod 755 /bin1\nFROM scratch\nCOPY --from=b /bin1 /tool\n",
      });
      await built(["-o", `type=local,dest=${target}`, folder]);
      expect(await runOk([join(target, "tool")])).toBe("ran");
    });
    test("4.20 a list in single quotes is words", async () => {
      const image = name("quotes");
      await builtLines(["FROM busybox", "VOLUME ['/mnt']"], "-t", image);
      expect(await cli.ok("inspect", "-f", "{{json .Config.Volumes}}", image)).toBe(
        `{"[/mnt]":{}}`,
      );
    });
    test("4.21 a list without its instruction is named", async () => {
      const said = await refused({ Dockerfile: 'FROM busybox\n["/bin/cp", "a", "b"]\n' });
      expect(said).toMatch(/unknown instruction: \["\/bin\/cp",/i);
      expect(said).toMatch(/line 2/);
    });
    test("4.35 the smallest image is one program", async () => {
      const image = name("smallest");
      const folder = context({
        Dockerfile: 'FROM scratch\nCOPY --chmod=755 busybox /\nCMD ["/busybox", "echo", "Hello"]\n',
        busybox: readFileSync("/bin/busybox"),
      });
      await built(["-t", image, folder]);
      expect(await inImage(image)).toBe("Hello");
      const size = Number(await cli.ok("image", "inspect", "-f", "{{.Size}}", image));
      expect(size).toBe(readFileSync("/bin/busybox").length);
    });
  });
}
