/**
 * What lies around builds in BuildKit's protocol, with its real clients: annotations, records of
 * builds, questions instead of builds, several platforms, ssh, the cache's bounds.
 *
 * `TUG_PEER_CONFIG` names a DOCKER_CONFIG folder that has the plugins.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Client, clientNames } from "../support/clients.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { run } from "../support/process.ts";
import { startTugRegistry, type TugRegistry } from "../support/tug-registry.ts";
import { useEngine } from "../support/use-engine.ts";

// Each runs several clients.
setDefaultTimeout(60_000);

const pluginConfig = process.env["TUG_PEER_CONFIG"] ?? "/root/.docker";
const plugin = (name: string): string => join(pluginConfig, "cli-plugins", `docker-${name}`);
const hasBuildx = existsSync(plugin("buildx")) && clientNames.includes("docker");
const hasCompose = hasBuildx && existsSync(plugin("compose"));
const hasAgent =
  ["ssh-agent", "ssh-keygen"].every((name) => Bun.which(name) !== null) &&
  existsSync("/usr/bin/ssh-add");
/** Needs its whole path. */
const sshd = Bun.which("sshd", { PATH: "/usr/sbin:/usr/local/sbin:/usr/bin" });
const foreignHandler = "/proc/sys/fs/binfmt_misc/qemu-aarch64";
if (!hasBuildx) {
  console.warn(
    "skipped: the surface of BuildKit's protocol. Run it with TUG_PEER_CONFIG=<a DOCKER_CONFIG " +
      `folder with cli-plugins/docker-buildx>; there is none in ${pluginConfig}.`,
  );
}
if (hasBuildx && sshd === null) console.warn("skipped: git over ssh: there is no openssh-server.");
if (hasBuildx && !hasAgent) console.warn("skipped: ssh in builds: there is no openssh-client.");

const engine = await useEngine({ images: ["busybox"] });
const docker: Client = engine.client("docker");
let registry: TugRegistry;
let folderCount = 0;

beforeAll(async () => {
  const config = join(engine.folder, "client");
  mkdirSync(config, { recursive: true });
  if (!hasBuildx) return;
  symlinkSync(join(pluginConfig, "cli-plugins"), join(config, "cli-plugins"));
  registry = await startTugRegistry();
});
afterAll(async () => {
  rmSync(join(engine.folder, "client/cli-plugins"), { force: true });
  if (hasBuildx) await registry[Symbol.asyncDispose]();
});

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

/** What `docker build` prints, which must go well. */
async function build(...args: readonly string[]): Promise<string> {
  const result = await docker.run(["build", "--progress=plain", ...args], { timeoutMs: 60_000 });
  expect({ code: result.exitCode, output: result.stderr }).toMatchObject({ code: 0 });
  return result.stderr;
}

async function buildFails(...args: readonly string[]): Promise<string> {
  return await docker.fails("build", "--progress=plain", ...args);
}

/** All files of a tar, by name. */
async function unpack(path: string): Promise<(name: string) => string> {
  const folder = `${path}.files`;
  mkdirSync(folder);
  const { exitCode, stderr } = await run(["tar", "-xf", path, "-C", folder]);
  expect(exitCode, stderr).toBe(0);
  return (name) => readFileSync(join(folder, name), "utf8");
}

const blob = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
/** Copies ssh-add into a root. */
const copyProgram =
  'program=/usr/bin/ssh-add; for file in "$program" ' +
  "$(ldd $program | grep -o '/[^ ]*'); do mkdir -p \"$1$(dirname $file)\" && " +
  'cp -L "$file" "$1$file" || exit 1; done';
/** Makes a bare repository of a folder. */
const makeRepository =
  'cd "$1" && git init -q -b main && git add . && ' +
  'git -c user.name=n -c user.email=e commit -qm m && git clone -q --bare . "$2"';

