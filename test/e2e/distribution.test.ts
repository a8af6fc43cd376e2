/** `pull`, `push`, `login` and what else talks to registries, with Debian's docker-registry. */
import { afterAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientNames } from "../support/clients.ts";
import { startDaemon } from "../support/daemon.ts";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../support/docker-registry.ts";
import { type Engine, imageId, referenceHost, uniqueName } from "../support/engine.ts";
import type { Answer } from "../support/http.ts";
import { testLabel } from "../support/images.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { until } from "../support/process.ts";
import { type RegistryProxy, startRegistryProxy } from "../support/registry-proxy.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const ours = describe.skipIf(referenceHost !== undefined || !hasDockerRegistry);
const mebibyte = 1024 * 1024;
const engine = await useEngine({ images: ["busybox"] });
const registry: DockerRegistry = await startDockerRegistry();
afterAll(async () => await registry[Symbol.asyncDispose]());

/** The `X-Registry-Auth` of credentials. */
const authHeader = (username: string, password: string): Readonly<Record<string, string>> => ({
  "X-Registry-Auth": Buffer.from(JSON.stringify({ username, password })).toString("base64url"),
});

interface Line {
  readonly status?: string;
  readonly id?: string;
  readonly error?: string;
  readonly aux?: { readonly Digest: string };
}

