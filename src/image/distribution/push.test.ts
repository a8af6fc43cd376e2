import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { EngineError } from "../../lib/errors.ts";
import { toReadableStream } from "../../lib/stream-limit.ts";
import { digestOf } from "../../oci/digest.ts";
import { decodeManifest } from "../../oci/manifest.ts";
import { layerCompression, ociMediaTypes } from "../../oci/media-types.ts";
import { parsePlatform } from "../../oci/platform.ts";
import { makeLayer, openTestImages, type TestImages } from "../test-images.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: images are unpacked by root only");

const [low, high] = [makeLayer("low"), makeLayer("high", 2_000)];
const idOf = (diffId: string): string => diffId.slice(7, 19);

let t: TestImages;
const push = async (reference: string, more: object = {}) => {
  t.messages.length = 0;
  t.registry.requests.length = 0;
  await t.images.push(reference, { progress: t.progress, ...more });
};
const pushed = (): readonly string[] =>
  t.registry.requests.filter((it) => /^push (?!manifest)/.test(it));
/** An image that was made here: its one layer is a plain tar. */
const makeImage = async (repo: string) =>
  await t.images.import(toReadableStream([high.tar]), {
    repo,
    tag: "1",
    progress: () => undefined,
  });

const indexOfTwo = () => {
  const of = (architecture: string) => ({
    image: t.registry.putImage("reg.test/multi", {
      layers: [low.packed],
      diffIds: [low.diffId],
      config: { architecture },
    }),
    platform: { os: "linux", architecture },
  });
  const index = t.registry.putIndex("reg.test/multi", [of("amd64"), of("arm64")]);
  t.registry.putTag("reg.test/multi:1", index.digest);
  return index;
};
const pull = async (reference: string, platform: string) =>
  await t.images.pull(reference, { progress: () => undefined, platform: parsePlatform(platform) });