/** A server that lets a key in, as whoever runs the test. */
async function startSshServer(key: string) {
  const folder = join(engine.folder, `sshd${folderCount}`);
  mkdirSync(folder, { mode: 0o700 });
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const hostKey = join(folder, "host");
  await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey]);
  const free = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const { port } = free;
  free.stop(true);
  const config = join(folder, "config");
  const lines = [`ListenAddress 127.0.0.1:${port}`, `HostKey ${hostKey}`, "StrictModes no"];
  lines.push("PasswordAuthentication no", "UsePAM no", `PidFile ${join(folder, "pid")}`);
  lines.push(`AuthorizedKeysFile ${key}.pub`, "PermitRootLogin prohibit-password");
  writeFileSync(config, `${lines.join("\n")}\n`);
  const server = Bun.spawn([sshd ?? "", "-D", "-e", "-f", config], { stderr: "pipe" });
  const end = performance.now() + 10_000;
  while (
    performance.now() < end &&
    (await run(["ssh-keyscan", "-p", `${port}`, "127.0.0.1"])).stdout === ""
  ) {
    await Bun.sleep(50);
  }
  return {
    port,
    close: async (): Promise<void> => {
      server.kill();
      await server.exited;
    },
  };
}
const scratch = "FROM scratch\nCOPY Dockerfile /\n";
const bothPlatforms = ["--platform", "linux/amd64,linux/arm64"];

describe.skipIf(!hasBuildx)("annotations", () => {
  test("go into manifest, index and what the index says of a manifest", async () => {
    const folder = context(scratch);
    const out = join(engine.folder, "annotated.tar");
    await build(
      ...bothPlatforms,
      ...["--annotation", "k=v", "--annotation", "manifest[linux/arm64]:k=arm"],
      ...["--annotation", "index:i=1", "--annotation", "manifest-descriptor:d=2"],
      ...["--provenance=false", "-o", `type=oci,dest=${out}`, folder],
    );
    const read = await unpack(out);
    const layout: unknown = JSON.parse(read("index.json"));
    const index: unknown = JSON.parse(read(blob(textAt(layout, "manifests", 0, "digest"))));
    expect(at(index, "annotations")).toEqual({ i: "1" });
    expect(at(index, "manifests", 1, "annotations")).toEqual({ d: "2" });
    const [amd64, arm64] = listAt(index, "manifests").map((each): unknown =>
      JSON.parse(read(blob(textAt(each, "digest")))),
    );
    expect(at(amd64, "annotations")).toEqual({ k: "v" });
    expect(at(arm64, "annotations")).toEqual({ k: "arm" });
  });

  test("are pushed, and seen in the registry", async () => {
    const name = `${registry.host}/annotated:1`;
    const output = ["-o", `type=image,name=${name},push=true`];
    await build("--annotation", "k=v", "--provenance=false", ...output, context(scratch));
    const raw = await docker.ok("buildx", "imagetools", "inspect", "--raw", name);
    expect(at(JSON.parse(raw), "annotations")).toEqual({ k: "v" });
  });

  test("without a place are refused, and so are attributes of outputs that nobody serves", async () => {
    const folder = context(scratch);
    const out = join(engine.folder, "refused");
    const oci = `type=oci,dest=${out}`;
    for (const [args, reason] of [
      [["--annotation", "index:k=v", "--provenance=false", "-o", oci], "index annotations not"],
      [["-o", `${oci},nonsense=1`], "does not support nonsense"],
      [["-o", `${oci},compression-level=3`], "does not support compression-level"],
      [["-o", `type=local,dest=${out}.folder,compression=zstd`], "does not support compression"],
    ] as const) {
      expect(await buildFails(...args, folder)).toContain(reason);
    }
  });
});

test.skipIf(!hasBuildx)("layers of archives are packed as asked", async () => {
  const folder = context(scratch);
  for (const [compression, suffix] of [
    ["gzip", "+gzip"],
    ["zstd", "+zstd"],
    ["uncompressed", ""],
  ]) {
    const out = join(engine.folder, `${compression}.tar`);
    const output = `type=oci,dest=${out},compression=${compression}`;
    await build("--provenance=false", "-o", output, folder);
    const read = await unpack(out);
    const layout: unknown = JSON.parse(read("index.json"));
    const manifest: unknown = JSON.parse(read(blob(textAt(layout, "manifests", 0, "digest"))));
    const wanted = `application/vnd.oci.image.layer.v1.tar${suffix}`;
    expect(textAt(manifest, "layers", 0, "mediaType")).toBe(wanted);
  }
});

