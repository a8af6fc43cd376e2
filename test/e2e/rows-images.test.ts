/**
 * What people were promised of images and registries, row by row: each is one claim of a public talk
 * on containers, named by its number, as the command line shows it.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Client, clientNames, tugExecutable } from "../support/clients.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { imageId, inFolder, referenceHost, uniqueName } from "../support/engine.ts";
import { testLabel } from "../support/images.ts";
import { at, parseLines } from "../support/json.ts";
import { quote, run, runOk, until } from "../support/process.ts";
import { tar, type TarEntry } from "../support/tar.ts";
import { startTugRegistry, type TugRegistry } from "../support/tug-registry.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });
const ours = describe.skipIf(referenceHost !== undefined);
// Not in the daemon's folder: whoever uses that at the end counts as left over.
const folder = mkdtempSync("/tmp/tugri-");
let registry: TugRegistry;
/** Another machine. */
let other: TestDaemon;

beforeAll(async () => {
  if (referenceHost !== undefined) return;
  registry = await startTugRegistry();
  // docker.io is nowhere to be reached by tests: the registry stands in for it.
  other = await startDaemon({ config: { "registry-mirrors": [registry.url] } });
});
afterAll(async () => {
  await other?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** Builds a Dockerfile, without the deprecation that the docker CLI tells of its old builder. */
async function build(cli: Client, tag: string, lines: readonly string[]): Promise<void> {
  const context = join(folder, uniqueName("context"));
  mkdirSync(context);
  writeFileSync(join(context, "Dockerfile"), lines.join("\n"));
  const env = { DOCKER_BUILDKIT: "0" };
  const label = ["--label", `${testLabel}=1`];
  expect(await cli.run(["build", "-t", tag, ...label, context], { env })).toMatchObject({
    exitCode: 0,
  });
}

/** The program of a client as words of a shell. */
function words(cli: Client, host: string, ...args: readonly string[]): string {
  const program =
    cli.name === "docker" ? "docker" : (process.env["TUG_TEST_EXECUTABLE"] ?? "dist/tug");
  return quote([program, "-H", host, ...args]);
}

for (const name of clientNames) {
  const cli = engine.client(name);

  ours(`registries with ${name}`, () => {
    const there = other?.engine.client(name);
    const far = (): Client => there ?? other.engine.client(name);
    const image = (stem: string): string => `${registry.host}/${name}/${uniqueName(stem)}:1`;

    test("0.43 an image is pulled, and listed then", async () => {
      const ubuntu = image("ubuntu");
      await cli.ok("tag", "busybox", ubuntu);
      await cli.ok("push", ubuntu);
      await cli.ok("rmi", ubuntu);
      expect(await cli.ok("images", "-q", ubuntu)).toBe("");
      await cli.ok("pull", ubuntu);
      expect(await cli.ok("images", "-q", ubuntu)).toMatch(/^[0-9a-f]{12}$/);
    });

    test("0.73 2.11 2.14 3.33 build, push, pull elsewhere: the same image to the last bit", async () => {
      const app = image("ci");
      await build(cli, app, ["FROM busybox", "RUN echo built >/stamp", 'CMD ["cat", "/stamp"]']);
      const digest = /digest: (sha256:\S+)/.exec(await cli.ok("push", app))?.[1] ?? "";
      await far().ok("pull", app);
      expect(await far().ok("run", "--rm", "--network", "none", app)).toBe("built");
      expect(await imageId(other.engine, app)).toBe(await imageId(engine, app));
      // From development to production by digest, whatever the tag becomes meanwhile.
      await cli.ok("tag", "web", app);
      await cli.ok("push", app);
      const promoted = `${app.replace(/:1$/, "")}@${digest}`;
      await far().ok("rmi", app);
      expect(await far().ok("pull", promoted)).toContain(`Digest: ${digest}`);
      expect(await far().ok("run", "--rm", "--network", "none", promoted)).toBe("built");
      const format = "{{index .RepoDigests 0}}";
      expect(await far().ok("image", "inspect", "-f", format, promoted)).toBe(promoted);
      await far().ok("rmi", promoted);
    });

    test("1.02 2.13 a library is searched, and pulled from a mirror by its short name", async () => {
      const nginx = `${registry.host}/library/nginx:latest`;
      await cli.ok("tag", "busybox", nginx);
      await cli.ok("push", "-q", nginx);
      const found = await cli.ok("search", `${registry.host}/nginx`);
      expect(found).toMatch(/^NAME +DESCRIPTION +STARS +OFFICIAL/);
      expect(found).toContain("library/nginx");
      expect(await far().ok("pull", "nginx")).toContain("docker.io/library/nginx:latest");
      expect(await far().ok("pull", "library/nginx")).toContain("Image is up to date");
      expect(await far().ok("images", "--format", "{{.Repository}}", "nginx")).toBe("nginx");
      await far().ok("rmi", "nginx");
    });

    test("1.22 images are signed, and only what is signed comes in and runs", async () => {
      const [signed, unsigned] = [image("signed"), image("unsigned")];
      for (const each of [signed, unsigned]) {
        await cli.ok("tag", "busybox", each);
        await cli.ok("push", "-q", each);
      }
      const tug = engine.client("tug");
      const prefix = join(folder, uniqueName("key"));
      const env = { COSIGN_PASSWORD: "pw" };
      const keys = ["image", "generate-key-pair", "--output-key-prefix", prefix];
      expect(await tug.run(keys, { env })).toMatchObject({ exitCode: 0 });
      const sign = ["image", "sign", "--key", `${prefix}.key`, signed];
      expect(await tug.run(sign, { env })).toMatchObject({ exitCode: 0 });
      await using strict = await startDaemon({ flags: ["--require-signed", `${prefix}.pub`] });
      const guarded = strict.engine.client(name);
      await guarded.ok("pull", signed);
      const quiet = ["run", "--rm", "--network", "none"];
      expect(await guarded.ok(...quiet, signed, "echo", "in")).toBe("in");
      expect(await guarded.fails(...quiet, unsigned, "true")).toMatch(/signature|signed/);
      await strict.engine.ensureImages("busybox");
      expect(await guarded.fails(...quiet, "busybox", "true")).toMatch(/may not be|rule|sign/);
    });

    test("1.37 2.12 a private registry of one's own, with a login", async () => {
      const hash = await Bun.password.hash("pw", { algorithm: "bcrypt", cost: 4 });
      const users = join(folder, uniqueName("users"));
      writeFileSync(users, `u:${hash}\n`);
      await using own = await startTugRegistry({ flags: ["--htpasswd", users] });
      expect((await fetch(`${own.url}/v2/`)).status).toBe(401);
      const authorization = `Basic ${btoa("u:pw")}`;
      expect((await fetch(`${own.url}/v2/`, { headers: { authorization } })).status).toBe(200);
      expect((await fetch(`${registry.url}/v2/`)).status).toBe(200);
      const secret = `${own.host}/private/x:1`;
      await cli.ok("tag", "busybox", secret);
      expect(await cli.fails("push", secret)).toContain("no basic auth credentials");
      const login = ["login", "-u", "u", "--password-stdin", own.host];
      expect(await cli.run(login, { input: "pw" })).toMatchObject({ exitCode: 0 });
      await cli.ok("push", secret);
      await cli.ok("rmi", secret);
      await cli.ok("pull", secret);
      await cli.ok("logout", own.host);
      await cli.ok("rmi", secret);
    });

    test("4.18 what starts anywhere is of the latest version", async () => {
      const app = image("latest");
      const versions: string[] = [];
      for (const version of ["one", "two"]) {
        await build(cli, app, ["FROM busybox", `RUN echo ${version} >/v`, 'CMD ["cat", "/v"]']);
        await cli.ok("push", "-q", app);
        const run = ["run", "--rm", "-q", "--network", "none"];
        versions.push(await far().ok(...run, "--pull", "always", app));
        versions.push(await far().ok(...run, "--pull", "missing", app));
      }
      expect(versions).toEqual(["one", "one", "two", "two"]);
      await far().ok("rmi", "-f", app);
    });

    test("4.25 4.27 no registry is involved: save here, load there", async () => {
      const mine = uniqueName("mine");
      await build(cli, mine, ["FROM web", "RUN echo saved >/s"]);
      const file = inFolder(engine, uniqueName("m.tar"));
      expect(
        await run(["sh", "-c", `${words(cli, engine.host, "save", mine)} >${file}`]),
      ).toMatchObject({ exitCode: 0, stderr: "" });
      expect(await far().ok("load", "-i", file)).toContain(`Loaded image: ${mine}:latest`);
      expect(await far().ok("run", "--rm", "--network", "none", mine, "cat", "/s")).toBe("saved");
      await far().ok("rmi", mine);
      const host = other.engine.host;
      const pipe = `${words(cli, engine.host, "save", mine)} | ${words(cli, host, "load")}`;
      expect(await runOk(["sh", "-c", pipe])).toContain(`Loaded image: ${mine}:latest`);
      expect(await imageId(other.engine, mine)).toBe(await imageId(engine, mine));
      await far().ok("rmi", mine);
    });
  });

  describe(`images with ${name}`, () => {
    test("0.70 what is stored is told, and shared by its content", async () => {
      const format = "{{.Id}} {{len .RootFS.Layers}}";
      expect(await cli.ok("image", "inspect", "busybox", "-f", format)).toMatch(
        /^sha256:[0-9a-f]{64} 1$/,
      );
      await cli.ok("tag", "busybox", `again-${name}`);
      const ids = await cli.ok("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}");
      const idOf = (repository: string): string | undefined =>
        new RegExp(`^${repository} (.*)$`, "m").exec(ids)?.[1];
      expect(idOf(`again-${name}`)).toBe(idOf("busybox") ?? "none");
      const detail = await cli.ok("system", "df", "-v");
      expect(detail).toContain("SHARED SIZE");
      await cli.ok("rmi", `again-${name}`);
    });

    test("1.31 what a container wrote is told by diff, not by history", async () => {
      const container = uniqueName("dd");
      await cli.ok("run", "--network", "none", "--name", container, "busybox", "touch", "/z");
      expect((await cli.ok("diff", container)).split("\n")).toContain("A /z");
      expect(await cli.ok("history", "busybox")).not.toContain("/z");
    });

    test("1.83 2.10 a hot fix is committed: a layer of its own over the same base", async () => {
      const [container, fixed] = [uniqueName("sx"), uniqueName("fixed")];
      const script = "echo x >/f";
      await cli.ok("run", "--network", "none", "--name", container, "busybox", "sh", "-c", script);
      await cli.ok("commit", "-c", 'CMD ["cat","/f"]', "-m", "hot fix", container, fixed);
      expect(await cli.ok("run", "--rm", "--network", "none", fixed)).toBe("x");
      const layers = async (of: string): Promise<string> =>
        await cli.ok("image", "inspect", "-f", "{{json .RootFS.Layers}}", of);
      const own = JSON.parse(await layers(fixed)) as readonly string[];
      const base = JSON.parse(await layers("busybox")) as readonly string[];
      expect(own.slice(0, -1)).toEqual([...base]);
      const history = await cli.ok("history", "--format", "{{.Comment}}|{{.Size}}", fixed);
      expect(history.split("\n")[0]).toMatch(/^hot fix\|\d+B$/);
      await cli.ok("rm", container);
      await cli.ok("rmi", fixed);
    });

    test("2.18 three layers on each other: one base, and what each adds", async () => {
      const stem = uniqueName("demo");
      const parents = ["busybox", `${stem}-debian`, `${stem}-sinatra`, `${stem}-redis`];
      for (const [index, parent] of parents.slice(0, 3).entries()) {
        await build(cli, parents[index + 1] ?? "", [
          `FROM ${parent}`,
          `RUN echo ${index} >/f${index}`,
        ]);
      }
      const format = "{{json .RootFS.Layers}}";
      let below: readonly string[] = [];
      for (const image of parents) {
        const text = await cli.ok("image", "inspect", "-f", format, image);
        const layers = JSON.parse(text) as readonly string[];
        expect(layers.slice(0, -1)).toEqual([...below]);
        below = layers;
      }
      const run = ["run", "--rm", "--network", "none", `${stem}-redis`];
      expect(await cli.ok(...run, "sh", "-c", "cat /f0 /f1 /f2")).toBe("0\n1\n2");
      await cli.ok("rmi", ...parents.slice(1).toReversed());
    });

    test("2.19 2.20 sizes and layers are listed; what adds no file has 0B", async () => {
      const image = uniqueName("sized");
      await build(cli, image, [
        "FROM busybox",
        "LABEL maintainer=me",
        "RUN head -c 1000000 /dev/zero >/m",
        'CMD ["true"]',
      ]);
      const sizes = await cli.ok("images", "--format", "{{.Repository}} {{.Size}}");
      expect(sizes).toMatch(/^busybox 1\.\d+MB$/m);
      expect(sizes).toMatch(new RegExp(`^${image} [23]\\.?\\d*MB$`, "m"));
      const history = await cli.ok(
        "history",
        "--no-trunc",
        "--format",
        "{{.CreatedBy}}|{{.Size}}",
        image,
      );
      const lines = history.split("\n");
      expect(lines[0]).toMatch(/CMD \["true"\]\|0B$/);
      expect(lines.filter((line) => /head -c 1000000 .*\|1(\.\d+)?MB$/.test(line))).toHaveLength(1);
      expect(lines.filter((line) => /maintainer=me\|0B$/.test(line))).toHaveLength(1);
      expect((await cli.ok("history", "-q", image)).split("\n")).toHaveLength(lines.length);
      await cli.ok("rmi", image);
    });

    test("3.31 3.32 what rebuilding leaves is counted and freed; tags of one repository share", async () => {
      const repository = uniqueName("slave");
      for (const version of ["0.1.0", "0.2.0", "latest"]) {
        await build(cli, `${repository}:${version}`, ["FROM busybox", `RUN echo ${version} >/v`]);
      }
      const ids = await cli.ok("images", "--format", "{{.ID}}", repository);
      expect(new Set(ids.split("\n")).size).toBe(3);
      const detail = await engine.api("GET", "/system/df?type=image");
      const shown = JSON.stringify(at(detail.json, "Images"));
      for (const image of JSON.parse(shown) as readonly unknown[]) {
        const tags = JSON.stringify(at(image, "RepoTags"));
        if (!tags.includes(repository)) continue;
        const [size, shared] = [Number(at(image, "Size")), Number(at(image, "SharedSize"))];
        expect(size - shared).toBeLessThan(size / 100);
      }
      // Built again under the same tag, the former is dangling, and prune takes it.
      await build(cli, `${repository}:latest`, ["FROM busybox", "RUN echo anew >/v"]);
      expect(await cli.ok("images", "-qf", "dangling=true")).not.toBe("");
      const [line] = parseLines(await cli.ok("system", "df", "--format", "json"));
      expect(at(line, "Type")).toBe("Images");
      expect(String(at(line, "Size"))).toMatch(/^\d.*B$/);
      const pruned = await cli.ok("image", "prune", "-f");
      expect(pruned).toContain("Total reclaimed space: ");
      // A layer that a build's cache keeps is won with that.
      const cached = await cli.ok("builder", "prune", "-af");
      expect(`${pruned}\n${cached}`).toMatch(/Total(?: reclaimed space)?:\s+[1-9]/);
      expect(await cli.ok("images", "-qf", "dangling=true")).toBe("");
      await cli.ok("rmi", ...["0.1.0", "0.2.0", "latest"].map((tag) => `${repository}:${tag}`));
    });

    test("4.26 a name that is slightly wrong", async () => {
      const file = inFolder(engine, uniqueName("none.tar"));
      await cli.ok("tag", "busybox", "my_image");
      const said = await cli.fails("save", "-o", file, "myimage");
      expect(said).toMatch(/No such image: myimage/);
      // The engine says what is; what may have been meant is the command line's to say.
      if (name === "tug") {
        expect(said).toContain("No such image: myimage (did you mean my_image?)");
        for (const args of [
          ["rmi", "myimage"],
          ["tag", "myimage", "x"],
          ["run", "--pull", "never", "myimage"],
        ]) {
          expect(await cli.fails(...args)).toContain("did you mean my_image?");
        }
      }
      await cli.ok("rmi", "my_image");
    });
  });
}

ours("an engine in a container", () => {
  const inner = ["tug", "-H", "unix:///run/tug.sock"];

  test("4.25 builds and saves there, and the image is loaded outside", async () => {
    // It has the programs of this machine: their folders are where they are here.
    const links = ["bin", "sbin", "lib", "lib64"].map(
      (name): TarEntry => ({ name, type: "symlink", link: `usr/${name}` }),
    );
    const folders = ["etc", "proc", "sys", "dev", "tmp", "run", "usr", "var", "root"].map(
      (name): TarEntry => ({ name: `${name}/`, type: "directory" }),
    );
    await engine.importImage("dind", { archive: tar([...folders, ...links]) });
    for (const name of clientNames) {
      const cli = engine.client(name);
      const container = uniqueName("dind");
      const daemon = [...inner.slice(0, 1), "daemon", ...inner.slice(1)];
      const mounts = ["-v", "/usr:/usr:ro", "-v", `${tugExecutable()}:/opt/tug:ro`];
      const flags = ["--privileged", "--network", "none", "-e", "PATH=/opt:/usr/sbin:/usr/bin"];
      const store = ["-v", "/var/lib/tug"];
      await cli.ok(
        "run",
        "-d",
        "--name",
        container,
        ...flags,
        ...mounts,
        ...store,
        "dind",
        ...daemon,
      );
      const inside = async (...argv: readonly string[]): Promise<string> =>
        await cli.ok("exec", container, ...argv);
      await until(
        async () => (await cli.run(["exec", container, ...inner, "info"])).exitCode === 0,
        () => `the inner engine of ${container} to answer`,
        20_000,
      );
      const base = await cli.run(["save", "busybox"]);
      const loaded = await cli.run(["exec", "-i", container, ...inner, "load"], {
        input: base.stdoutBytes,
      });
      expect(loaded.stdout).toContain("Loaded image: busybox:latest");
      const dockerfile = "FROM busybox\nRUN echo inner >/made\nCMD cat /made\n";
      const script = `mkdir /root/c && printf '${dockerfile}' >/root/c/Dockerfile`;
      await inside("sh", "-c", script);
      await inside(...inner, "build", "-q", "-t", "my_image", "/root/c");
      const run = ["run", "--rm", "--network", "none", "my_image"];
      expect(await inside(...inner, ...run)).toBe("inner");
      await inside(...inner, "save", "-o", "/tmp/my_image.tar", "my_image");
      const saved = await cli.run(["exec", container, "cat", "/tmp/my_image.tar"]);
      const file = inFolder(engine, uniqueName("inner.tar"));
      writeFileSync(file, saved.stdoutBytes);
      expect(await cli.ok("load", "-i", file)).toContain("Loaded image: my_image:latest");
      expect(await cli.ok(...run)).toBe("inner");
      await cli.ok("rm", "-f", "-v", container);
      await cli.ok("rmi", "my_image");
    }
    await engine.api("DELETE", "/images/dind?force=1");
  }, 120_000);
});