const linesOf = (answer: Answer): readonly Line[] =>
  answer.text
    .split("\r\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);

const lastStatus = (answer: Answer): string => {
  const last = linesOf(answer).at(-1);
  return last?.error ?? last?.status ?? answer.message;
};

const pull = async (on: Engine, name: string, headers: Readonly<Record<string, string>> = {}) => {
  const colon = name.lastIndexOf(":");
  const query = new URLSearchParams({
    fromImage: name.slice(0, colon),
    tag: name.slice(colon + 1),
  });
  return await on.api("POST", `/images/create?${query}`, undefined, { headers });
};

const push = async (on: Engine, name: string, headers: Readonly<Record<string, string>> = {}) => {
  const colon = name.lastIndexOf(":");
  const path = `/images/${name.slice(0, colon)}/push?tag=${name.slice(colon + 1)}`;
  return await on.api("POST", path, undefined, { headers });
};

const isHere = async (on: Engine, name: string): Promise<boolean> =>
  (await on.api("GET", `/images/${name}/json`)).status === 200;

const removeImage = async (on: Engine, name: string): Promise<void> =>
  void (await on.api("DELETE", `/images/${name}?force=1`));

/** Imports an image of noise, which does not compress, and pushes it. @returns its name */
const publishNoise = async (host: string, sizeBytes: number): Promise<string> => {
  const name = `${host}/${uniqueName("noise")}:1`;
  const archive = tar([{ name: "noise", content: randomBytes(sizeBytes) }]);
  await engine.importImage(name, { archive, changes: ["LABEL noise=1"] });
  expect(lastStatus(await push(engine, name))).toBe("");
  return name;
};

for (const name of clientNames) {
  const cli = engine.client(name);

  ours(`with ${name}`, () => {
    test("an image goes to a registry and comes back, by tag and by digest", async () => {
      const image = `${registry.host}/${uniqueName("app")}:1`;
      await cli.ok("tag", "busybox", image);
      const id = await imageId(engine, image);
      const said = await cli.ok("push", image);
      const digest = /1: digest: (sha256:[0-9a-f]{64}) size: \d+/.exec(said)?.[1] ?? "";
      expect(digest).not.toBe("");
      const byDigest = `${image.replace(/:1$/, "")}@${digest}`;
      expect(await cli.ok("images", "--digests", image.replace(/:1$/, ""))).toContain(digest);
      expect(await cli.ok("rmi", image)).toContain(`Untagged: ${byDigest}`);
      expect(await cli.ok("pull", "-q", image)).toBe(image);
      expect(await imageId(engine, image)).toBe(id);
      expect(await cli.ok("run", "--rm", "--net", "none", byDigest, "echo", "hi")).toBe("hi");
      await cli.ok("rmi", image);
      expect(await cli.ok("pull", byDigest)).toContain(`Digest: ${digest}`);
      expect(await cli.ok("rmi", byDigest)).toContain(`Untagged: ${byDigest}`);
      expect(await cli.fails("run", "--pull", "never", byDigest)).toContain("No such image");
    });

    test("-a sends and brings all tags", async () => {
      const repository = `${registry.host}/${uniqueName("all")}`;
      for (const tag of ["1", "2", "3"]) await cli.ok("tag", "busybox", `${repository}:${tag}`);
      await cli.ok("push", "-a", repository);
      for (const tag of ["1", "2", "3"]) await cli.ok("rmi", `${repository}:${tag}`);
      await cli.ok("pull", "-a", repository);
      for (const tag of ["1", "2", "3"])
        expect(await isHere(engine, `${repository}:${tag}`)).toBe(true);
    });

    test("a registry's refusals are said", async () => {
      const none = `${registry.host}/${uniqueName("none")}:1`;
      expect(await cli.fails("pull", none)).toContain(
        `manifest for ${none} not found: manifest unknown: manifest unknown`,
      );
      expect(await cli.fails("push", none)).toContain(
        `An image does not exist locally with the tag: ${none.replace(/:1$/, "")}`,
      );
    });
  });
}

ours("pull", () => {
  test("what was pulled goes back bit for bit, elsewhere too", async () => {
    const name = await publishNoise(registry.host, 10_000);
    const digest = linesOf(await push(engine, name)).at(-1)?.aux?.Digest;
    await removeImage(engine, name);
    await pull(engine, name);
    await using second = await startDockerRegistry();
    const copy = `${second.host}/copy:9`;
    await engine.api("POST", `/images/${name}/tag?repo=${second.host}/copy&tag=9`);
    expect(linesOf(await push(engine, copy)).at(-1)?.aux?.Digest).toBe(digest ?? "none");
    await removeImage(engine, copy);
    await removeImage(engine, name);
  });

  test("chooses a platform of an index, and keeps both", async () => {
    const repository = `${registry.host}/${uniqueName("multi")}`;
    const manifests = [];
    for (const architecture of ["amd64", "arm64"]) {
      const source = `${repository}:${architecture}`;
      const query = new URLSearchParams({
        fromSrc: "-",
        repo: repository,
        tag: architecture,
        platform: `linux/${architecture}`,
      });
      const archive = tar([{ name: "arch", content: architecture }]);
      await engine.api("POST", `/images/create?${query}`, archive);
      const aux = linesOf(await push(engine, source)).at(-1)?.aux;
      manifests.push({
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest: aux?.Digest,
        size: at(aux, "Size"),
        platform: { os: "linux", architecture },
      });
      await removeImage(engine, source);
    }
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const index = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
    const path = repository.slice(registry.host.length + 1);
    const put = await fetch(`${registry.url}/v2/${path}/manifests/latest`, {
      method: "PUT",
      headers: { "Content-Type": mediaType },
      body: index,
    });
    expect(put.status).toBe(201);
    const digest = put.headers.get("docker-content-digest") ?? "";
    const query = `fromImage=${repository}&tag=latest`;
    const ids: string[] = [];
    for (const architecture of ["arm64", "amd64"]) {
      const said = await engine.api(
        "POST",
        `/images/create?${query}&platform=linux/${architecture}`,
      );
      expect(said.text).toContain(`Digest: ${digest}`);
      const image = (await engine.api("GET", `/images/${repository}/json`)).json;
      expect(at(image, "Architecture")).toBe(architecture);
      expect(at(image, "RepoDigests")).toEqual([`${repository}@${digest}`]);
      ids.push(textAt(image, "Id"));
    }
    const lack = await engine.api("POST", `/images/create?${query}&platform=linux/s390x`);
    expect(`${lack.status} ${lack.message}`).toBe(
      "404 no matching manifest for linux/s390x in the manifest list entries",
    );
    const described = await engine.api("GET", `/distribution/${repository}/json`);
    expect(at(described.json, "Descriptor", "digest")).toBe(digest);
    expect(listAt(at(described.json, "Platforms"))).toHaveLength(2);
    // Both are here: the index goes back as it came.
    expect(linesOf(await push(engine, `${repository}:latest`)).at(-1)?.aux?.Digest).toBe(digest);
    for (const id of ids) await removeImage(engine, id);
  });

  test("two at once fetch each blob once, and one that is canceled does not harm the other", async () => {
    const name = await publishNoise(registry.host, 6 * mebibyte);
    await removeImage(engine, name);
    await using proxy = await startRegistryProxy(registry.host);
    proxy.bytesPerSecond = 6 * mebibyte;
    const there = name.replace(registry.host, proxy.host);
    const gone = new AbortController();
    const canceled = engine
      .api("POST", `/images/create?fromImage=${there}`, undefined, { signal: gone.signal })
      .catch((error: unknown) => error);
    await until(
      () => proxy.blobs.some((blob) => blob.sizeBytes > 200_000),
      () => "a transfer to begin",
    );
    const others = [pull(engine, there), pull(engine, there)];
    await Bun.sleep(100);
    gone.abort();
    expect(await canceled).toBeInstanceOf(Error);
    for (const answer of await Promise.all(others)) {
      expect(lastStatus(answer)).toBe(`Status: Downloaded newer image for ${there}`);
    }
    const digests = proxy.blobs.map((blob) => blob.digest);
    expect(digests.length).toBe(new Set(digests).size);
    await removeImage(engine, there);
  });

  test("the daemon answers at once while layers come and are unpacked", async () => {
    const name = await publishNoise(registry.host, 60 * mebibyte);
    await removeImage(engine, name);
    const pulling = pull(engine, name);
    let isDone = false;
    void pulling.then(() => (isDone = true));
    const times: number[] = [];
    while (!isDone) {
      const start = performance.now();
      await engine.api("GET", "/_ping");
      times.push(performance.now() - start);
      await Bun.sleep(5);
    }
    expect(lastStatus(await pulling)).toContain("Downloaded newer image");
    times.sort((a, b) => a - b);
    expect(times[Math.floor(times.length / 2)]).toBeLessThan(25);
    expect(times.at(-1)).toBeLessThan(400);
    await removeImage(engine, name);
  }, 30_000);

  test("a layer that the registry changed is refused, and fetched once it is right", async () => {
    const name = await publishNoise(registry.host, 300_000);
    const image = (await engine.api("GET", `/distribution/${name}/json`)).json;
    await removeImage(engine, name);
    const manifest = await fetch(
      `${registry.url}/v2/${name.slice(registry.host.length + 1).replace(":", "/manifests/")}`,
      { headers: { Accept: textAt(image, "Descriptor", "mediaType") } },
    );
    const layer = textAt(await manifest.json(), "layers", 0, "digest");
    const hex = layer.slice("sha256:".length);
    const blobs = join(registry.folder, "data/docker/registry/v2/blobs/sha256");
    const path = join(blobs, hex.slice(0, 2), hex, "data");
    const bytes = new Uint8Array(await Bun.file(path).arrayBuffer());
    const bad = Uint8Array.from(bytes);
    bad[bad.length - 1000] = (bad[bad.length - 1000] ?? 0) ^ 1;
    writeFileSync(path, bad);
    expect(lastStatus(await pull(engine, name))).toContain(layer);
    expect(await isHere(engine, name)).toBe(false);
    writeFileSync(path, bytes);
    truncateSync(path, bytes.length - 10);
    expect(linesOf(await pull(engine, name)).at(-1)?.error).toBeDefined();
    expect(await isHere(engine, name)).toBe(false);
    writeFileSync(path, bytes);
    expect(lastStatus(await pull(engine, name))).toContain("Downloaded newer image");
    await removeImage(engine, name);
  });

  test("imports from a URL", async () => {
    await using server = serveBytes(tar([{ name: "f", content: "x" }]));
    const query = new URLSearchParams({ fromSrc: server.url, repo: "from-url" });
    const answer = await engine.api("POST", `/images/create?${query}`);
    expect(linesOf(answer)[0]?.status).toBe(`Downloading from ${server.url}`);
    expect(linesOf(answer).at(-1)?.status).toBe(await imageId(engine, "from-url"));
    const lost = await engine.api("POST", `/images/create?fromSrc=${server.url}no`);
    expect(`${lost.status} ${lost.message}`).toMatch(/^404 failed to GET .*no with status 404/);
    await removeImage(engine, "from-url");
  });

  test("a name that cannot be, is refused before a byte is sent", async () => {
    const statusOf = async (query: string): Promise<string> => {
      const { status, message } = await engine.api("POST", `/images/create?${query}`);
      return `${status} ${message}`;
    };
    expect(await statusOf("fromImage=Bad&tag=1")).toBe(
      "400 invalid reference format: repository name (library/Bad) must be lowercase",
    );
    expect(await statusOf("fromImage=a&tag=b%20c")).toBe("400 invalid tag format");
    expect(await statusOf("fromImage=scratch&tag=1")).toBe("403 'scratch' is a reserved name");
    expect(await statusOf("fromImage=a&tag=1&platform=a/b/c/d")).toContain("400 ");
    expect(await statusOf("fromSrc=ftp://a/b")).toContain('unsupported protocol scheme "ftp"');
  });
});

function serveBytes(bytes: Uint8Array) {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: ({ url }) =>
      new URL(url).pathname === "/" ? new Response(bytes) : new Response("", { status: 404 }),
  });
  return {
    url: `http://127.0.0.1:${server.port}/`,
    [Symbol.asyncDispose]: async () => await server.stop(true),
  };
}

