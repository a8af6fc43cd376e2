/** Archives of every kind in, and out again as they came. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { readAll, toReadableStream } from "../../lib/stream-limit.ts";
import { readTarFiles } from "../../lib/tar/tar-entries.ts";
import { encodeTar, type SmallTarEntry } from "../../lib/tar/tar-writer.ts";
import { digestOf } from "../../oci/digest.ts";
import { openTestImages, type TestImages } from "../test-images.ts";

const isRoot = process.getuid?.() === 0;
const host = process.arch === "arm64" ? "arm64" : "amd64";
const foreign = host === "amd64" ? "arm64" : "amd64";

let t: TestImages;
let said: string[] = [];

beforeEach(async () => {
  t = await openTestImages();
});
afterEach(() => t.close());

const entry = (name: string, text: string | Uint8Array): SmallTarEntry => ({
  header: { name },
  content: text,
});
const layerTar = (name: string): Uint8Array => encodeTar([entry(name, `${name}\n`)]);

async function load(archive: Uint8Array, platform?: string): Promise<string[]> {
  said = [];
  await t.images.load(toReadableStream([archive]), {
    progress: ({ stream }) => {
      if (stream !== undefined) said.push(stream.trim());
    },
    ...(platform === undefined ? {} : { platform: { os: "linux", architecture: platform } }),
  });
  return said;
}

async function save(
  references: readonly string[],
  platform?: string,
): Promise<{ readonly bytes: Uint8Array; readonly files: ReadonlyMap<string, Uint8Array> }> {
  const how = platform === undefined ? {} : { platform: { os: "linux", architecture: platform } };
  const bytes = await readAll(await t.images.save(references, how), {
    sizeMaxBytes: 1e7,
    what: "archive",
  });
  const files = await readTarFiles(toReadableStream([bytes]), {
    select: ({ type }) => type === "file",
    limits: { sizeMaxBytes: 1e7, fileMaxBytes: 1e6 },
  });
  return { bytes, files };
}

type Saved = { readonly files: ReadonlyMap<string, Uint8Array> };

interface Documents {
  readonly manifests: readonly { readonly digest: string; readonly mediaType: string }[];
}

const indexOf = ({ files }: Saved): Documents =>
  JSON.parse(Buffer.from(files.get("index.json") ?? []).toString());
const listOf = ({ files }: Saved): readonly { readonly RepoTags: readonly string[] }[] =>
  JSON.parse(Buffer.from(files.get("manifest.json") ?? []).toString());

/** An archive as Docker before 1.10 wrote it: a folder a layer, names in `repositories`. */
function legacyArchive(options: { readonly names?: object } = {}): Uint8Array {
  const {
    names = {
      "old/one": { "1": "b".repeat(64), two: "b".repeat(64) },
      base: { x: "a".repeat(64) },
    },
  } = options;
  const [base, top] = ["a".repeat(64), "b".repeat(64)];
  const folder = (id: string, document: object, layer: Uint8Array): SmallTarEntry[] => [
    { header: { name: `${id}/`, type: "directory", mode: 0o755 } },
    entry(`${id}/VERSION`, "1.0"),
    entry(`${id}/json`, JSON.stringify({ id, ...document })),
    entry(`${id}/layer.tar`, layer),
  ];
  const times = { created: "2015-01-01T00:00:00Z", architecture: host, os: "linux" };
  return encodeTar([
    ...folder(
      top,
      {
        ...times,
        parent: base,
        author: "old",
        config: { Cmd: ["hello"], Env: ["A=1"] },
        container_config: { Cmd: ["/bin/sh", "-c", "touch b"] },
        Size: 5,
      },
      layerTar("b"),
    ),
    ...folder(base, { ...times, config: { Cmd: ["sh"] } }, layerTar("a")),
    ...(Object.keys(names).length === 0 ? [] : [entry("repositories", JSON.stringify(names))]),
  ]);
}

