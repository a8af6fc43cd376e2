import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { openContentStore } from "../content/local-content-store.ts";
import { createEventBus } from "../event/journal-event-bus.ts";
import { silentLogger } from "../lib/log.ts";
import { readAll, toReadableStream } from "../lib/stream-limit.ts";
import { readTarFiles } from "../lib/tar/tar-entries.ts";
import { encodeTar } from "../lib/tar/tar-writer.ts";
import { createLeases } from "../metadata/leases.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { digestOf } from "../oci/digest.ts";
import { openSnapshotter } from "../snapshot/choose-snapshotter.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import { openTestUnpacker } from "./test-images.ts";
import type { ProgressMessage } from "./image-service.ts";
import { openImageService, type OpenedImageService } from "./local-image-service.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: images are unpacked by root only");

let root = "";
let images: OpenedImageService;
let snapshots: Snapshotter;
let close: () => void;
let lines: ProgressMessage[] = [];
const progress = (message: ProgressMessage): void => void lines.push(message);

async function open(): Promise<void> {
  const metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
  const content = await openContentStore({ root: join(root, "content"), logger: silentLogger });
  snapshots = openSnapshotter({ dataRoot: root, metadata, logger: silentLogger });
  images = openImageService({
    content,
    snapshots,
    unpacker: openTestUnpacker(),
    metadata,
    leases: createLeases(),
    events: createEventBus(),
    logger: silentLogger,
  });
  close = () => metadata[Symbol.dispose]();
}

const layer = encodeTar([
  { header: { name: "bin/", type: "directory", mode: 0o755 } },
  { header: { name: "bin/hello", mode: 0o755 }, content: "#!/bin/sh\n" },
]);

const stream = (bytes: Uint8Array): ReadableStream<Uint8Array> => toReadableStream([bytes]);

const config = (changes: object = {}): Uint8Array =>
  Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["hello"] },
      rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
      ...changes,
    }),
  );

/** A docker-archive as old versions wrote it. */
function archive(
  options: { config?: Uint8Array; layer?: Uint8Array; tags?: string[] } = {},
): Uint8Array {
  const manifest = [
    { Config: "config.json", RepoTags: options.tags ?? ["demo:1"], Layers: ["one/layer.tar"] },
  ];
  return encodeTar([
    { header: { name: "one/", type: "directory" } },
    { header: { name: "one/layer.tar" }, content: options.layer ?? layer },
    { header: { name: "config.json" }, content: options.config ?? config() },
    { header: { name: "manifest.json" }, content: JSON.stringify(manifest) },
  ]);
}