ours("push", () => {
  test("a second one sends nothing, another repository's blobs are mounted", async () => {
    await using proxy = await startRegistryProxy(registry.host);
    const name = `${proxy.host}/${uniqueName("twice")}:1`;
    const archive = tar([{ name: "f", content: randomBytes(20_000) }]);
    await engine.importImage(name, { archive, changes: [`LABEL ${testLabel}=1`] });
    expect(linesOf(await push(engine, name)).map((line) => line.status)).toContain("Pushed");
    const sent = proxy.requests.length;
    const again = await push(engine, name);
    expect(linesOf(again).map((line) => line.status)).toContain("Layer already exists");
    const writes = proxy.requests.slice(sent).filter((line) => !/^(GET|HEAD)/.test(line));
    expect(writes).toHaveLength(1);
    expect(writes[0]).toContain("/manifests/");
    const other = `${proxy.host}/${uniqueName("mount")}`;
    await engine.api("POST", `/images/${name}/tag?repo=${other}&tag=1`);
    const path = name.slice(proxy.host.length + 1).replace(/:1$/, "");
    expect(linesOf(await push(engine, `${other}:1`)).map((line) => line.status)).toContain(
      `Mounted from ${path}`,
    );
  });

  test("a committed image goes out and comes back the same", async () => {
    const container = await engine.runDetached({
      Image: "busybox",
      Cmd: ["sh", "-c", "echo made >/made"],
    });
    await engine.api("POST", `/containers/${container}/wait`);
    const repository = `${registry.host}/${uniqueName("commit")}`;
    const made = await engine.api(
      "POST",
      `/commit?container=${container}&repo=${repository}&tag=1`,
    );
    expect(made.status).toBe(201);
    await engine.api("DELETE", `/containers/${container}`);
    const name = `${repository}:1`;
    expect(lastStatus(await push(engine, name))).toBe("");
    const id = await imageId(engine, name);
    await removeImage(engine, name);
    await pull(engine, name);
    expect(await imageId(engine, name)).toBe(id);
    const cli = engine.client("docker");
    expect(await cli.ok("run", "--rm", "--net", "none", name, "cat", "/made")).toBe("made");
    await removeImage(engine, name);
  });
});

