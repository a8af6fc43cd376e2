/** Other people's clients against our registry: skopeo, with passwords, tokens and TLS; docker-registry
 * as what takes our tokens. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { imageOf, openDistribution, pushBlob, pushImage, sha256 } from "../support/distribution.ts";
import { hasDockerRegistry, makeCertificates } from "../support/docker-registry.ts";
import { run, runOk, start, until } from "../support/process.ts";
import { startTugRegistry, tugArgv } from "../support/tug-registry.ts";

const hasSkopeo = Bun.which("skopeo") !== null;
if (!hasSkopeo) console.warn("skipped with skopeo: it is not installed");
const tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
const policy = "--insecure-policy";

/** A folder that goes with the test. */
function scratch(): { readonly path: string; [Symbol.asyncDispose](): Promise<void> } {
  const path = mkdtempSync(join(tmpdir(), "tug-skopeo-"));
  return { path, [Symbol.asyncDispose]: async () => await rm(path, { recursive: true }) };
}

/** Makes an OCI layout with one image of a few layers; one of them is `sizeBytes` large. */
function makeLayout(folder: string, sizeBytes: number): string {
  const blobs = join(folder, "layout/blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const put = (bytes: Uint8Array | string): { digest: string; size: number } => {
    const digest = sha256(bytes);
    writeFileSync(join(blobs, digest.slice(7)), bytes);
    return { digest, size: Buffer.byteLength(bytes) };
  };
  const layers = [new Uint8Array(10_240), crypto.getRandomValues(new Uint8Array(sizeBytes))];
  const tar = "application/vnd.oci.image.layer.v1.tar";
  const diffIds = layers.map((layer) => sha256(layer));
  const config = put(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: diffIds },
    }),
  );
  const manifest = put(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
      layers: layers.map((layer) => ({ mediaType: tar, ...put(layer) })),
    }),
  );
  const layout = join(folder, "layout");
  writeFileSync(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  const entry = { mediaType: "application/vnd.oci.image.manifest.v1+json", ...manifest };
  const annotations = { "org.opencontainers.image.ref.name": "v1" };
  const index = { schemaVersion: 2, manifests: [{ ...entry, annotations }] };
  writeFileSync(join(layout, "index.json"), JSON.stringify(index));
  return manifest.digest;
}