describe.skipIf(!isRoot)("push()", () => {
  beforeEach(async () => {
    t = await openTestImages();
  });
  afterEach(() => t.close());

  test("packs the layers of an image that was made here, once, and tells it as Docker", async () => {
    await makeImage("reg.test/own");
    await push("reg.test/own:1");
    const { tags, manifests, blobs } = t.registry.repository("reg.test/own");
    const digest = tags.get("1") ?? "";
    const bytes = manifests.get(digest)?.bytes ?? Buffer.from("");
    const { layers, config } = decodeManifest(bytes);
    const [layer] = layers;
    expect(layerCompression(layer?.mediaType ?? "")).toBe("gzip");
    expect(digestOf(gunzipSync(blobs.get(layer?.digest ?? "") ?? ""))).toBe(high.diffId);
    expect(blobs.has(config.digest)).toBe(true);
    const id = idOf(high.diffId);
    expect(t.lines()).toEqual([
      "The push refers to repository [reg.test/own]",
      `${id}: Preparing`,
      `${id}: Pushing`,
      `${id}: Pushed`,
      `1: digest: ${digest} size: ${bytes.length}`,
      "undefined",
    ]);
    expect(t.messages.at(-1)).toEqual({
      progressDetail: {},
      aux: { Tag: "1", Digest: digest, Size: bytes.length },
    });
    expect((await t.images.inspect("reg.test/own:1")).RepoDigests).toEqual([
      `reg.test/own@${digest}`,
    ]);
    await push("reg.test/own:1");
    expect(pushed()).toEqual([]);
    expect(t.lines()).toContain(`${id}: Layer already exists`);
    expect(t.lines()).toContain(`1: digest: ${digest} size: ${bytes.length}`);
    expect(await t.events()).toContain("push reg.test/own:1 reg.test/own");
  });

  test("what a push will make is known before, once its layers are packed", async () => {
    await makeImage("reg.test/own");
    const foresee = async (packs: boolean, reference = "reg.test/own:1") =>
      await t.images.foreseePush(reference, { packs });
    expect(await foresee(false)).toEqual({ isMadeAnew: true });
    const foreseen = await foresee(true);
    expect(foreseen?.digests).toHaveLength(1);
    expect(await foresee(false)).toEqual(foreseen);
    // What was packed may be given back meanwhile: it becomes the same again.
    await t.images.recover();
    await push("reg.test/own:1");
    expect(t.registry.repository("reg.test/own").tags.get("1")).toEqual(foreseen?.digests?.[0]);
    expect(await foresee(false)).toEqual(foreseen);
    const { Id } = await t.images.inspect("reg.test/own:1");
    for (const other of [Id, `reg.test/own@${foreseen?.digests?.[0]}`, "reg.test/none:1", "?"]) {
      expect(await foresee(true, other)).toBeUndefined();
    }
  });

  test("what came packed is pushed as it is, and known without packing", async () => {
    const index = indexOfTwo();
    await pull("reg.test/multi:1", "linux/amd64");
    const one = await t.images.foreseePush("reg.test/multi:1", { packs: false });
    expect(one).toMatchObject({ isMadeAnew: false });
    expect(one?.digests).not.toContain(index.digest);
    await pull("reg.test/multi:1", "linux/arm64");
    const all = await t.images.foreseePush("reg.test/multi:1", { packs: false });
    expect(all?.digests).toHaveLength(3);
    expect(all?.digests?.at(-1)).toBe(index.digest);
  });

  test("a layer that the registry has lost since is packed again, to the same bytes", async () => {
    await makeImage("reg.test/own");
    await push("reg.test/own:1");
    const { tags, blobs } = t.registry.repository("reg.test/own");
    const digest = tags.get("1");
    await t.images.prune(new Map());
    blobs.clear();
    await push("reg.test/own:1");
    expect(tags.get("1")).toBe(digest);
    expect(pushed().length).toBeGreaterThan(0);
  });

  test("mounts what another repository of the registry has", async () => {
    await makeImage("reg.test/own");
    await push("reg.test/own:1");
    await t.images.tag("reg.test/own:1", { repo: "reg.test/second", tag: "2" });
    await push("reg.test/second:2");
    expect(t.lines()).toContain(`${idOf(high.diffId)}: Mounted from own`);
    expect(pushed()).toEqual([]);
    expect(t.registry.repository("reg.test/second").blobs.size).toBe(2);
  });

  test("sends back bit for bit what was pulled, packed or not", async () => {
    const image = t.registry.putImage("reg.test/app", {
      layers: [low.packed, high.tar],
      diffIds: [low.diffId, high.diffId],
      manifest: {
        annotations: { a: "b" },
        layers: [
          {
            mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
            digest: digestOf(low.packed),
            size: low.packed.length,
          },
          {
            mediaType: "application/vnd.oci.image.layer.v1.tar",
            digest: digestOf(high.tar),
            size: high.tar.length,
          },
        ],
      },
    });
    t.registry.putTag("reg.test/app:1", image.digest);
    await t.images.pull("reg.test/app:1", { progress: () => undefined });
    await t.images.tag("reg.test/app:1", { repo: "other.test/copy", tag: "1" });
    await push("other.test/copy:1");
    expect(t.registry.repository("other.test/copy").tags.get("1")).toBe(image.digest);
  });

  test("sends back each of several manifests of one image, packed or not here at all", async () => {
    const diffIds = [low.diffId];
    const packed = [gzipSync(gunzipSync(low.packed), { level: 1 }), low.packed, low.tar];
    const manifests = packed.map((bytes, at) => {
      const layerType = at === 2 ? ociMediaTypes.layer : ociMediaTypes.layerGzip;
      const recipe = { layers: [bytes], diffIds, layerType };
      const { digest } = t.registry.putImage("reg.test/app", recipe);
      t.registry.putTag(`reg.test/app:${at}`, digest);
      return digest;
    });
    for (const at of manifests.keys()) {
      await t.images.pull(`reg.test/app:${at}`, { progress: () => undefined });
    }
    // What only the registry has is known after a collection as well.
    await t.images.prune(new Map());
    for (const [at, digest] of manifests.entries()) {
      await t.images.tag(`reg.test/app:${at}`, { repo: "reg.test/copy", tag: "1" });
      const foreseen = await t.images.foreseePush("reg.test/copy:1", { packs: false });
      await push("reg.test/copy:1");
      expect(t.registry.repository("reg.test/copy").tags.get("1")).toBe(digest);
      expect(foreseen?.digests).toEqual([digest]);
    }
    // Another registry has not the layers that are not here.
    await t.images.tag("reg.test/app:1", { repo: "other.test/else", tag: "1" });
    await push("other.test/else:1");
    expect(t.registry.repository("other.test/else").tags.get("1")).toBe(manifests[0]);
  });

  test("sends the image as it is here when the registry has lost what it was pulled by", async () => {
    const diffIds = [low.diffId];
    const recipes = [low.packed, gzipSync(gunzipSync(low.packed), { level: 1 })];
    for (const [at, bytes] of recipes.entries()) {
      const { digest } = t.registry.putImage("reg.test/app", { layers: [bytes], diffIds });
      t.registry.putTag(`reg.test/app:${at}`, digest);
      await t.images.pull(`reg.test/app:${at}`, { progress: () => undefined });
    }
    const { blobs, tags } = t.registry.repository("reg.test/app");
    blobs.clear();
    await push("reg.test/app:1");
    expect(tags.get("1")).toBe(tags.get("0"));
    expect(blobs.has(digestOf(low.packed))).toBe(true);
  });

  test("sends an index when all of its images are here, else the image that is", async () => {
    const index = indexOfTwo();
    await pull("reg.test/multi:1", "linux/amd64");
    await push("reg.test/multi:1");
    const { tags } = t.registry.repository("reg.test/multi");
    expect(tags.get("1")).not.toBe(index.digest);
    t.registry.putTag("reg.test/multi:1", index.digest);
    await pull("reg.test/multi:1", "linux/arm64");
    await push("reg.test/multi:1");
    expect(tags.get("1")).toBe(index.digest);
    await push("reg.test/multi:1", { platform: parsePlatform("linux/amd64") });
    const { id } = await t.images.resolve("reg.test/multi:1", {
      platform: parsePlatform("linux/amd64"),
    });
    const bytes = t.registry.repository("reg.test/multi").manifests.get(tags.get("1") ?? "")?.bytes;
    expect(decodeManifest(bytes ?? Buffer.from("")).config.digest).toBe(id);
  });

  test("without a tag sends all tags of the repository", async () => {
    await makeImage("reg.test/own");
    await t.images.tag("reg.test/own:1", { repo: "reg.test/own", tag: "2" });
    await push("reg.test/own");
    expect([...t.registry.repository("reg.test/own").tags.keys()]).toEqual(["1", "2"]);
    await push("reg.test/own", { tag: "2" });
    expect(t.lines().filter((line) => /^\d: digest/.test(line))).toHaveLength(1);
  });

  test("refuses what is not here in Docker's words", async () => {
    await expect(push("reg.test/own:1")).rejects.toThrow(
      "An image does not exist locally with the tag: reg.test/own",
    );
    await makeImage("reg.test/own");
    await expect(push("reg.test/own:9")).rejects.toThrow("tag does not exist: reg.test/own:9");
    await expect(push(`reg.test/own@${digestOf("x")}`)).rejects.toThrow(
      "cannot push a digest reference",
    );
    await expect(push("Bad")).rejects.toThrow("must be lowercase");
    await expect(
      push("reg.test/own:1", { platform: parsePlatform("linux/s390x") }),
    ).rejects.toMatchObject({ kind: "not-found" });
    expect(t.lines()).toEqual([]);
  });

  test("a failure ends the other transfers and leaves nothing visible", async () => {
    await makeImage("reg.test/own");
    t.registry.pushBlob = async () => {
      await Promise.reject(new EngineError("unauthorized", "no basic auth credentials"));
    };
    await expect(push("reg.test/own:1")).rejects.toThrow("no basic auth credentials");
    expect(t.registry.repository("reg.test/own").tags.size).toBe(0);
    expect((await t.images.inspect("reg.test/own:1")).RepoDigests).toEqual([]);
  });

  test("a registry that stores something else is told of", async () => {
    await makeImage("reg.test/own");
    t.registry.pushManifest = async () => await Promise.resolve(digestOf("else"));
    await expect(push("reg.test/own:1")).rejects.toMatchObject({ kind: "data-loss" });
  });
});