ours("a registry that asks who one is", () => {
  test("takes X-Registry-Auth, logs in, and is obeyed when it refuses", async () => {
    const owner = { username: "u", password: "right" };
    await using locked = await startDockerRegistry({ htpasswd: owner });
    const name = `${locked.host}/${uniqueName("auth")}:1`;
    const [right, wrong] = [authHeader("u", "right"), authHeader("u", "wrong")];
    await engine.api("POST", `/images/busybox/tag?repo=${name.replace(/:1$/, "")}&tag=1`);
    expect(lastStatus(await push(engine, name))).toContain("no basic auth credentials");
    expect(lastStatus(await push(engine, name, wrong))).toContain("unauthorized");
    expect(lastStatus(await push(engine, name, right))).toBe("");
    await removeImage(engine, name);
    expect((await pull(engine, name)).status).toBeGreaterThanOrEqual(400);
    expect((await pull(engine, name, { "X-Registry-Auth": "%%%" })).message).toContain(
      "no basic auth credentials",
    );
    expect(lastStatus(await pull(engine, name, right))).toContain("Downloaded newer image");
    const login = async (password: string): Promise<Answer> =>
      await engine.api("POST", "/auth", { username: "u", password, serveraddress: locked.host });
    expect((await login("right")).json).toEqual({ IdentityToken: "", Status: "Login Succeeded" });
    expect((await login("wrong")).status).toBe(401);
    await removeImage(engine, name);
  });

  for (const name of clientNames) {
    test(`is logged in to with ${name}`, async () => {
      const owner = { username: "u", password: "p w" };
      await using locked = await startDockerRegistry({ htpasswd: owner });
      const cli = engine.client(name);
      const image = `${locked.host}/app:1`;
      await cli.ok("tag", "busybox", image);
      expect(await cli.fails("push", image)).toContain("no basic auth credentials");
      await cli.ok("login", "-u", "u", "-p", "p w", locked.host);
      await cli.ok("push", image);
      await cli.ok("rmi", image);
      await cli.ok("pull", image);
      await cli.ok("logout", locked.host);
      await cli.ok("rmi", image);
      expect(await cli.fails("pull", image)).toContain("no basic auth credentials");
    });
  }
});