describe.skipIf(!isRoot)("images", () => {
  beforeEach(async () => {
    root = mkdtempSync("/tmp/tug-image-");
    lines = [];
    await open();
  });
  afterEach(() => {
    close();
    rmSync(root, { recursive: true, force: true });
  });

  // Such a name is a registry's word: whoever runs it, and the policy, relies on the digest.
  test("load() gives no image a name with a digest", async () => {
    const digest = digestOf("of another image");
    for (const tag of [`trusted/app@${digest}`, `trusted/app:1@${digest}`]) {
      const loaded = images.load(stream(archive({ tags: ["demo:1", tag] })), { progress });
      await expect(loaded).rejects.toThrow("refusing to create a tag with a digest reference");
    }
    expect(images.count).toBe(0);
  });

  test("load() makes an image of a docker-archive", async () => {
    await images.load(stream(archive()), { progress });
    expect(lines.at(-1)).toEqual({ stream: "Loaded image: demo:1\n" });
    const image = await images.resolve("demo:1");
    expect(image.config.config?.Cmd).toEqual(["hello"]);
    expect(image.id).toBe(digestOf(config()));
    expect((await images.list({}))[0]?.RepoTags).toEqual(["demo:1"]);
  });

  test("load() takes a packed archive with packed layers", async () => {
    await images.load(stream(gzipSync(archive({ layer: gzipSync(layer) }))), { progress });
    expect((await images.inspect("demo:1")).RootFS.Layers).toEqual([digestOf(layer)]);
  });

  test("save() and load() give the same image, and the same bytes again", async () => {
    await images.load(stream(archive()), { progress });
    const read = async (): Promise<Uint8Array> =>
      await readAll(await images.save(["demo:1"]), { sizeMaxBytes: 1e8, what: "archive" });
    const saved = await read();
    const files = await readTarFiles([saved], {
      select: () => true,
      limits: { sizeMaxBytes: 1e8, fileMaxBytes: 1e7 },
    });
    expect([...files.keys()]).toContain("oci-layout");
    expect(
      JSON.parse(Buffer.from(files.get("manifest.json") ?? []).toString())[0].RepoTags,
    ).toEqual(["demo:1"]);
    await images.remove("demo:1", {});
    expect(images.count).toBe(0);
    await images.load(stream(saved), { progress });
    expect(await read()).toEqual(saved);
  });

  test("import() applies changes and keeps the tar's digest as diff ID", async () => {
    const id = await images.import(stream(gzipSync(layer)), {
      repo: "imp",
      changes: ['CMD ["sh"]', "ENV a=b c='d e'", "EXPOSE 80", "WORKDIR /w", "VOLUME /v"],
      progress,
    });
    const image = await images.inspect("imp");
    expect(image.Id).toBe(id);
    expect(image.RootFS.Layers).toEqual([digestOf(layer)]);
    expect(image.Config).toMatchObject({
      Cmd: ["sh"],
      Env: ["a=b", "c=d e"],
      ExposedPorts: { "80/tcp": {} },
      WorkingDir: "/w",
      Volumes: { "/v": {} },
    });
    expect(await images.history("imp")).toMatchObject([
      { Comment: "Imported from -", Tags: ["imp:latest"] },
    ]);
  });

  test("remove() frees the disk, and tells what it removed", async () => {
    await images.load(stream(archive()), { progress });
    await images.tag("demo:1", { repo: "other", tag: "" });
    expect(await images.remove("other:latest", {})).toEqual([{ Untagged: "other:latest" }]);
    const removed = await images.remove("demo:1", {});
    expect(removed.map((item) => Object.keys(item)[0])).toEqual(["Untagged", "Deleted", "Deleted"]);
    const blob = join(root, "content/blobs/sha256", digestOf(layer).slice(7));
    expect(existsSync(blob)).toBe(false);
  });

  test("remove() refuses the image of a container", async () => {
    await images.load(stream(archive()), { progress });
    images.useUsers({ containersOf: () => [{ id: "c".repeat(64), isRunning: true }] });
    await expect(images.remove("demo:1", {})).rejects.toMatchObject({ kind: "conflict" });
    const { id } = await images.resolve("demo:1");
    await expect(images.remove(id, { force: true })).rejects.toThrow(/cannot be forced/);
    expect(images.count).toBe(1);
  });

  test("remove() tells of no layer that a container keeps", async () => {
    await images.load(stream(archive()), { progress });
    const { id, chainId } = await images.resolve("demo:1");
    images.useUsers({ containersOf: () => [{ id: "c".repeat(64), isRunning: false }] });
    await snapshots.prepare("container", chainId === undefined ? {} : { parent: chainId });
    expect(await images.remove("demo:1", { force: true })).toEqual([
      { Untagged: "demo:1" },
      { Deleted: id },
    ]);
    await images.import(stream(layer), { repo: "same", progress });
    images.useUsers({ containersOf: () => [] });
    const all = new Map([["dangling", ["false"]]]);
    expect((await images.prune(all)).spaceReclaimedBytes).toBe(0);
    await snapshots.remove("container");
    await images.import(stream(layer), { repo: "same", progress });
    expect((await images.prune(all)).spaceReclaimedBytes).toBe(10);
  });

  const refused: readonly (readonly [string, () => Uint8Array, RegExp])[] = [
    ["no image", () => encodeTar([{ header: { name: "x" }, content: "y" }]), /no image/],
    [
      "a layer that is missing",
      () =>
        encodeTar([
          {
            header: { name: "manifest.json" },
            content: '[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]',
          },
        ]),
      /lacks the file/,
    ],
    [
      "a config that lies about its layers",
      () => archive({ config: config({ rootfs: { type: "layers", diff_ids: [] } }) }),
      /lists 0 layers, but the manifest has 1/,
    ],
    [
      "a config with the wrong diff ID",
      () => archive({ config: config({ rootfs: { type: "layers", diff_ids: [digestOf("x")] } }) }),
      /digest|diff/i,
    ],
    [
      "a config of the wrong type",
      () => archive({ config: config({ config: { Cmd: 5 } }) }),
      /Cmd/,
    ],
    ["another operating system", () => archive({ config: config({ os: "windows" }) }), /windows/],
    ["truncated gzip", () => gzipSync(archive()).subarray(0, 200), /gzip|unexpected end/i],
    [
      "an entry that leaves the archive",
      () => encodeTar([{ header: { name: "../../etc/evil" }, content: "y" }]),
      /outside/,
    ],
    ["a tag that is none", () => archive({ tags: ["Not A Name"] }), /invalid reference format/],
    [
      "a layer that leaves its root",
      () => {
        const evil = encodeTar([{ header: { name: "../evil" }, content: "y" }]);
        return archive({
          layer: evil,
          config: config({ rootfs: { type: "layers", diff_ids: [digestOf(evil)] } }),
        });
      },
      /evil/,
    ],
  ];
  for (const [what, bytes, reason] of refused) {
    test(`load() refuses ${what} and leaves nothing behind`, async () => {
      await expect(images.load(stream(bytes()), { progress })).rejects.toThrow(reason);
      expect(images.count).toBe(0);
      const blobs = join(root, "content/blobs/sha256");
      const left = [...new Bun.Glob("*").scanSync({ cwd: blobs, onlyFiles: true })];
      expect(left).toEqual([]);
    });
  }

  test("recover() drops an image whose layer is gone, and keeps the others", async () => {
    await images.load(stream(archive()), { progress });
    const { id } = await images
      .import(stream(layer), { repo: "ok", progress })
      .then((ok) => ({ id: ok }));
    const path = join(root, "content/blobs/sha256", digestOf(config()).slice(7));
    expect(readFileSync(path).length).toBeGreaterThan(0);
    rmSync(path);
    await images.recover();
    expect((await images.list({})).map((image) => image.Id)).toEqual([id]);
  });
});