describe.skipIf(!isRoot)("what registries are asked besides", () => {
  beforeEach(async () => {
    t = await openTestImages();
  });
  afterEach(() => t.close());

  test("describeDistribution() tells platforms and leaves nothing behind", async () => {
    const index = indexOfTwo();
    const found = await t.images.describeDistribution("reg.test/multi:1", {});
    expect(found.descriptor.digest).toBe(index.digest);
    expect(found.platforms).toEqual([
      { os: "linux", architecture: "amd64" },
      { os: "linux", architecture: "arm64" },
    ]);
    const image = t.registry.putImage("reg.test/one", { layers: [], diffIds: [] });
    t.registry.putTag("reg.test/one", image.digest);
    const one = await t.images.describeDistribution("reg.test/one", {});
    expect(one).toEqual({
      descriptor: image,
      platforms: [{ os: "linux", architecture: "amd64" }],
    });
    expect(await t.blobs()).toEqual([]);
  });

  test("search() filters, and bounds its limit as Docker", async () => {
    const names = async (filters: [string, string[]][], limit?: number) =>
      (
        await t.images.search("x", {
          filters: new Map(filters),
          ...(limit === undefined ? {} : { limit }),
        })
      ).map((hit) => hit.name);
    expect(await names([])).toEqual(["a", "b"]);
    expect(await names([["is-official", ["true"]]])).toEqual(["a"]);
    expect(await names([["stars", ["2", "1"]]])).toEqual(["a"]);
    expect(await names([["is-automated", ["true"]]])).toEqual([]);
    await expect(names([["foo", ["x"]]])).rejects.toThrow("invalid filter 'foo'");
    await expect(names([["stars", ["x"]]])).rejects.toThrow(
      `invalid filter 'stars=x': strconv.Atoi: parsing "x": invalid syntax`,
    );
    await expect(names([], 300)).rejects.toThrow("limit 300 is outside the range of [1, 100]");
  });

  const servers: readonly (readonly [string, string])[] = [
    ["", "docker.io"],
    ["https://index.docker.io/v1/", "docker.io"],
    ["localhost:5000", "localhost:5000"],
    ["http://reg.test/v2/", "reg.test"],
  ];
  for (const [server, host] of servers) {
    test(`logIn() at ${JSON.stringify(server)} asks ${host}`, async () => {
      await t.images.logIn(server, { credentials: { username: "u" } });
      expect(t.registry.requests).toEqual([`login ${host} u`]);
    });
  }
});
