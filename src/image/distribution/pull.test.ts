import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ingestRefOf } from "../../content/content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import { toReadableStream } from "../../lib/stream-limit.ts";
import { encodeTar } from "../../lib/tar/tar-writer.ts";
import { digestOf } from "../../oci/digest.ts";
import { dockerMediaTypes, ociMediaTypes } from "../../oci/media-types.ts";
import { parsePlatform } from "../../oci/platform.ts";
import { makeLayer, openTestImages, type TestImages } from "../test-images.ts";
import type { ImageUse } from "../image-policy.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: images are unpacked by root only");

const [low, high] = [makeLayer("low"), makeLayer("high", 2_000)];
const name = "reg.test/team/app:1";
const short = (text: string): string => text.slice(7, 19);

let t: TestImages;
const putApp = (tag = name) => {
  const image = t.registry.putImage("reg.test/team/app", {
    layers: [low.packed, high.packed],
    diffIds: [low.diffId, high.diffId],
    config: { config: { Labels: { a: "b" } } },
  });
  t.registry.putTag(tag, image.digest);
  return image;
};
const pull = async (reference = name, more: object = {}) =>
  await t.images.pull(reference, { progress: t.progress, ...more });

describe.skipIf(!isRoot)("pull()", () => {
  beforeEach(async () => {
    t = await openTestImages();
  });
  afterEach(() => t.close());

  test("brings an image, tells it in Docker's words and binds tag and digest", async () => {
    const { digest } = putApp();
    const id = await pull();
    const [a, b] = [short(digestOf(low.packed)), short(digestOf(high.packed))];
    const lines = t.lines();
    expect(lines[0]).toBe("1: Pulling from team/app");
    // How much is told of the transfer depends on when the config comes.
    const isTransfer = (line: string): boolean => /Waiting|Downloading|Verifying/.test(line);
    expect(lines.filter((line) => line.startsWith(a) && !isTransfer(line))).toEqual([
      `${a}: Pulling fs layer`,
      `${a}: Download complete`,
      `${a}: Extracting`,
      `${a}: Pull complete`,
    ]);
    expect(lines.indexOf(`${a}: Pulling fs layer`)).toBeLessThan(
      lines.indexOf(`${b}: Pulling fs layer`),
    );
    expect(lines.slice(-2)).toEqual([
      `Digest: ${digest}`,
      `Status: Downloaded newer image for ${name}`,
    ]);
    const inspect = await t.images.inspect(name);
    expect(inspect).toMatchObject({
      Id: id,
      RepoTags: [name],
      RepoDigests: [`reg.test/team/app@${digest}`],
    });
    expect((await t.images.resolve(`reg.test/team/app@${digest}`)).id).toBe(id);
    expect(await t.events()).toEqual([`pull ${name} reg.test/team/app`]);
  });

  test("says so when the image is here, and fetches no layer", async () => {
    putApp();
    await pull();
    t.messages.length = 0;
    t.registry.requests.length = 0;
    await pull();
    expect(t.lines()[0]).toBe("1: Pulling from team/app");
    expect(t.lines().at(-1)).toBe(`Status: Image is up to date for ${name}`);
    expect(t.registry.requests).toEqual(["manifest team/app"]);
  });

  test("refuses another manifest of an image that is here, of which it cannot be one", async () => {
    putApp();
    await pull();
    const { manifests } = t.registry.repository("reg.test/team/app");
    const [known] = manifests.values();
    const document = JSON.parse(Buffer.from(known?.bytes ?? []).toString()) as object;
    const bytes = Buffer.from(JSON.stringify({ ...document, layers: [] }));
    const { digest } = t.registry.putDocument("reg.test/evil", ociMediaTypes.manifest, bytes);
    t.registry.putTag("reg.test/evil:1", digest);
    await expect(pull("reg.test/evil:1")).rejects.toThrow(
      /lists \d+ layers, but the manifest has 0/,
    );
    await expect(t.images.inspect("reg.test/evil:1")).rejects.toMatchObject({ kind: "not-found" });
  });

  test("by digest binds no tag", async () => {
    const { digest } = putApp();
    const reference = `reg.test/team/app@${digest}`;
    const id = await pull(reference);
    expect(t.lines()[0]).toBe(`${reference}: Pulling from team/app`);
    expect(await t.images.list({})).toMatchObject([
      { Id: id, RepoTags: [], RepoDigests: [reference] },
    ]);
    const found = async (filter: string, value: string): Promise<number> =>
      (await t.images.list({ filters: new Map([[filter, [value]]]) })).length;
    expect(await found("reference", "reg.test/team/app")).toBe(1);
    expect(await found("reference", "reg.test/team/b*")).toBe(0);
    expect(await found("dangling", "true")).toBe(1);
    expect(await found("dangling", "false")).toBe(1);
    expect(await t.images.remove(reference, {})).toMatchObject([
      { Untagged: reference },
      { Deleted: id },
      {},
      {},
    ]);
    expect(await t.blobs()).toEqual([]);
  });

  test("shares layers that are here", async () => {
    putApp();
    await pull();
    const more = makeLayer("more");
    const image = t.registry.putImage("reg.test/other", {
      layers: [low.packed, more.packed],
      diffIds: [low.diffId, more.diffId],
    });
    t.registry.putTag("reg.test/other:2", image.digest);
    t.messages.length = 0;
    t.registry.requests.length = 0;
    await pull("reg.test/other:2");
    expect(t.lines()).toContain(`${short(digestOf(low.packed))}: Already exists`);
    expect(t.registry.requests.filter((line) => line.includes(digestOf(low.packed)))).toEqual([]);
  });

  test("of all tags brings each", async () => {
    putApp("reg.test/team/app:1");
    putApp("reg.test/team/app:2");
    await t.images.pullAll("reg.test/team/app", { progress: t.progress });
    expect((await t.images.inspect(name)).RepoTags).toHaveLength(2);
    expect(t.lines().at(-1)).toBe("Status: Downloaded newer image for reg.test/team/app");
    await t.images.pullAll("reg.test/team/app", { progress: t.progress });
    expect(t.lines().at(-1)).toBe("Status: Image is up to date for reg.test/team/app");
  });

  test("of all tags passes over those of signatures and referrers", async () => {
    const { digest } = putApp("reg.test/team/app:1");
    const hex = digest.slice("sha256:".length);
    const { tags } = t.registry.repository("reg.test/team/app");
    const beside = [`sha256-${hex}`, `sha256-${hex}.sig`, `sha256-${hex}.att`];
    for (const tag of beside) tags.set(tag, digestOf("no image"));
    await t.images.pullAll("reg.test/team/app", { progress: t.progress });
    expect((await t.images.inspect(name)).RepoTags).toEqual([name]);
    for (const tag of beside)
      expect(t.lines()).toContain(`${tag}: Not an image, but of one: not pulled`);
  });

  test("chooses a platform of an index, and keeps those that were chosen before", async () => {
    const of = (architecture: string, variant?: string) => ({
      image: t.registry.putImage("reg.test/multi", {
        layers: [low.packed],
        diffIds: [low.diffId],
        config: { architecture, ...(variant === undefined ? {} : { variant }) },
      }),
      platform: { os: "linux", architecture, ...(variant === undefined ? {} : { variant }) },
    });
    const index = t.registry.putIndex("reg.test/multi", [
      { image: of("amd64").image, platform: { os: "unknown", architecture: "unknown" } },
      of("amd64"),
      of("arm", "v6"),
      of("arm", "v7"),
    ]);
    t.registry.putTag("reg.test/multi", index.digest);
    const own = await pull("reg.test/multi", { platform: parsePlatform("linux/amd64") });
    const arm = await pull("reg.test/multi", { platform: parsePlatform("linux/arm/v8") });
    expect(arm).not.toBe(own);
    const at = async (platform?: string) =>
      (
        await t.images.resolve(
          "reg.test/multi",
          platform === undefined ? {} : { platform: parsePlatform(platform) },
        )
      ).id;
    expect(await at()).toBe(arm);
    expect(await at("linux/arm/v7")).toBe(arm);
    expect(await at("linux/amd64")).toBe(own);
    const reference = `reg.test/multi@${index.digest}`;
    for (const { RepoDigests } of await t.images.list({})) expect(RepoDigests).toEqual([reference]);
    await expect(
      pull("reg.test/multi", { platform: parsePlatform("linux/s390x") }),
    ).rejects.toThrow("no matching manifest for linux/s390x in the manifest list entries");
    await t.images.remove(arm, { force: true });
    expect((await t.images.resolve(reference)).id).toBe(own);
  });

  test("warns of an image of another platform, as it has no other", async () => {
    putApp();
    await pull(name, { platform: parsePlatform("linux/arm64") });
    expect(t.lines().at(-1)).toBe(
      `WARNING: image with reference ${name} was found but its platform (linux/amd64) ` +
        "does not match the specified platform (linux/arm64)",
    );
  });

  test("a canceled one leaves no image, and the next goes on", async () => {
    putApp();
    const stop = new AbortController();
    const slow = digestOf(high.packed);
    let chunkCount = 0;
    t.registry.onBlob = async (digest) => {
      if (digest === slow) chunkCount += 1;
      if (chunkCount === 15) stop.abort();
      await Bun.sleep(1);
    };
    await expect(pull(name, { signal: stop.signal })).rejects.toMatchObject({ kind: "canceled" });
    expect(t.images.count).toBe(0);
    chunkCount = 0;
    t.registry.onBlob = (digest) => {
      if (digest === slow) chunkCount += 1;
    };
    await t.reopen();
    // What was whole is checked again: before a power cut nobody had synced it.
    const left = readdirSync(join(t.root, "content/ingest"));
    expect(left).toContain(ingestRefOf(digestOf(low.packed)));
    expect(await t.blobs()).toEqual([]);
    t.registry.requests.length = 0;
    await pull();
    expect(chunkCount).toBeLessThan(10);
    expect(t.registry.requests).not.toContain(`fetch team/app ${digestOf(low.packed)}`);
    expect(t.images.count).toBe(1);
  });

  test("what a power cut left of a broken off one is not taken for whole", async () => {
    putApp();
    t.registry.onBlob = (digest) => {
      if (digest === digestOf(high.packed)) throw new EngineError("unavailable", "reset");
    };
    await expect(pull()).rejects.toThrow("reset");
    // The size had reached the disk, the bytes had not.
    const { path, sizeBytes } = t.content.get(digestOf(low.packed));
    chmodSync(path, 0o600);
    writeFileSync(path, new Uint8Array(sizeBytes));
    await t.reopen();
    t.registry.onBlob = () => undefined;
    await expect(pull()).rejects.toMatchObject({ kind: "data-loss" });
    await pull();
    expect(t.images.count).toBe(1);
  });

  test("pieces of a pull that nobody came back for go with prune", async () => {
    putApp();
    t.registry.onBlob = (digest) => {
      if (digest === digestOf(high.packed)) throw new EngineError("unavailable", "reset");
    };
    await expect(pull()).rejects.toThrow("reset");
    expect((await t.blobs()).length).toBeGreaterThan(0);
    await t.images.prune(new Map());
    expect(await t.blobs()).toEqual([]);
  });

  test("unpacks a layer while those above still come", async () => {
    putApp();
    const isUnpacked = `${short(digestOf(low.packed))}: Pull complete`;
    t.registry.onBlob = async (digest) => {
      if (digest !== digestOf(high.packed)) return;
      // Would wait for ever if layers were unpacked only when all of them are here.
      while (!t.lines().includes(isUnpacked)) await Bun.sleep(1);
    };
    await pull();
    expect(t.images.count).toBe(1);
  });

  test("says why it ended, not that what else came was stopped", async () => {
    const evil = encodeTar([{ header: { name: "../evil" }, content: "y" }]);
    const image = t.registry.putImage("reg.test/team/app", {
      layers: [evil, high.packed],
      diffIds: [digestOf(evil), high.diffId],
    });
    t.registry.putTag(name, image.digest);
    t.registry.onBlob = async (digest, signal) => {
      // Comes for as long as nobody stops it.
      while (digest === digestOf(high.packed) && signal?.aborted === false) await Bun.sleep(1);
    };
    await expect(pull()).rejects.toThrow(/evil/);
  });

  test("a hostile image leaves no pieces, whatever was fetched of it", async () => {
    const evil = encodeTar([{ header: { name: "../evil" }, content: "y" }]);
    const image = t.registry.putImage("reg.test/team/app", {
      layers: [low.packed, evil],
      diffIds: [low.diffId, digestOf(evil)],
    });
    t.registry.putTag(name, image.digest);
    await expect(pull()).rejects.toMatchObject({ kind: "invalid-argument" });
    expect(await t.blobs()).toEqual([]);
  });

  test("an image that is removed while it is pulled again is there in the end", async () => {
    putApp();
    await pull();
    t.policy.check = async (use) => {
      if (use.action === "pull") await t.images.remove(name, { force: true });
    };
    await pull();
    const { id } = await t.images.resolve(name);
    expect((await t.images.inspect(id)).RepoTags).toEqual([name]);
  });

  test("two at once of images that share layers come to the same", async () => {
    putApp();
    putApp("reg.test/team/app:2");
    const stop = new AbortController();
    t.registry.onBlob = async () => await Bun.sleep(1);
    const first = pull(name, { signal: stop.signal }).catch((error: unknown) => error);
    stop.abort();
    expect(await first).toMatchObject({ kind: "canceled" });
    const id = await pull("reg.test/team/app:2");
    expect((await t.images.resolve("reg.test/team/app:2")).id).toBe(id);
  });

  test("a blob that became damaged here is fetched anew", async () => {
    putApp();
    await pull();
    const path = join(t.root, "content/blobs/sha256", digestOf(high.packed).slice(7));
    const copy = Buffer.from(high.packed);
    copy[copy.length - 20] = (copy[copy.length - 20] ?? 0) ^ 0xff;
    // Another image needs that layer on another one, so that it is unpacked again.
    const image = t.registry.putImage("reg.test/team/app", {
      layers: [high.packed],
      diffIds: [high.diffId],
    });
    t.registry.putTag("reg.test/team/app:3", image.digest);
    writeFileSync(path, copy);
    await pull("reg.test/team/app:3");
    expect(t.registry.requests.at(-1)).toBe(`fetch team/app ${digestOf(high.packed)}`);
    expect(digestOf(new Uint8Array(await Bun.file(path).arrayBuffer()))).toBe(
      digestOf(high.packed),
    );
  });

  test("asks the policy before anything is fetched, and again before use", async () => {
    const { digest } = putApp();
    const uses: ImageUse[] = [];
    t.policy.check = async (use) => {
      uses.push(use);
      await Promise.resolve();
      throw new EngineError("permission-denied", "the rule says no");
    };
    await expect(pull()).rejects.toThrow("the rule says no");
    expect(uses).toMatchObject([{ action: "pull", digests: [digest] }]);
    expect(t.registry.requests).toEqual(["manifest team/app"]);
    expect(t.images.count).toBe(0);
    t.policy.check = async () => await Promise.resolve();
    await pull();
    t.policy.check = async (use) => {
      uses.push(use);
      await Promise.reject(new EngineError("permission-denied", "not here"));
    };
    await t.images.resolve(name);
    await expect(t.images.resolve(name, { use: "run" })).rejects.toThrow("not here");
    expect(uses.at(-1)).toMatchObject({
      action: "run",
      digests: [digest],
      names: [name, expect.any(String)],
    });
  });

  test("tells the policy whether a tag is the registry's or was given here", async () => {
    putApp();
    await pull();
    let isTagPublished: boolean | undefined;
    t.policy.check = async (use) => {
      ({ isTagPublished } = use);
      await Promise.resolve();
    };
    const run = async (reference: string): Promise<boolean | undefined> => {
      await t.images.resolve(reference, { use: "run" });
      return isTagPublished;
    };
    expect(await run(name)).toBe(true);
    await t.images.tag(name, { repo: "reg.test/team/app", tag: "2" });
    expect(await run("reg.test/team/app:2")).toBe(false);
    await t.images.tag("reg.test/team/app:2", { repo: "reg.test/team/app", tag: "1" });
    expect(await run(name)).toBe(true);
    await t.images.push("reg.test/team/app:2", { progress: () => undefined });
    expect(await run("reg.test/team/app:2")).toBe(true);
    const other = await t.images.import(toReadableStream([high.tar]), {
      progress: () => undefined,
    });
    await t.images.tag(other, { repo: "reg.test/team/app", tag: "1" });
    expect(await run(name)).toBe(false);
  });

  const app = "reg.test/team/app";
  const imageOf = (recipe: object = {}) =>
    t.registry.putImage(app, { layers: [low.packed], diffIds: [low.diffId], ...recipe });
  const refused: readonly (readonly [
    string,
    () => { digest: ReturnType<typeof digestOf> },
    RegExp,
  ])[] = [
    [
      "a manifest of schema 1",
      () => t.registry.putDocument(app, dockerMediaTypes.signedManifestV1, Buffer.from("{}")),
      /^\[DEPRECATION NOTICE\] .* author of reg.test\/team\/app:1 to upgrade/,
    ],
    [
      "a chart",
      () =>
        imageOf({
          manifest: {
            config: {
              mediaType: "application/vnd.cncf.helm.config.v1+json",
              digest: digestOf("{}"),
              size: 2,
            },
          },
        }),
      /^Encountered remote "application\/vnd.cncf.helm.config.v1\+json"\(unknown\) when fetching$/,
    ],
    [
      "a layer that is none",
      () => imageOf({ layerType: "application/json" }),
      /unsupported layer media type/,
    ],
    [
      "an image of another system",
      () => imageOf({ config: { os: "windows" } }),
      /image operating system "windows" cannot be used on this platform/,
    ],
    ["a config that lies about its layers", () => imageOf({ diffIds: [] }), /lists 0 layers/],
    ["a wrong diff ID", () => imageOf({ diffIds: [digestOf("x")] }), /digest|diff ID/i],
    [
      "a layer of the wrong size",
      () =>
        imageOf({
          manifest: {
            layers: [{ mediaType: ociMediaTypes.layerGzip, digest: digestOf(low.packed), size: 5 }],
          },
        }),
      /the manifest says that .* has 5 bytes/,
    ],
    [
      "bytes with another digest",
      () => {
        t.registry.lies.set(digestOf(low.packed), Buffer.from(high.packed));
        return imageOf();
      },
      /the bytes have/,
    ],
    [
      "an index that lies about a size",
      () => {
        const image = imageOf();
        return t.registry.putIndex(app, [
          {
            image: { ...image, size: 3 },
            platform: { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" },
          },
        ]);
      },
      /has 3 bytes/,
    ],
    [
      "indexes without end",
      () => {
        const platform = {
          os: "linux",
          architecture: process.arch === "arm64" ? "arm64" : "amd64",
        };
        let image = imageOf();
        for (let depth = 0; depth < 5; depth += 1) {
          image = t.registry.putIndex(app, [{ image, platform }]);
        }
        return image;
      },
      /indexes that name indexes/,
    ],
  ];
  for (const [what, make, reason] of refused) {
    test(`refuses ${what} and leaves no image`, async () => {
      t.registry.putTag(name, make().digest);
      await expect(pull()).rejects.toThrow(reason);
      expect(t.images.count).toBe(0);
    });
  }

  test("passes on what the registry says, and refuses reserved names", async () => {
    await expect(pull("reg.test/none:1")).rejects.toThrow(
      "manifest for reg.test/none:1 not found: manifest unknown: manifest unknown",
    );
    await expect(pull("scratch")).rejects.toThrow("'scratch' is a reserved name");
    expect(existsSync(join(t.root, "content/ingest"))).toBe(true);
  });
});