describe.skipIf(!hasSkopeo)("skopeo", () => {
  test("copies in and out, inspects, lists and removes", async () => {
    await using registry = await startTugRegistry();
    await using folder = scratch();
    const digest = makeLayout(folder.path, 60_000);
    const image = `docker://${registry.host}/team/app`;
    const from = ["--preserve-digests", `oci:${folder.path}/layout:v1`];
    await runOk(["skopeo", policy, "copy", ...tls, ...from, `${image}:v1`]);
    const inspected = await runOk(["skopeo", "inspect", "--tls-verify=false", `${image}:v1`]);
    expect(JSON.parse(inspected)).toMatchObject({ Digest: digest, RepoTags: ["v1"] });
    await runOk(["skopeo", policy, "copy", ...tls, `${image}:v1`, `${image}:v2`]);
    const other = `docker://${registry.host}/other/app:v1`;
    await runOk(["skopeo", policy, "copy", ...tls, `${image}:v1`, other]);
    await runOk(["skopeo", policy, "copy", ...tls, `${image}:v2`, `oci:${folder.path}/back:v1`]);
    await runOk(["skopeo", policy, "copy", ...tls, `${image}:v2`, `dir:${folder.path}/dir`]);
    expect(sha256(readFileSync(join(folder.path, "dir/manifest.json")))).toBe(digest);
    const listed = await runOk(["skopeo", "list-tags", "--tls-verify=false", image]);
    expect(JSON.parse(listed)).toMatchObject({ Tags: ["v1", "v2"] });
    await runOk(["skopeo", "delete", "--tls-verify=false", `${image}:v1`]);
    const gone = await run(["skopeo", "inspect", "--tls-verify=false", `${image}:v1`]);
    expect(gone.exitCode).not.toBe(0);
    expect(gone.stderr).toContain("manifest unknown");
  }, 60_000);

  test("converts to Docker's schema on the way in", async () => {
    await using registry = await startTugRegistry();
    await using folder = scratch();
    makeLayout(folder.path, 5_000);
    const image = `docker://${registry.host}/app:docker`;
    await runOk([
      ...["skopeo", policy, "copy", ...tls, "--format", "v2s2"],
      ...[`oci:${folder.path}/layout:v1`, image],
    ]);
    const raw = await runOk(["skopeo", "inspect", "--raw", "--tls-verify=false", image]);
    expect(raw).toContain("application/vnd.docker.distribution.manifest.v2+json");
  }, 60_000);

  test("logs in with a password over TLS, and is refused without", async () => {
    await using folder = scratch();
    makeLayout(folder.path, 5_000);
    const certificates = await makeCertificates(folder.path);
    const users = join(folder.path, "users");
    const made = await runOk([...tugArgv("registry", "htpasswd", "ann")], { input: "secret\n" });
    writeFileSync(users, `${made}\n`);
    const { certificatePath, keyPath, caPath } = certificates;
    await using registry = await startTugRegistry({
      scheme: "https",
      flags: ["--htpasswd", users, "--tls-cert", certificatePath, "--tls-key", keyPath],
    });
    mkdirSync(join(folder.path, "certs"));
    writeFileSync(join(folder.path, "certs/ca.crt"), readFileSync(caPath));
    const image = `docker://${registry.host}/app:v1`;
    const copy = async (...flags: readonly string[]): ReturnType<typeof run> =>
      await run([
        ...["skopeo", policy, "copy", "--dest-cert-dir", join(folder.path, "certs"), ...flags],
        ...[`oci:${folder.path}/layout:v1`, image],
      ]);
    expect((await copy("--dest-creds", "ann:secret")).exitCode).toBe(0);
    expect((await copy("--dest-creds", "ann:wrong")).exitCode).not.toBe(0);
    expect((await copy()).stderr).toContain("authentication required");
    const stranger = await run(["skopeo", "inspect", "--creds", "ann:secret", image]);
    expect(stranger.stderr).toContain("certificate");
  }, 60_000);

  test("gets tokens by itself, as the access rules grant them", async () => {
    await using folder = scratch();
    makeLayout(folder.path, 5_000);
    const { keyPath } = await makeCertificates(folder.path);
    const at = (name: string): string => join(folder.path, name);
    await runOk(["htpasswd", "-Bbc", "-C", "5", at("users"), "ann", "a"]);
    await runOk(["htpasswd", "-Bb", "-C", "5", at("users"), "bob", "b"]);
    writeFileSync(
      at("rules"),
      "ann ** pull,push,delete\n* shared/** pull\nanonymous open/* pull\n",
    );
    await using registry = await startTugRegistry({
      flags: ["--htpasswd", at("users"), "--access", at("rules"), "--token-key", keyPath],
    });
    const copy = async (creds: readonly string[], to: string): Promise<string> => {
      const from = `oci:${folder.path}/layout:v1`;
      const target = `docker://${registry.host}/${to}`;
      return (await run(["skopeo", policy, "copy", ...tls, ...creds, from, target])).stderr;
    };
    const inspect = async (creds: readonly string[], name: string): Promise<number> => {
      const target = `docker://${registry.host}/${name}`;
      return (await run(["skopeo", "inspect", "--tls-verify=false", ...creds, target])).exitCode;
    };
    for (const name of ["shared/x:1", "open/x:1", "private/x:1"]) {
      expect(await copy(["--dest-creds", "ann:a"], name)).toBe("");
    }
    expect(await copy(["--dest-creds", "bob:b"], "shared/x:1")).toMatch(/denied|unauthorized/i);
    expect(await copy(["--dest-creds", "ann:wrong"], "shared/x:1")).toMatch(/password|unauth/i);
    const bob = ["--creds", "bob:b"];
    expect([await inspect(bob, "shared/x:1"), await inspect([], "open/x:1")]).toEqual([0, 0]);
    expect(await inspect(bob, "private/x:1")).not.toBe(0);
    expect(await inspect([], "shared/x:1")).not.toBe(0);
  }, 90_000);
});