describe.skipIf(!isRoot)("archives of old Docker versions (needs root)", () => {
  test("images of folders and `repositories` become images of today", async () => {
    expect((await load(legacyArchive())).toSorted()).toEqual([
      "Loaded image: base:x",
      "Loaded image: old/one:1",
      "Loaded image: old/one:two",
    ]);
    const image = await t.images.inspect("old/one:two");
    expect(image.Config).toMatchObject({ Cmd: ["hello"], Env: ["A=1"] });
    expect([image.Author, image.RootFS.Layers?.length]).toEqual(["old", 2]);
    expect((await t.images.inspect("base:x")).RootFS.Layers).toEqual([digestOf(layerTar("a"))]);
    expect((await t.images.history("old/one:1")).map((item) => item.CreatedBy)).toEqual([
      "/bin/sh -c touch b",
      "",
    ]);
  });

  test("what was saved by its ID has no `repositories`: it comes without a name", async () => {
    expect(await load(legacyArchive({ names: {} }))).toEqual([
      expect.stringMatching(/^Loaded image ID: sha256:/),
    ]);
    const [image] = await t.images.list({});
    expect((await t.images.inspect(image?.Id ?? "")).RootFS.Layers?.length).toBe(2);
  });

  test("what no name is for, and nothing stands on, comes too", async () => {
    const said = await load(legacyArchive({ names: { base: { x: "a".repeat(64) } } }));
    expect(said.map((line) => line.split(" ")[1])).toEqual(["image:", "image"]);
    expect(t.images.count).toBe(2);
  });

  test.each([
    ["a parent that is missing", { b: "no" }],
    ["a description that is none", { json: "{" }],
    ["an ID that leads out", { id: "../../etc" }],
  ])("refuses %s", async (_what, wrong: { b?: string; json?: string; id?: string }) => {
    const id = wrong.id ?? "c".repeat(64);
    const document = wrong.json ?? JSON.stringify({ id, parent: wrong.b ?? "", os: "linux" });
    const archive = encodeTar([
      entry(`${"c".repeat(64)}/json`, document),
      entry(`${"c".repeat(64)}/layer.tar`, layerTar("c")),
      entry("repositories", JSON.stringify({ x: { y: id } })),
    ]);
    await expect(load(archive)).rejects.toMatchObject({ kind: "invalid-argument" });
    expect(t.images.count).toBe(0);
  });

  test("layers of 1.10 that are links to each other, packed in any way", async () => {
    const [a, b] = [layerTar("a"), layerTar("b")];
    const config = JSON.stringify({
      architecture: host,
      os: "linux",
      rootfs: { type: "layers", diff_ids: [digestOf(a), digestOf(b), digestOf(a)] },
    });
    const archive = encodeTar([
      entry("one/layer.tar", gzipSync(a)),
      entry("two/layer.tar", zstdCompressSync(b)),
      { header: { name: "three/layer.tar", type: "symlink", linkName: "../one/layer.tar" } },
      entry("config.json", config),
      entry(
        "manifest.json",
        JSON.stringify([
          {
            Config: "config.json",
            RepoTags: ["linked:1"],
            Layers: ["one/layer.tar", "two/layer.tar", "three/layer.tar"],
          },
        ]),
      ),
    ]);
    expect(await load(archive)).toEqual(["Loaded image: linked:1"]);
    const { layers } = await t.images.layersOf("linked:1");
    expect(layers.map((layer) => layer.mediaType.split("+")[1])).toEqual(["gzip", "zstd", "gzip"]);
  });
});

interface Built {
  readonly index: string;
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly archive: Uint8Array;
}