ours("a daemon of its own", () => {
  test("goes on with a layer where kill -9 broke it off", async () => {
    const name = await publishNoise(registry.host, 8 * mebibyte);
    await removeImage(engine, name);
    await using proxy = await startRegistryProxy(registry.host);
    await using daemon = await startDaemon();
    const there = name.replace(registry.host, proxy.host);
    const before = await breakOff(proxy, { there, engine: daemon.engine, kill: daemon.kill9 });
    await daemon.restart();
    expect(await isHere(daemon.engine, there)).toBe(false);
    expect(lastStatus(await pull(daemon.engine, there))).toContain("Downloaded newer image");
    const resumed = proxy.blobs.find((blob) => blob.range !== undefined);
    expect(resumed?.digest).toBe(before);
    expect(proxy.blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0)).toBeLessThan(14 * mebibyte);
    expect(await daemon.leaks()).toEqual([]);
  }, 60_000);

  test("stops in the middle of a pull without a fault, and says to its clients why", async () => {
    const name = await publishNoise(registry.host, 4 * mebibyte);
    await removeImage(engine, name);
    await using proxy = await startRegistryProxy(registry.host);
    await using daemon = await startDaemon();
    const there = name.replace(registry.host, proxy.host);
    proxy.bytesPerSecond = mebibyte / 2;
    const answer = pull(daemon.engine, there).catch((error: unknown) => error);
    await until(
      () => proxy.blobs.some((blob) => blob.sizeBytes > mebibyte),
      () => "a transfer to be half done",
    );
    expect(await daemon.stop()).toBe(0);
    await answer;
    expect(daemon.log()).not.toMatch(/uncaught|unhandled|level=error/);
    await daemon.restart();
    expect(await isHere(daemon.engine, there)).toBe(false);
    proxy.bytesPerSecond = undefined;
    expect(lastStatus(await pull(daemon.engine, there))).toContain("Downloaded newer image");
    expect(proxy.blobs.some((blob) => blob.range !== undefined)).toBe(true);
  }, 60_000);

  test("takes mirrors and certificates from its configuration, at a reload", async () => {
    await using mirror = await startDockerRegistry();
    await using secure = await startDockerRegistry({ tls: true });
    const [inMirror, inSecure] = [
      `${mirror.host}/library/${uniqueName("m")}:1`,
      `${secure.host}/s:1`,
    ];
    await engine.api("POST", `/images/busybox/tag?repo=${inMirror.replace(/:1$/, "")}&tag=1`);
    expect(lastStatus(await push(engine, inMirror))).toBe("");
    await using daemon = await startDaemon({ config: { "certs-dirs": [secure.certsDir ?? ""] } });
    const name = inMirror.slice(`${mirror.host}/library/`.length);
    const config = { "registry-mirrors": [mirror.url], "certs-dirs": [secure.certsDir ?? ""] };
    writeFileSync(daemon.configPath, JSON.stringify(config));
    daemon.signal("SIGHUP");
    await until(
      () => daemon.log().includes("configuration reloaded"),
      () => daemon.log(),
    );
    expect(lastStatus(await pull(daemon.engine, name))).toBe(
      `Status: Downloaded newer image for ${name}`,
    );
    const info = (await daemon.engine.api("GET", "/info")).json;
    expect(at(info, "RegistryConfig", "Mirrors")).toEqual([`${mirror.url}/`]);
    await daemon.engine.api("POST", `/images/${name}/tag?repo=${secure.host}/s&tag=1`);
    expect(lastStatus(await push(daemon.engine, inSecure))).toBe("");
    await removeImage(engine, inMirror);
  }, 60_000);

  test.skipIf(loopDiskLack() !== undefined)(
    "with a full disk says so, leaves nothing behind and goes on",
    async () => {
      const big = await publishNoise(registry.host, 60 * mebibyte);
      const small = await publishNoise(registry.host, mebibyte);
      await using disk = await makeLoopDisk(96 * mebibyte);
      await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
      const answer = await pull(daemon.engine, big);
      expect(linesOf(answer).at(-1)?.error).toMatch(/no space left on device/i);
      expect(listAt((await daemon.engine.api("GET", "/images/json")).json)).toEqual([]);
      const content = join(disk.path, "data/content");
      expect(readdirSync(join(content, "ingest"))).toEqual([]);
      expect(readdirSync(join(content, "blobs/sha256"))).toEqual([]);
      expect(lastStatus(await pull(daemon.engine, small))).toContain("Downloaded newer image");
      await daemon.stop();
      for (const name of [big, small]) await removeImage(engine, name);
    },
    60_000,
  );
});

/** Kills a daemon while a slow layer comes. @returns the layer's digest */
async function breakOff(
  proxy: RegistryProxy,
  pulling: { readonly engine: Engine; readonly there: string; readonly kill: () => Promise<void> },
): Promise<string> {
  proxy.bytesPerSecond = 2 * mebibyte;
  const answer = pull(pulling.engine, pulling.there).catch((error: unknown) => error);
  await until(
    () => proxy.blobs.some((blob) => blob.sizeBytes > 3 * mebibyte),
    () => "a transfer to be half done",
  );
  await pulling.kill();
  expect(await answer).toBeInstanceOf(Error);
  proxy.bytesPerSecond = undefined;
  return proxy.blobs.find((blob) => blob.sizeBytes > mebibyte)?.digest ?? "";
}
