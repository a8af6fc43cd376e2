import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { toReadableStream } from "../../lib/stream-limit.ts";
import { encodeTar, type SmallTarEntry } from "../../lib/tar/tar-writer.ts";
import { digestOf } from "../../oci/digest.ts";
import { openTestImages, type TestImages } from "../test-images.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: images are unpacked by root only");

const noise = randomBytes(17_000_000);
const folder = (name: string, mode = 0o755): SmallTarEntry => ({
  header: { name, type: "directory", mode },
});
const file = (name: string, content: string | Uint8Array): SmallTarEntry => ({
  header: { name },
  content,
});
const low = encodeTar([folder("./", 0o711), folder("etc", 0o750), file("etc/low", "low")]);
/** Large enough to be begun with early, and nothing of it depends on others. */
const alone = encodeTar([folder("opt"), file("opt/noise", noise), file("mark", "alone")]);
/** `etc` looks as it does below. */
const leaning = encodeTar([file("etc/high", "high"), file("noise", noise)]);

interface Recipe {
  readonly layers: readonly Uint8Array[];
  readonly packed?: (tar: Uint8Array) => Uint8Array;
  readonly diffIds?: readonly string[];
}

/** An archive whose layers come first, and what they are only when `held` has resolved. */
function archive(recipe: Recipe, held: () => Promise<void> = async () => undefined) {
  const { layers, packed = (tar) => tar, diffIds = layers.map((each) => digestOf(each)) } = recipe;
  const files = layers.map((tar, at) => file(`layer-${at}.tar`, packed(tar)));
  const config = {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: diffIds },
    config: {},
  };
  const manifest = [
    {
      Config: "config.json",
      RepoTags: ["early:1"],
      Layers: layers.map((_, at) => `layer-${at}.tar`),
    },
  ];
  const first = encodeTar(files);
  const rest = encodeTar([
    file("config.json", JSON.stringify(config)),
    file("manifest.json", JSON.stringify(manifest)),
  ]);
  return (async function* () {
    // Without the two blocks of zeros that end a tar.
    yield first.subarray(0, first.length - 1024);
    await held();
    yield rest;
  })();
}

let t: TestImages;
const load = async (source: AsyncIterable<Uint8Array>): Promise<void> =>
  await t.images.load(toReadableStream(source), { progress: t.progress });

/** The folders that snapshots have, with the files in them. */
function snapshotsWith(name: string): readonly string[] {
  const root = join(t.root, "snapshots");
  // One that is being removed may have lost its files already.
  const folders = readdirSync(root).filter((entry) => existsSync(join(root, entry, "fs")));
  return folders.filter((entry) => readdirSync(join(root, entry, "fs")).includes(name));
}

/** Waits until a snapshot has a file of that name. */
async function until(name: string): Promise<void> {
  for (let tries = 0; tries < 500 && snapshotsWith(name).length === 0; tries += 1) {
    await Bun.sleep(10);
  }
  expect(snapshotsWith(name)).toHaveLength(1);
}

describe.skipIf(!isRoot)("a layer of an archive", () => {
  beforeEach(async () => {
    t = await openTestImages();
  });
  afterEach(() => t.close());

  test.each([
    ["plain", undefined],
    ["gzip", (tar: Uint8Array) => gzipSync(tar, { level: 1 })],
  ])("is unpacked before the archive says whose it is: %s", async (_kind, packed) => {
    let early: readonly string[] = [];
    const held = async (): Promise<void> => {
      await until("mark");
      early = snapshotsWith("mark");
    };
    await load(archive({ layers: [alone], ...(packed === undefined ? {} : { packed }) }, held));
    expect(snapshotsWith("mark")).toEqual(early);
    expect(t.hasSnapshot(digestOf(alone))).toBe(true);
    expect(t.snapshotCount()).toBe(1);
  });

  test("is put onto those below it, whose root folder it has", async () => {
    let early: readonly string[] = [];
    const held = async (): Promise<void> => {
      await until("mark");
      early = snapshotsWith("mark");
    };
    await load(archive({ layers: [low, alone] }, held));
    expect(snapshotsWith("mark")).toEqual(early);
    expect(t.snapshotCount()).toBe(2);
    const root = join(t.root, "snapshots", early[0] ?? "", "fs");
    expect(statSync(root).mode & 0o777).toBe(0o711);
  });

  test("is unpacked again where it depends on those below it", async () => {
    await load(archive({ layers: [low, leaning] }, async () => await until("noise")));
    expect(t.snapshotCount()).toBe(2);
    await t.removalsDone();
    const [own = ""] = snapshotsWith("noise");
    expect(statSync(join(t.root, "snapshots", own, "fs", "etc")).mode & 0o777).toBe(0o750);
  });

  test("leaves nothing when it is not what the image names, which is told", async () => {
    const other = digestOf(Buffer.from("other"));
    const bad = archive({ layers: [alone], diffIds: [other] }, async () => await until("mark"));
    await expect(load(bad)).rejects.toThrow("the diff ID is");
    expect(t.snapshotCount()).toBe(0);
  });

  test("leaves nothing when no image has it, nor when the archive is cut", async () => {
    const stray = archive({ layers: [low] }, async () => undefined);
    const both = async function* () {
      const first = encodeTar([file("stray.tar", alone)]);
      yield first.subarray(0, first.length - 1024);
      await until("mark");
      yield* stray;
    };
    await load(both());
    expect(t.snapshotCount()).toBe(1);
    const cut = async function* () {
      yield encodeTar([file("layer-0.tar", alone)]).subarray(0, 16_900_000);
      await until("opt");
    };
    await expect(load(cut())).rejects.toThrow("unexpected end");
    expect(t.snapshotCount()).toBe(1);
  });
});
