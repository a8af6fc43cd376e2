/** Build caches elsewhere: what one engine has made, another one finds. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Client, clientNames } from "../support/clients.ts";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../support/docker-registry.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const pluginConfig = process.env["TUG_PEER_CONFIG"] ?? "/root/.docker";
const hasBuildx =
  clientNames.includes("docker") && existsSync(join(pluginConfig, "cli-plugins/docker-buildx"));
const names = hasBuildx ? (["tug", "docker"] as const) : (["tug"] as const);
const ours = describe.skipIf(referenceHost !== undefined);
if (!hasDockerRegistry) console.warn("skipped: caches in registries; there is no docker-registry");

setDefaultTimeout(120_000);
const first = await useEngine({ images: ["busybox"] });
const second = await useEngine({ images: [] });
let registry: DockerRegistry | undefined;

beforeAll(async () => {
  // Both have the same image: not one of the same files, made at another time.
  const archive = join(first.folder, "busybox.tar");
  await first.client("tug").ok("save", "-o", archive, "busybox");
  await second.client("tug").ok("load", "-i", archive);
  registry = hasDockerRegistry ? await startDockerRegistry() : undefined;
  for (const { folder } of [first, second]) {
    mkdirSync(join(folder, "client"), { recursive: true });
    if (hasBuildx)
      symlinkSync(join(pluginConfig, "cli-plugins"), join(folder, "client/cli-plugins"));
  }
});
afterAll(async () => {
  for (const { folder } of [first, second])
    rmSync(join(folder, "client"), { recursive: true, force: true });
  await registry?.[Symbol.asyncDispose]();
});

let folderCount = 0;

/** A context with two stages of which one is only copied from; its content is nobody else's. */
function context(): { readonly folder: string; readonly mark: string } {
  folderCount += 1;
  const mark = `mark ${process.pid} ${folderCount}`;
  const folder = mkdtempSync(join(first.folder, "ctx-"));
  const dockerfile = [
    "FROM busybox AS made",
    `RUN echo ${mark} > /made; ln -s made /link; mkdir -m 750 /dir; chown 7:8 /dir; echo x > /dir/f`,
    "FROM busybox",
    "COPY data /data",
    "RUN mkdir -p /deep/er; cat /data > /deep/er/copy; ln /deep/er/copy /hard; rm -r /www || true",
    "COPY --from=made /made /link /taken/",
    "",
  ].join("\n");
  writeFileSync(join(folder, "Dockerfile"), dockerfile);
  writeFileSync(join(folder, "data"), `data of ${mark}`);
  return { folder, mark };
}

interface Built {
  readonly output: string;
  /** Instructions that were found, and those that were done. */
  readonly cached: readonly string[];
  readonly id: string;
}

async function build(client: Client, args: readonly string[]): Promise<Built> {
  folderCount += 1;
  const idFile = join(first.folder, `id${folderCount}`);
  const result = await client.run(["build", "--progress=plain", "--iidfile", idFile, ...args], {
    timeoutMs: 90_000,
  });
  expect({ code: result.exitCode, output: result.stderr }).toMatchObject({ code: 0 });
  return {
    output: result.stderr,
    cached: cachedOf(result.stderr),
    id: readFileSync(idFile, "utf8"),
  };
}