describe.skipIf(!hasSkopeo || !hasDockerRegistry)("tokens between registries", () => {
  test("docker-registry takes those that ours gives, and so does another of ours", async () => {
    await using folder = scratch();
    makeLayout(folder.path, 5_000);
    const { keyPath, certificatePath } = await makeCertificates(folder.path);
    const at = (name: string): string => join(folder.path, name);
    await runOk(["htpasswd", "-Bbc", "-C", "5", at("users"), "ann", "a"]);
    await using issuer = await startTugRegistry({
      flags: ["--htpasswd", at("users"), "--token-key", keyPath],
    });
    const realm = `${issuer.url}/token`;
    const terms = { realm, service: "tug-registry", issuer: "tug-registry" };
    const config = {
      version: 0.1,
      storage: { filesystem: { rootdirectory: at("data") } },
      http: { addr: "127.0.0.1:0", secret: "of a test" },
      auth: { token: { ...terms, rootcertbundle: certificatePath } },
    };
    writeFileSync(at("config.json"), JSON.stringify(config));
    await using theirs = start(["docker-registry", "serve", at("config.json")]);
    const listening = /listening on \S*:(\d+)/;
    const log = (): string => `${theirs.stdout}${theirs.stderr}`;
    await until(() => listening.test(log()), log);
    await using ours = await startTugRegistry({
      flags: ["--token-cert", certificatePath, "--token-realm", realm],
    });
    for (const host of [`127.0.0.1:${listening.exec(log())?.[1]}`, ours.host]) {
      const image = `docker://${host}/team/app:v1`;
      const copy = ["skopeo", policy, "copy", ...tls, "--dest-creds"];
      await runOk([...copy, "ann:a", `oci:${folder.path}/layout:v1`, image]);
      const inspect = ["skopeo", "inspect", "--tls-verify=false"];
      await runOk([...inspect, "--creds", "ann:a", image]);
      expect((await run([...inspect, image])).exitCode).not.toBe(0);
    }
  }, 60_000);
});

describe("a pull-through cache", () => {
  test("serves what the other registry has, and goes on when that is gone", async () => {
    await using upstream = await startTugRegistry();
    const up = openDistribution(upstream.url);
    const image = imageOf("far away");
    await pushImage(up, { repository: "lib/app", tag: "v1" }, image);
    await using cache = await startTugRegistry({ flags: ["--proxy", upstream.url] });
    const send = openDistribution(cache.url);
    const manifest = await send("GET /v2/lib/app/manifests/v1");
    expect([manifest.status, sha256(manifest.bytes)]).toEqual([200, image.manifest.digest]);
    const layers = await Promise.all(
      [1, 2, 3].map(() => send(`GET /v2/lib/app/blobs/${image.layer.digest}`)),
    );
    expect(layers.map(({ text }) => text)).toEqual(Array(3).fill("layer of far away"));
    expect((await send("GET /v2/lib/app/manifests/none")).codes).toEqual(["MANIFEST_UNKNOWN"]);
    expect((await send(`GET /v2/lib/app/blobs/${sha256("x")}`)).codes).toEqual(["BLOB_UNKNOWN"]);
    expect((await send("POST /v2/lib/app/blobs/uploads/")).status).toBe(405);
    await upstream.stop();
    const again = await send("GET /v2/lib/app/manifests/v1");
    expect([again.status, sha256(again.bytes)]).toEqual([200, image.manifest.digest]);
    expect((await send(`GET /v2/lib/app/blobs/${image.layer.digest}`)).status).toBe(200);
    const config = await send(`GET /v2/lib/app/blobs/${image.config.digest}`);
    expect([config.status, config.codes]).toEqual([503, ["UNAVAILABLE"]]);
    expect((await send("GET /v2/lib/other/manifests/v1")).status).toBe(503);
  }, 60_000);

  test("a tag that moved is followed after a while", async () => {
    await using upstream = await startTugRegistry();
    const up = openDistribution(upstream.url);
    await pushImage(up, { repository: "app", tag: "v1" }, imageOf("before"));
    await using cache = await startTugRegistry({ flags: ["--proxy", upstream.url] });
    const send = openDistribution(cache.url);
    await send("GET /v2/app/manifests/v1");
    await pushImage(up, { repository: "app", tag: "v1" }, imageOf("after"));
    // What was asked for just now is believed; a new process asks again.
    expect(sha256((await send("GET /v2/app/manifests/v1")).bytes)).toBe(
      imageOf("before").manifest.digest,
    );
    await cache.stop();
    await cache.restart();
    expect(sha256((await send("GET /v2/app/manifests/v1")).bytes)).toBe(
      imageOf("after").manifest.digest,
    );
  }, 60_000);
});