/** An image layout with an index of two platforms and an attestation, under two names. */
function layoutArchive(
  options: { readonly leaveOut?: string; readonly names?: readonly string[] } = {},
): Built {
  const blobs = new Map<string, Uint8Array>();
  const put = (bytes: Uint8Array | string, mediaType: string): Record<string, unknown> => {
    const digest = digestOf(bytes);
    blobs.set(digest, Buffer.from(bytes));
    return { mediaType, digest, size: Buffer.from(bytes).length };
  };
  const oci = "application/vnd.oci.image";
  const manifestFor = (architecture: string): Record<string, unknown> => {
    const tar = layerTar(`for-${architecture}`);
    const config = put(
      JSON.stringify({
        architecture,
        os: "linux",
        config: { Cmd: [architecture] },
        rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
      }),
      `${oci}.config.v1+json`,
    );
    const layers = [put(gzipSync(tar), `${oci}.layer.v1.tar+gzip`)];
    const manifest = { schemaVersion: 2, mediaType: `${oci}.manifest.v1+json`, config, layers };
    // Spaces that an encoder of ours would not write: bytes must stay as they came.
    return {
      ...put(JSON.stringify(manifest, null, 3), `${oci}.manifest.v1+json`),
      platform: { architecture, os: "linux" },
    };
  };
  const attestation = put(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${oci}.manifest.v1+json`,
      config: put(
        JSON.stringify({ architecture: "unknown", os: "unknown", rootfs: { diff_ids: [] } }),
        `${oci}.config.v1+json`,
      ),
      layers: [put('{"_type":"statement"}', "application/vnd.in-toto+json")],
    }),
    `${oci}.manifest.v1+json`,
  );
  const manifests = [
    manifestFor(foreign),
    manifestFor(host),
    { ...attestation, platform: { architecture: "unknown", os: "unknown" } },
  ];
  const index = put(
    JSON.stringify({ schemaVersion: 2, mediaType: `${oci}.index.v1+json`, manifests }, null, 2),
    `${oci}.index.v1+json`,
  );
  const named = (name: string): object => ({
    ...index,
    annotations: { "io.containerd.image.name": name },
  });
  const top = {
    schemaVersion: 2,
    manifests: (options.names ?? ["reg.test/multi:1", "reg.test/multi:2"]).map(named),
  };
  const shipped = [...blobs].filter(([digest]) => digest !== options.leaveOut);
  return {
    index: String(index["digest"]),
    blobs,
    archive: encodeTar([
      ...shipped.map(([digest, bytes]) => entry(`blobs/sha256/${digest.slice(7)}`, bytes)),
      entry("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
      entry("index.json", JSON.stringify(top)),
    ]),
  };
}

const ociTypes = "application/vnd.oci.image";

/** A layout of documents that its index lists, and of what they name. */
function layoutOf(listed: readonly object[], blobs: readonly (string | Uint8Array)[]): Uint8Array {
  return encodeTar([
    ...blobs.map((bytes) => entry(`blobs/sha256/${digestOf(bytes).slice(7)}`, bytes)),
    entry("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
    entry("index.json", JSON.stringify({ schemaVersion: 2, manifests: listed })),
  ]);
}

const describeBlob = (bytes: string | Uint8Array, mediaType: string): Record<string, unknown> => ({
  mediaType,
  digest: digestOf(bytes),
  size: Buffer.from(bytes).length,
});

/** A manifest of one layer, and its blobs. */
function smallImage(): { readonly manifest: string; readonly blobs: (string | Uint8Array)[] } {
  const tar = layerTar("small");
  const config = JSON.stringify({
    architecture: host,
    os: "linux",
    rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: `${ociTypes}.manifest.v1+json`,
    config: describeBlob(config, `${ociTypes}.config.v1+json`),
    layers: [describeBlob(tar, `${ociTypes}.layer.v1.tar`)],
  });
  return { manifest, blobs: [tar, config, manifest] };
}

describe.skipIf(!isRoot)("layouts (needs root)", () => {
  test("what is no image, beside one, is passed over; alone it is refused", async () => {
    const { manifest, blobs } = smallImage();
    const empty = "{}";
    const chart = JSON.stringify({
      schemaVersion: 2,
      mediaType: `${ociTypes}.manifest.v1+json`,
      config: describeBlob(empty, "application/vnd.oci.empty.v1+json"),
      layers: [describeBlob(empty, "application/x.chart")],
    });
    const manifestType = `${ociTypes}.manifest.v1+json`;
    const annotations = { "io.containerd.image.name": "beside:1" };
    const archive = layoutOf(
      [describeBlob(chart, manifestType), { ...describeBlob(manifest, manifestType), annotations }],
      [...blobs, empty, chart],
    );
    expect(await load(archive)).toEqual(["Loaded image: beside:1"]);
    expect(t.images.count).toBe(1);
    const alone = layoutOf([describeBlob(chart, manifestType)], [empty, chart]);
    await expect(load(alone)).rejects.toThrow("the archive is no image");
  });

  test("a file that is named for other bytes is the archive's fault, and nothing is left", async () => {
    const { manifest, blobs } = smallImage();
    const archive = encodeTar([
      ...blobs.map((bytes) => entry(`blobs/sha256/${digestOf(bytes).slice(7)}`, "a lie")),
      entry("index.json", JSON.stringify({ schemaVersion: 2, manifests: [manifest] })),
    ]);
    await expect(load(archive)).rejects.toMatchObject({
      kind: "invalid-argument",
      message: expect.stringContaining("is not what it is named"),
    });
    expect(await t.blobs()).toEqual([]);
  });

  test("indexes that name each other hundreds of times are read once, and go out again", async () => {
    const { manifest, blobs } = smallImage();
    let below = { text: manifest, type: `${ociTypes}.manifest.v1+json` };
    for (let depth = 0; depth < 4; depth += 1) {
      const type = `${ociTypes}.index.v1+json`;
      const manifests = Array.from({ length: 300 }, () => describeBlob(below.text, below.type));
      const text = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests });
      blobs.push(text);
      below = { text, type };
    }
    const annotations = { "io.containerd.image.name": "many:1" };
    const top = { ...describeBlob(below.text, below.type), annotations };
    expect(await load(layoutOf([top], blobs))).toEqual(["Loaded image: many:1"]);
    const { files } = await save(["many:1"]);
    expect([...files.keys()].filter((name) => name.startsWith("blobs/")).length).toBe(blobs.length);
  });

  test("a name that another image has is told of when it moves", async () => {
    await load(legacyArchive({ names: { base: { x: "a".repeat(64) } } }));
    const old = (await t.images.inspect("base:x")).Id;
    const said = await load(legacyArchive({ names: { base: { x: "b".repeat(64) } } }));
    expect(said).toEqual([
      `The image base:x already exists, renaming the old one with ID ${old} to empty string`,
      "Loaded image: base:x",
    ]);
  });
});

/** What save makes of the image of a layout, which is gone then. */
async function savedSmall(layout: Uint8Array): Promise<{ readonly bytes: Uint8Array }> {
  await load(layout);
  const [image] = await t.images.list({});
  const saved = await save([image?.Id ?? ""]);
  await t.images.remove(image?.Id ?? "", {});
  return saved;
}

describe.skipIf(!isRoot)("images of several platforms (needs root)", () => {
  test("all are loaded under one name, the host's first, and go out bit for bit", async () => {
    const { archive, index, blobs } = layoutArchive();
    expect(await load(archive)).toEqual([
      "Loaded image: reg.test/multi:1",
      "Loaded image: reg.test/multi:2",
    ]);
    expect((await t.images.resolve("reg.test/multi:1")).config.config?.Cmd).toEqual([host]);
    const other = { os: "linux", architecture: foreign };
    const wanted = await t.images.resolve("reg.test/multi:1", { platform: other });
    expect(wanted.config.config?.Cmd).toEqual([foreign]);
    expect((await t.images.list({})).length).toBe(1);
    expect((await t.images.list({ all: true })).length).toBe(2);
    await t.images.recover();
    const saved = await save(["reg.test/multi"]);
    for (const [digest, bytes] of blobs) {
      expect(saved.files.get(`blobs/sha256/${digest.slice(7)}`)).toEqual(Buffer.from(bytes));
    }
    expect(indexOf(saved).manifests.map((one) => one.digest)).toEqual([index, index]);
    expect(listOf(saved)).toMatchObject([{ RepoTags: ["reg.test/multi:1", "reg.test/multi:2"] }]);
  });

  test("names with a digest are left out: where an image came from is not the archive's to say", async () => {
    const { index } = layoutArchive();
    const names = [`trusted/app@${index}`, `trusted/app:1@${digestOf("other")}`, "own:1"];
    expect(await load(layoutArchive({ names }).archive)).toEqual(["Loaded image: own:1"]);
    expect((await t.images.inspect("own:1")).RepoDigests).toEqual([]);
  });

  test("what was saved loads as the same again, by itself", async () => {
    await load(layoutArchive().archive);
    const first = await save(["reg.test/multi:1"]);
    await t.images.remove("reg.test/multi:1", {});
    await t.images.remove("reg.test/multi:2", {});
    expect([t.images.count, (await t.content.list()).length]).toEqual([0, 0]);
    await load(first.bytes);
    expect(Buffer.from((await save(["reg.test/multi:1"])).bytes)).toEqual(Buffer.from(first.bytes));
  });

  test("one platform that is asked for comes, or goes, alone", async () => {
    await load(layoutArchive().archive, foreign);
    expect((await t.images.resolve("reg.test/multi:1")).config.config?.Cmd).toEqual([foreign]);
    expect(t.images.count).toBe(1);
    await load(layoutArchive().archive);
    const saved = await save(["reg.test/multi:1"], foreign);
    const manifestType = "application/vnd.oci.image.manifest.v1+json";
    expect(indexOf(saved).manifests[0]?.mediaType).toBe(manifestType);
    expect([...saved.files.keys()].filter((name) => name.startsWith("blobs/")).length).toBe(3);
    await expect(load(layoutArchive().archive, "riscv64")).rejects.toThrow(
      "the archive has no image for the platform linux/riscv64",
    );
    await expect(save(["reg.test/multi:1"], "riscv64")).rejects.toThrow("No such image");
  });

  test("what has one platform comes when that is asked for, and not else", async () => {
    const { manifest, blobs } = smallImage();
    const layout = layoutOf([describeBlob(manifest, `${ociTypes}.manifest.v1+json`)], blobs);
    for (const archive of [layout, legacyArchive(), (await savedSmall(layout)).bytes]) {
      await expect(load(archive, foreign)).rejects.toThrow(
        `the archive has no image for the platform linux/${foreign}`,
      );
      expect(t.images.count).toBe(0);
      await load(archive, host);
      expect(t.images.count).toBeGreaterThan(0);
      await t.images.prune(new Map([["dangling", ["false"]]]));
    }
  });

  test("an index that is not whole goes out as the manifest that is", async () => {
    const { blobs } = layoutArchive();
    const statement = digestOf('{"_type":"statement"}');
    expect(blobs.has(statement)).toBe(true);
    await load(layoutArchive({ leaveOut: statement }).archive);
    const saved = await save(["reg.test/multi:1"]);
    expect(indexOf(saved).manifests[0]?.mediaType).toBe(
      "application/vnd.oci.image.manifest.v1+json",
    );
  });

  test("one platform goes alone; its name goes on with the others, and with the last one goes", async () => {
    await load(layoutArchive({ names: ["reg.test/multi:1"] }).archive);
    const name = "reg.test/multi:1";
    const [own, away] = [host, foreign].map((architecture) => ({ os: "linux", architecture }));
    const platforms = own === undefined ? [] : [own];
    const id = (await t.images.resolve(name)).id;
    t.images.useUsers({
      containersOf: (image) => (image === id ? [{ id: "c".repeat(64), isRunning: true }] : []),
    });
    await expect(t.images.remove(name, { platforms, force: true })).rejects.toMatchObject({
      kind: "conflict",
    });
    t.images.useUsers({ containersOf: () => [] });
    const removed = await t.images.remove(name, { platforms });
    expect(removed.map((item) => Object.keys(item)[0])).toEqual(["Deleted", "Deleted"]);
    expect((await t.images.resolve(name)).config.config?.Cmd).toEqual([foreign]);
    expect([t.images.count, removed[0]?.Deleted]).toEqual([1, id]);
    await expect(t.images.remove(name, { platforms })).rejects.toThrow("does not match");
    await t.images.remove(name, { platforms: away === undefined ? [] : [away] });
    expect([t.images.count, (await t.content.list()).length]).toEqual([0, 0]);
  });

  test("prune and remove treat platforms as parts of their name", async () => {
    await load(layoutArchive().archive);
    expect((await t.images.prune(new Map())).deleted).toEqual([]);
    expect(t.images.count).toBe(2);
    await t.images.tag("reg.test/multi:1", { repo: "again", tag: "" });
    await t.images.remove("reg.test/multi:1", {});
    await t.images.remove("reg.test/multi:2", {});
    expect(t.images.count).toBe(2);
    expect((await save(["again"])).files.size).toBeGreaterThan(10);
    await t.images.prune(new Map([["dangling", ["false"]]]));
    expect([t.images.count, (await t.content.list()).length]).toEqual([0, 0]);
  });
});

describe.skipIf(!isRoot)("save() by repository (needs root)", () => {
  test("means all of its tags, whatever images they are", async () => {
    await load(legacyArchive());
    await t.images.tag("base:x", { repo: "old/one", tag: "three" });
    const tags = listOf(await save(["old/one"])).map((image) => image.RepoTags);
    expect(tags.flat().toSorted()).toEqual(["old/one:1", "old/one:three", "old/one:two"]);
    expect(tags.length).toBe(2);
    await expect(save(["nothing"])).rejects.toThrow("No such image: nothing");
  });
});