function cachedOf(output: string): readonly string[] {
  const namesOf = new Map(
    Array.from(output.matchAll(/^#(\d+) (\[.*)$/gm), (match) => [match[1], match[2]]),
  );
  return Array.from(output.matchAll(/^#(\d+) CACHED$/gm), (match) => namesOf.get(match[1]) ?? "");
}

const steps = /RUN|COPY/;
const found = ({ cached }: Built): number => cached.filter((name) => steps.test(name)).length;

/** Forgets all builds, so that what is found is found elsewhere. */
async function forget(engine: Engine): Promise<void> {
  await engine.api("DELETE", "/images/spoiled:1?force=1");
  await engine.api("POST", "/images/prune");
  await engine.api("POST", "/build/prune?all=1");
}

ours.each(names)("with %s", (name) => {
  const [a, b] = [first.client(name), second.client(name)];

  test.skipIf(!hasDockerRegistry)("all steps come from a registry, with mode=max", async () => {
    const { folder, mark } = context();
    const ref = `${registry?.host}/cache/${name}:max`;
    const made = await build(a, [
      ...["-t", "cached:1", "--cache-to", `type=registry,ref=${ref},mode=max`, folder],
    ]);
    expect(made.output).toContain("exporting cache to registry");
    expect(made.output).toMatch(/writing cache image manifest sha256:/);
    const again = await build(b, [
      "-t",
      "cached:1",
      "--cache-from",
      `type=registry,ref=${ref}`,
      folder,
    ]);
    expect(again.output).toContain(`importing cache manifest from ${ref}`);
    expect(found(again)).toBe(4);
    expect(again.id).toBe(made.id);
    expect(await b.ok("run", "--rm", "cached:1", "cat", "/taken/link", "/hard")).toBe(
      `${mark}\ndata of ${mark}`,
    );
    // Both send the same image, down to the bytes of its packed layers.
    const digests = await Promise.all(
      [a, b].map(async (client, number) => {
        const tag = `${registry?.host}/pushed/${name}:${number}`;
        await client.ok("tag", "cached:1", tag);
        const output = await client.ok("push", tag);
        return /digest: (sha256:\w+)/.exec(output)?.[1];
      }),
    );
    expect(digests[0]).toStartWith("sha256:");
    expect(digests[1]).toBe(digests[0] ?? "");
    // What was brought is in this engine's own cache now.
    expect(found(await build(b, [folder]))).toBe(4);
  });

  test.skipIf(!hasDockerRegistry)("those of the last stage alone, with mode=min", async () => {
    const { folder } = context();
    const ref = `${registry?.host}/cache/${name}:min`;
    await build(a, ["--cache-to", `type=registry,ref=${ref},mode=min`, folder]);
    const again = await build(b, ["--cache-from", ref, folder]);
    expect(found(again)).toBe(3);
    expect(again.cached.filter((step) => /^\[made .*RUN/.test(step))).toEqual([]);
  });

  test.skipIf(!hasDockerRegistry)("an image has the cache of its own layers in it", async () => {
    const { folder } = context();
    const ref = `${registry?.host}/inline/${name}:1`;
    const made = await build(a, ["-t", ref, "--cache-to", "type=inline", "--push", folder]);
    const again = await build(b, ["--cache-from", ref, "--cache-to", "type=inline", folder]);
    expect(found(again)).toBe(3);
    expect(again.id).toBe(made.id);
  });

  test("an image that is here is asked before its registry", async () => {
    const { folder } = context();
    await build(a, ["-t", "inline-here:1", "--cache-to", "type=inline", folder]);
    await first.api("POST", "/build/prune?all=1");
    const again = await build(a, [
      "--cache-from",
      "inline-here:1",
      "--cache-to",
      "type=inline",
      folder,
    ]);
    expect(found(again)).toBe(3);
  });

  test("a folder of the client's holds a cache, as an image layout", async () => {
    const { folder } = context();
    const dest = join(first.folder, `cache-${name}`);
    const made = await build(a, ["--cache-to", `type=local,dest=${dest},mode=max`, folder]);
    expect(made.output).toContain("exporting cache to client directory");
    expect(JSON.parse(readFileSync(join(dest, "oci-layout"), "utf8"))).toEqual({
      imageLayoutVersion: "1.0.0",
    });
    const from = ["--cache-from", `type=local,src=${dest}`];
    const again = await build(b, [...from, folder]);
    expect(again.output).toContain("importing cache manifest from local:");
    expect(found(again)).toBe(4);
    expect(again.id).toBe(made.id);
    // The same again changes nothing, and leaves nothing behind.
    await build(b, [...from, "--cache-to", `type=local,dest=${dest},mode=max`, folder]);
    expect(JSON.parse(readFileSync(join(dest, "index.json"), "utf8")).manifests).toHaveLength(1);
    if (name === "tug")
      expect(readdirSync(dest).toSorted()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  test("a cache that is not there is told, and the build goes on", async () => {
    const { folder } = context();
    const built = await build(a, [
      ...["--cache-from", "type=registry,ref=127.0.0.1:1/no/cache:1"],
      ...["--cache-from", `type=local,src=${join(first.folder, "nowhere")}`, folder],
    ]);
    expect(built.output).toMatch(/importing cache manifest from 127\.0\.0\.1:1\/no\/cache:1/);
    expect(built.output).toMatch(/ERROR/);
    expect(found(built)).toBe(0);
  });

  test("a cache that cannot be written fails the build, unless that is to be ignored", async () => {
    const { folder } = context();
    const to = "type=registry,ref=127.0.0.1:1/no/cache:1,compression=lzma";
    expect(await a.fails("build", "--cache-to", to, folder)).toMatch(/compression type: lzma/);
    await build(a, ["--cache-to", `${to},ignore-error=true`, folder]);
  });
});

ours("the classic builder", () => {
  test("takes steps of local images that it is told of, and leaves out those that are not there", async () => {
    const { folder, mark } = context();
    const client = first.client("tug");
    const inline = ["--cache-to", "type=inline", "--build-arg", "X=1"];
    await build(client, ["-t", "classic:1", ...inline, folder]);
    await first.api("POST", "/build/prune?all=1");
    const classic = async (cacheFrom: readonly string[]): Promise<string> => {
      const query = new URLSearchParams({ cachefrom: JSON.stringify(cacheFrom), t: "classic:2" });
      const body = tar(
        ["Dockerfile", "data"].map((name) => ({
          name,
          content: readFileSync(join(folder, name)),
        })),
      );
      const headers = { "Content-Type": "application/x-tar" };
      return (await first.api("POST", `/build?${query}`, body, { headers })).text;
    };
    const output = await classic(["not/here:1", "classic:1"]);
    expect(output).toContain("Successfully built");
    expect(output.match(/Using cache/g)?.length).toBe(3);
    expect(await client.ok("run", "--rm", "classic:2", "cat", "/taken/link")).toBe(mark);
    await client.ok("rmi", "-f", "classic:1", "classic:2");
    await first.api("POST", "/images/prune");
    await first.api("POST", "/build/prune?all=1");
    expect(await classic([])).not.toContain("Using cache");
    await client.ok("rmi", "-f", "classic:2");
  });
});

ours("a daemon that is killed", () => {
  test("while it brings a layer leaves nothing of it, and the next one brings it again", async () => {
    const folder = mkdtempSync(join(first.folder, "ctx-"));
    const command = "dd if=/dev/urandom of=/big bs=1M count=40";
    writeFileSync(join(folder, "Dockerfile"), `FROM busybox\nRUN ${command}\n`);
    const dest = join(first.folder, "cache-killed");
    await build(first.client("tug"), ["--cache-to", `type=local,dest=${dest},mode=max`, folder]);
    const { daemon } = second;
    const client = second.client("tug");
    const args = ["--cache-from", `type=local,src=${dest}`, folder];
    for (const delayMs of [300, 450, 600]) {
      const building = client.start(["build", "--progress=plain", ...args]);
      await Bun.sleep(delayMs);
      await daemon?.kill9();
      await building[Symbol.asyncDispose]();
      await daemon?.restart();
      expect(readdirSync(join(daemon?.dataRoot ?? "", "content/ingest"))).toEqual([]);
      await forget(second);
    }
    expect(found(await build(client, args))).toBe(1);
  });
});

ours("a hostile cache", () => {
  /** A cache of a build, whose blobs a test spoils. */
  async function spoiled(
    spoil: (cache: { readonly dest: string; readonly config: Config }) => void,
  ): Promise<Built & { readonly mark: string }> {
    const { folder, mark } = context();
    const dest = mkdtempSync(join(first.folder, "hostile-"));
    await build(first.client("tug"), ["--cache-to", `type=local,dest=${dest},mode=max`, folder]);
    const index = json(join(dest, "index.json"));
    const manifestPath = blobPath(dest, index.manifests[0].digest);
    const manifest = json(manifestPath);
    const config: Config = json(blobPath(dest, manifest.config.digest));
    spoil({ dest, config });
    manifest.config = put(dest, manifest.config, config);
    index.manifests[0] = put(dest, index.manifests[0], manifest);
    writeFileSync(join(dest, "index.json"), JSON.stringify(index));
    await forget(second);
    const client = second.client("tug");
    const built = await build(client, [
      "-t",
      "spoiled:1",
      "--cache-from",
      `type=local,src=${dest}`,
      folder,
    ]);
    const script = ["cat", "/taken/link", "/hard"];
    expect(await client.ok("run", "--rm", "spoiled:1", ...script)).toBe(`${mark}\ndata of ${mark}`);
    return { ...built, mark };
  }

  interface Config {
    layers: { blob: string; parent: number; annotations: Record<string, unknown> }[];
    records: { digest: string; layers: object[]; inputs?: object }[];
  }

  const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));
  const blobPath = (dest: string, digest: string): string =>
    join(dest, "blobs/sha256", digest.replace("sha256:", ""));
  const put = <T extends object>(dest: string, descriptor: T, document: object): T => {
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
    writeFileSync(blobPath(dest, digest), bytes);
    return { ...descriptor, digest, size: bytes.length };
  };

  test("that is whole is used: what follows is no accident", async () => {
    expect(found(await spoiled(() => undefined))).toBe(4);
  });

  test("that names wrong diff IDs is not believed", async () => {
    const built = await spoiled(({ config }) => {
      for (const layer of config.layers) layer.annotations["diffID"] = `sha256:${"1".repeat(64)}`;
    });
    expect(found(built)).toBe(0);
  });

  test("whose layers are exchanged, or lack, makes the steps run", async () => {
    const built = await spoiled(({ dest, config }) => {
      const [one, two, ...others] = config.layers;
      for (const layer of others) rmSync(blobPath(dest, layer.blob), { force: true });
      const kept = one === undefined ? "" : blobPath(dest, one.blob);
      if (two !== undefined) cpSync(kept, blobPath(dest, two.blob));
    });
    expect(found(built)).toBeLessThanOrEqual(1);
  });

  test("of circles, nonsense and numbers that lead nowhere is read as far as it goes", async () => {
    const built = await spoiled(({ config }) => {
      for (const [number, layer] of config.layers.entries())
        layer.parent = number === 0 ? 3 : number - 1;
      for (const record of config.records)
        record.inputs = [[{ link: 0 }, { link: 99 }, { link: -1 }]];
      config.records.unshift({ digest: config.records[0]?.digest ?? "", layers: [{ layer: 1e9 }] });
    });
    expect(found(built)).toBe(4);
  });

  test("with a document beyond all bounds is left alone", async () => {
    const built = await spoiled(({ config }) => {
      for (let count = 0; count < 9; count += 1) {
        config.layers.push({ blob: "x".repeat(1 << 20), parent: -1, annotations: {} });
      }
    });
    expect(found(built)).toBe(0);
    expect(built.output).toMatch(/ERROR.*too large/);
  });
});