describe("what a registry is told at its start", () => {
  test("read-only, no removal, and quotas are kept to", async () => {
    await using registry = await startTugRegistry({ flags: ["--repository-quota", "4k"] });
    const send = openDistribution(registry.url);
    const image = imageOf("kept");
    expect((await pushImage(send, { repository: "a", tag: "v" }, image)).status).toBe(201);
    const large = { bytes: new Uint8Array(5_000), digest: sha256(new Uint8Array(5_000)) };
    const refused = await pushBlob(send, "a", large);
    expect([refused.status, refused.codes]).toEqual([403, ["DENIED"]]);
    expect(refused.text).toContain("quota of repository a exceeded: 4KiB");
    await registry.stop();
    await registry.restart(["--read-only"]);
    expect((await send("POST /v2/a/blobs/uploads/")).codes).toEqual(["UNSUPPORTED"]);
    expect((await send("DELETE /v2/a/manifests/v")).status).toBe(405);
    expect((await send("GET /v2/a/manifests/v")).status).toBe(200);
    await registry.stop();
    await registry.restart(["--delete=false", "--quota", "5000"]);
    expect((await send("DELETE /v2/a/manifests/v")).status).toBe(405);
    expect((await pushBlob(send, "b", large)).codes).toEqual(["DENIED"]);
    expect((await pushBlob(send, "b", image.layer)).status).toBe(201);
  }, 60_000);

  test("a large blob passes through little memory, both ways", async () => {
    await using registry = await startTugRegistry();
    const send = openDistribution(registry.url);
    const mebibyte = new Uint8Array(1024 * 1024).fill(7);
    const count = 300;
    const hasher = new Bun.CryptoHasher("sha256");
    for (let index = 0; index < count; index += 1) hasher.update(mebibyte);
    const digest = `sha256:${hasher.digest("hex")}`;
    let left = count;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        left -= 1;
        if (left < 0) controller.close();
        else controller.enqueue(mebibyte);
      },
    });
    const { location } = await send("POST /v2/large/blobs/uploads/");
    expect((await send(`PUT ${location}?digest=${digest}`, { body })).status).toBe(201);
    const answer = await fetch(`${registry.url}/v2/large/blobs/${digest}`);
    const read = new Bun.CryptoHasher("sha256");
    for await (const chunk of answer.body ?? []) read.update(chunk);
    expect(`sha256:${read.digest("hex")}`).toBe(digest);
    const status = readFileSync(`/proc/${registry.pid}/status`, "utf8");
    const peakKib = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
    expect(peakKib).toBeLessThan(220 * 1024);
  }, 60_000);

  test("client certificates are asked for", async () => {
    await using folder = scratch();
    const { certificatePath, keyPath, caPath } = await makeCertificates(folder.path);
    await using registry = await startTugRegistry({
      scheme: "https",
      flags: ["--tls-cert", certificatePath, "--tls-key", keyPath, "--tls-ca", caPath],
    });
    const read = (path: string): string => readFileSync(path, "utf8");
    const ca = read(caPath);
    const own = { ca, cert: read(certificatePath), key: read(keyPath) };
    for (let round = 0; round < 2; round += 1) {
      const stranger = openDistribution(registry.url, { tls: { ca } });
      await expect(stranger("GET /v2/")).rejects.toThrow();
      expect((await openDistribution(registry.url, { tls: own })("GET /v2/")).status).toBe(200);
      // The second time with certificates that were read again.
      process.kill(registry.pid, "SIGHUP");
      await until(() => registry.log().includes("were read again"), "a reload");
    }
  }, 60_000);

  test("SIGHUP takes up new certificates and rules, and keeps the old when they are no good", async () => {
    await using folder = scratch();
    const [first, second] = [join(folder.path, "1"), join(folder.path, "2")];
    mkdirSync(first);
    mkdirSync(second);
    const before = await makeCertificates(first);
    const after = await makeCertificates(second);
    const at = (name: string): string => join(folder.path, name);
    const take = (from: typeof before): void => {
      writeFileSync(at("cert"), readFileSync(from.certificatePath));
      writeFileSync(at("key"), readFileSync(from.keyPath));
    };
    take(before);
    writeFileSync(at("rules"), "");
    await runOk(["htpasswd", "-Bbc", "-C", "5", at("users"), "ann", "a"]);
    const access = ["--htpasswd", at("users"), "--access", at("rules")];
    await using registry = await startTugRegistry({
      scheme: "https",
      flags: ["--tls-cert", at("cert"), "--tls-key", at("key"), ...access],
    });
    const tags = async (from: typeof before): Promise<number | string> => {
      const answer = await run([
        ...["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", from.caPath],
        ...["-u", "ann:a", `${registry.url}/v2/x/tags/list`],
      ]);
      return answer.stdout;
    };
    const reload = async (says: string): Promise<void> => {
      const seen = registry.log().split(says).length;
      process.kill(registry.pid, "SIGHUP");
      await until(() => registry.log().split(says).length > seen, says);
    };
    expect([await tags(before), await tags(after)]).toEqual(["403", "000"]);
    take(after);
    writeFileSync(at("rules"), "ann ** pull\n");
    await reload("were read again");
    expect([await tags(before), await tags(after)]).toEqual(["000", "404"]);
    writeFileSync(at("rules"), "nonsense\n");
    await reload("not reloaded");
    writeFileSync(at("key"), "nonsense\n");
    await reload("not reloaded");
    expect(await tags(after)).toBe("404");
  }, 60_000);

  test("gc asks the registry that serves, and works alone as well", async () => {
    await using registry = await startTugRegistry({ flags: ["--gc-grace", "0"] });
    const send = openDistribution(registry.url);
    const image = imageOf("gc");
    await pushImage(send, { repository: "a", tag: "v" }, image);
    const loose = { bytes: new Uint8Array(1_000), digest: sha256(new Uint8Array(1_000)) };
    await pushBlob(send, "a", loose);
    const gc = async (): Promise<string> =>
      await runOk([...tugArgv("registry", "gc", "--root", registry.root, "--gc-grace", "0")]);
    expect(await gc()).toBe("removed 0 manifests, 1 blobs, 1 files\nTotal reclaimed space: 1kB");
    expect((await send(`GET /v2/a/blobs/${loose.digest}`)).codes).toEqual(["BLOB_UNKNOWN"]);
    await send(`DELETE /v2/a/manifests/${image.manifest.digest}`);
    expect(await registry.stop()).toBe(0);
    expect(await gc()).toContain("removed 0 manifests, 2 blobs, 3 files");
    await registry.restart();
    expect((await send(`GET /v2/a/blobs/${image.layer.digest}`)).status).toBe(404);
  }, 60_000);

  test("figures have an address of their own when that is said", async () => {
    await using registry = await startTugRegistry();
    const send = openDistribution(registry.url);
    await send("GET /v2/");
    const { text } = await send("GET /metrics");
    expect(text).toContain('requests_total{operation="ping",method="GET",code="200"} 1');
    expect(text).toMatch(/^tug_registry_content_bytes 0$/m);
    await registry.stop();
    await registry.restart(["--metrics-addr", "127.0.0.1:0"]);
    expect((await send("GET /metrics")).status).toBe(404);
    const port = /metrics listen" host=\S+ port=(\d+)/.exec(registry.log())?.[1];
    const apart = await fetch(`http://127.0.0.1:${port}/metrics`);
    expect(await apart.text()).toContain("tug_registry_requests_total");
    expect((await fetch(`http://127.0.0.1:${port}/v2/`)).status).toBe(404);
  }, 60_000);
});

test("a user's password is asked for at a terminal, twice, and not shown", async () => {
  const line = [...tugArgv("registry", "htpasswd", "ann")].map((word) => `'${word}'`).join(" ");
  const typeIn = async (first: string, second: string): Promise<[number, string]> => {
    await using child = start(["script", "-qec", line, "/dev/null"]);
    await child.prints("Password: ");
    child.write(`${first}\r`);
    await child.prints("Again: ");
    child.write(`${second}\r`);
    return [await child.exited, child.stdout];
  };
  const [code, shown] = await typeIn("a p w", "a p w");
  expect(code).toBe(0);
  expect(shown).not.toContain("a p w");
  const hash = /^ann:(\S+)/m.exec(shown)?.[1] ?? "";
  expect(await Bun.password.verify("a p w", hash)).toBe(true);
  const [refused, said] = await typeIn("one", "another");
  expect([refused, said]).toEqual([
    1,
    expect.stringContaining("the two passwords are not the same"),
  ]);
}, 30_000);