describe.skipIf(!hasBuildx)("arguments of the builder's own", () => {
  test("name the machine that a step sees, and keep caches apart", async () => {
    const hosts = context("FROM busybox\nRUN hostname; grep -c elsewhere /etc/hosts\n");
    const named = await build("--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=elsewhere", hosts);
    expect(named).toMatch(/^#\d+ [\d.]+ elsewhere\n#\d+ [\d.]+ 1$/m);
    const folder = context(
      "FROM busybox\nRUN --mount=type=cache,target=/c touch /c/$(date +%s) && sleep 1; ls /c | wc -l\n",
    );
    await build("--no-cache", folder);
    const again = ["--no-cache", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=other", folder];
    expect(await build(...again)).toMatch(/^#\d+ [\d.]+ 1$/m);
    expect(await build(...again)).toMatch(/^#\d+ [\d.]+ 2$/m);
  });

  test("that are not served are refused by name", async () => {
    const folder = context("FROM busybox\n");
    for (const [argument, reason] of [
      ["BUILDKIT_SYNTAX=other/frontend:1", 'frontend "other/frontend:1" is not served'],
      ["BUILDKIT_MULTI_PLATFORM=1", "multi-platform is not supported"],
    ] as const) {
      expect(await buildFails("--build-arg", argument, folder)).toContain(reason);
    }
    const other = context("# syntax=other/frontend:1\nFROM busybox\n");
    expect(await buildFails(other)).toContain('frontend "other/frontend:1" is not served');
    await build("--build-arg", "BUILDKIT_SYNTAX=docker/dockerfile:1", folder);
  });
});

describe.skipIf(!hasBuildx)("records of builds", () => {
  const history = async (...args: readonly string[]): Promise<string> =>
    await docker.ok("buildx", "history", ...args);
  const refs = async (...args: readonly string[]): Promise<readonly string[]> => {
    const lines = await history("ls", "--no-trunc", "--format", "json", ...args);
    const found = lines.split("\n").filter((line) => line !== "");
    return found.map((line) => textAt(JSON.parse(line), "ref").replace(/^.*\//, ""));
  };

  test("tell how builds went, with what they printed, until they are removed", async () => {
    const metadata = join(engine.folder, "metadata.json");
    await history("rm", "--all");
    const good = context("FROM busybox\nRUN echo from the good\n");
    await build("--metadata-file", metadata, "--build-arg", "Q=7", "--no-cache", good);
    const written: unknown = JSON.parse(readFileSync(metadata, "utf8"));
    const ref = textAt(written, "buildx.build.ref");
    expect(textAt(written, "buildx.build.provenance", "materials", 0, "uri")).toContain("busybox");
    await buildFails(context("FROM busybox\nRUN echo from the bad; exit 3\n"));
    const [bad = "", first] = await refs();
    expect(ref.endsWith(`/${first}`)).toBe(true);
    expect(await refs("--filter", "status=error")).toEqual([bad]);
    expect(await history("inspect", bad)).toMatch(/Error:.*exit code: 3/);
    const inspected = await history("inspect", ref.replace(/^.*\//, ""));
    expect(inspected).toMatch(/Build Steps:\s+\d+\/\d+/);
    expect(inspected).toMatch(/Q\s+7/);
    const logs = await docker.run(["buildx", "history", "logs", bad]);
    expect(logs.stderr).toContain("from the bad");
    await history("rm", bad);
    expect(await refs()).not.toContain(bad);
    await history("rm", "--all");
    expect(await refs()).toEqual([]);
    expect(await docker.fails("buildx", "history", "inspect", bad)).toContain("no record found");
  });

  test("tell of a build while it runs, which cannot be removed", async () => {
    await history("rm", "--all");
    const folder = context("FROM busybox\nRUN sleep 4\n");
    const building = build("--no-cache", folder);
    let running: readonly string[] = [];
    const end = performance.now() + 10_000;
    while (running.length === 0 && performance.now() < end) {
      running = await refs("--filter", "status=running");
    }
    expect(running.length).toBe(1);
    expect(await history("inspect", running[0] ?? "")).toContain("(running)");
    expect(await docker.fails("buildx", "history", "rm", running[0] ?? "")).toContain("running");
    await building;
    expect(await refs("--filter", "status=completed")).toEqual(running);
  });
});

describe.skipIf(!hasBuildx)("questions instead of builds", () => {
  const dockerfile =
    "ARG BASE=busybox\n# base is what the others stand on\nFROM ${BASE} AS base\n" +
    "# USERNAME is who runs it\nARG USERNAME=joe\n" +
    "RUN --mount=type=secret,id=tok,required=true true\nFROM base as Final\nENV a b\n";
  const ask = async (...args: readonly string[]) =>
    await docker.run(["buildx", "build", "--progress=quiet", ...args, context(dockerfile)]);

  test("a check tells what is unusual, and fails", async () => {
    const { stdout, exitCode } = await ask("--check");
    expect(stdout).toContain("StageNameCasing");
    expect(stdout).toContain("LegacyKeyValueFormat");
    expect(stdout).toContain(">>> FROM base as Final");
    expect(exitCode).not.toBe(0);
  });

  test("an outline tells arguments and secrets; targets are told with what they are", async () => {
    const outline = await ask("--call", "outline", "--target", "base");
    expect(outline.stdout).toMatch(/DESCRIPTION:\s+is what the others stand on/);
    expect(outline.stdout).toMatch(/USERNAME\s+joe\s+is who runs it/);
    expect(outline.stdout).toMatch(/tok\s+true/);
    const targets = await ask("--call", "targets");
    expect(targets.stdout).toMatch(/base\s+is what the others stand on/);
    expect((await ask("--call", "nonsense")).stderr).toContain("unsupported request");
  });

  test("bake shows what it would build, and builds what variables and matrices make", async () => {
    const folder = context("FROM busybox\n", {
      "docker-bake.hcl":
        'variable "V" { default = "one" }\n' +
        'target "m" {\n  name = "m-${i}"\n  matrix = { i = ["p", "q"] }\n' +
        '  dockerfile-inline = "FROM busybox\\nARG X\\nRUN echo $X > /x\\n"\n' +
        '  args = { X = "${V}-${i}" }\n  tags = ["surface:${i}"]\n}\n',
    });
    const bake = async (...args: readonly string[]) =>
      await docker.run(["buildx", "bake", ...args], { cwd: folder, timeoutMs: 60_000 });
    const printed = await bake("--print", "m");
    const plan: unknown = JSON.parse(printed.stdout);
    expect(at(plan, "target", "m-q", "args")).toEqual({ X: "one-q" });
    const baked = await bake("--set", "m-q.args.X=set", "m");
    expect(baked.exitCode, baked.stderr).toBe(0);
    expect(await docker.ok("run", "--rm", "surface:p", "cat", "/x")).toBe("one-p");
    expect(await docker.ok("run", "--rm", "surface:q", "cat", "/x")).toBe("set");
    expect((await bake("--check", "m")).stdout).toContain("Check complete");
  });
});

test.skipIf(!hasCompose)(
  "compose builds with all that a service may say of its build",
  async () => {
    const folder = context("FROM busybox\nRUN false\n", {
      token: "hush",
      "compose.yaml":
        "name: surface\nservices:\n  one:\n    image: surface:compose\n    build:\n" +
        "      context: .\n      dockerfile_inline: |\n        FROM other AS wanted\n" +
        "        ARG A\n" +
        "        RUN --mount=type=secret,id=s test $$(cat /run/secrets/s) = hush\n" +
        "        RUN echo $$A > /a; grep -c 1.2.3.4 /etc/hosts >> /a; ulimit -n >> /a\n" +
        "        FROM busybox\n        RUN false\n" +
        "      target: wanted\n      args: { A: hello }\n      secrets: [s]\n" +
        "      cache_from: [busybox]\n      labels: { q: w }\n      no_cache: true\n" +
        '      additional_contexts: { other: "docker-image://busybox" }\n' +
        '      extra_hosts: ["foo=1.2.3.4"]\n      ulimits: { nofile: 1000 }\n' +
        "      platforms: [linux/amd64]\n      tags: [surface:second]\n" +
        "secrets:\n  s: { file: token }\n",
    });
    const result = await docker.run(["compose", "build"], { cwd: folder, timeoutMs: 60_000 });
    expect(result.exitCode, result.stderr).toBe(0);
    const script = ["run", "--rm", "surface:second", "cat", "/a"];
    expect(await docker.ok(...script)).toBe("hello\n1\n1000");
    const label = ["image", "inspect", "-f", "{{.Config.Labels.q}}", "surface:compose"];
    expect(await docker.ok(...label)).toBe("w");
  },
);

if (existsSync(foreignHandler)) {
  console.warn("skipped: failing commands for arm64: this machine runs them.");
}

describe.skipIf(!hasBuildx)("several platforms", () => {
  test("are one image here, and in a registry", async () => {
    const name = `${registry.host}/multi:1`;
    const folder = context("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /bin/which\n", {
      amd64: "#!/amd64",
      arm64: "#!/arm64",
    });
    await build(...bothPlatforms, "--provenance=false", "-t", name, folder);
    const architecture = async (...args: readonly string[]): Promise<string> =>
      await docker.ok("image", "inspect", "-f", "{{.Architecture}}", ...args, name);
    expect(await architecture()).toBe("amd64");
    expect(await architecture("--platform", "linux/arm64")).toBe("arm64");
    expect(await docker.ok("images", "--tree", name)).toMatch(/linux\/amd64.*linux\/arm64/s);
    for (const platform of ["linux/amd64", "linux/arm64"]) {
      const id = await docker.ok("create", "--platform", platform, name, "/bin/which");
      const copy = await run([
        "sh",
        "-c",
        `docker -H ${engine.host} export ${id} | tar -xO bin/which`,
      ]);
      expect(copy.stdout).toBe(`#!/${platform.slice(6)}`);
    }
    await docker.ok("push", name);
    const raw: unknown = JSON.parse(
      await docker.ok("buildx", "imagetools", "inspect", "--raw", name),
    );
    const platforms = listAt(raw, "manifests").map((each) => at(each, "platform", "architecture"));
    expect(platforms).toEqual(["amd64", "arm64"]);
  });

  test.skipIf(existsSync(foreignHandler))(
    "commands for another architecture fail with what is missing",
    async () => {
      const folder = context("FROM scratch\nCOPY --chmod=755 sh /bin/sh\nRUN echo hi\n");
      const binary = await run(["sh", "-c", "readlink -f /bin/true | xargs cat | base64 -w0"]);
      const bytes = Buffer.from(binary.stdout, "base64");
      // The machine in an ELF header: 183 is arm64.
      bytes.writeUInt16LE(183, 18);
      writeFileSync(join(folder, "sh"), bytes);
      const output = await buildFails("--platform", "linux/arm64", folder);
      expect(output).toContain("The step is for linux/arm64");
      expect(output).toContain("binfmt-support");
    },
  );
});

describe.skipIf(!hasBuildx || !hasAgent)("ssh", () => {
  /** An agent with one key, as long as `use` runs. */
  async function withAgent(use: (agent: { socket: string; key: string }) => Promise<void>) {
    folderCount += 1;
    const [socket, key] = [`agent${folderCount}`, `key${folderCount}`].map((name) =>
      join(engine.folder, name),
    ) as [string, string];
    const agent = Bun.spawn(["ssh-agent", "-D", "-a", socket], { stdout: "ignore" });
    try {
      await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "surface-key", "-f", key]);
      while (!existsSync(socket)) await Bun.sleep(20);
      const added = await run(["ssh-add", key], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
      expect(added.exitCode, added.stderr).toBe(0);
      await use({ socket, key });
    } finally {
      agent.kill();
      await agent.exited;
    }
  }

  test("a step asks the client's agent, with the keys that it has", async () => {
    const folder = context(
      'FROM scratch\nCOPY root /\nRUN --mount=type=ssh ["/usr/bin/ssh-add", "-l"]\n',
      { "root/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" },
    );
    // The program with its libraries, each at its own place.
    const copied = await run(["sh", "-c", copyProgram, "sh", join(folder, "root")]);
    expect(copied.exitCode, copied.stderr).toBe(0);
    await withAgent(async ({ socket }) => {
      const output = await build("--no-cache", "--ssh", `default=${socket}`, folder);
      expect(output).toMatch(/^#\d+ [\d.]+ 256 SHA256:\S+ surface-key \(ED25519\)$/m);
      expect(await buildFails("--no-cache", folder)).toMatch(/ssh/i);
    });
  });

  test.skipIf(sshd === null)("repositories are fetched with the client's agent", async () => {
    await withAgent(async ({ socket, key }) => {
      const { port, close } = await startSshServer(key);
      try {
        const repository = join(engine.folder, "repository.git");
        const files = context("FROM scratch\nCOPY Dockerfile /from-git\n");
        const made = await run(["sh", "-c", makeRepository, "sh", files, repository]);
        expect(made.exitCode, made.stderr).toBe(0);
        const url = `ssh://root@127.0.0.1:${port}${repository}`;
        const ssh = ["--ssh", `default=${socket}`];
        await build(...ssh, "-t", "surface:git", url);
        const add = context(`FROM scratch\nADD ${url}#main /added\n`);
        await build(...ssh, "-t", "surface:added", add);
        const id = await docker.ok("create", "surface:added", "x");
        const tar = await run(["sh", "-c", `docker -H ${engine.host} export ${id} | tar -t`]);
        expect(tar.stdout).toContain("added/Dockerfile");
        expect(await buildFails("--no-cache", `ssh://root@127.0.0.1:${port}/none.git`)).toMatch(
          /ERROR/,
        );
      } finally {
        await close();
      }
    });
  });
});

test.skipIf(!hasBuildx)("a builder of the kind `remote` needs nothing but the socket", async () => {
  const folder = context("FROM scratch\nCOPY blob /blob\n");
  const bytes = Buffer.alloc(3_000_000, Bun.hash("blob").toString());
  writeFileSync(join(folder, "blob"), bytes);
  const out = join(engine.folder, "remote.tar");
  await docker.ok("buildx", "create", "--name", "far", "--driver", "remote", engine.host);
  try {
    expect(await docker.ok("buildx", "--builder", "far", "inspect", "--bootstrap")).toMatch(
      /Status:\s+running/,
    );
    const built = ["buildx", "--builder", "far", "build", "-o", `type=tar,dest=${out}`, folder];
    const { exitCode, stderr } = await docker.run(built, { timeoutMs: 60_000 });
    expect(exitCode, stderr).toBe(0);
    const copy = await run(["sh", "-c", `tar -xOf ${out} blob | cmp - ${join(folder, "blob")}`]);
    expect(copy.exitCode, copy.stdout).toBe(0);
  } finally {
    await docker.ok("buildx", "rm", "far");
  }
});

describe.skipIf(!hasBuildx)("the cache", () => {
  test("is pruned to bounds, by each of their names", async () => {
    // What an image has as well counts for the image.
    const out = `type=tar,dest=${join(engine.folder, "big.tar")}`;
    const folder = context("FROM busybox\nRUN head -c 300000 /dev/urandom > /big\n");
    await build("--no-cache", "-o", out, folder);
    const prune = async (...args: readonly string[]): Promise<string> =>
      await docker.ok("buildx", "prune", "-f", ...args);
    for (const flag of ["--max-used-space", "--reserved-space", "--keep-storage"]) {
      expect(await prune(flag, "10gb")).toMatch(/Total:\s+0B/);
    }
    expect(await prune("--min-free-space", "1kb")).toMatch(/Total:\s+0B/);
    expect(await docker.ok("buildx", "du", "--verbose")).toContain("/big");
    await prune("-a", "--max-used-space", "1kb");
    expect(await docker.ok("buildx", "du", "--verbose")).not.toContain("/big");
  });

  test("goes with the rest of what nothing uses", async () => {
    await build("--no-cache", context("FROM busybox\nRUN echo unused > /unused\n"));
    expect(await docker.ok("system", "prune", "-f")).toContain("Total reclaimed space:");
    expect(await docker.ok("buildx", "du", "--verbose")).not.toContain("echo unused");
    expect(await docker.ok("buildx", "--builder", "default", "ls")).toContain("running");
  });
});
