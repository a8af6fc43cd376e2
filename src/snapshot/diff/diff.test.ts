import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isKind } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import { tarEntries } from "../../lib/tar/tar-entries.ts";
import type { Metadata } from "../../metadata/metadata.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { digestOf } from "../../oci/digest.ts";
import { makeNode, setXattr } from "../../sys/fs/fs.ts";
import { changeOddTree, describeTree, makeOddTree } from "../tree/odd-tree.ts";
import { applyLayer } from "../unpack/apply.ts";
import { openCopySnapshotter } from "../copy-snapshotter.ts";
import { type Change, type DiffRequest, hashDiff, listDiff, writeDiff } from "./diff.ts";
import { encodeDiffMessage } from "./_diff-protocol.ts";
import { diffHelperCommand, listChanges, openDiff } from "./diff-client.ts";
import { openDiffHasher } from "./diff-hasher.ts";
import { openOverlaySnapshotter } from "../overlay-snapshotter.ts";
import type { Snapshotter } from "../snapshotter.ts";
import { withMount } from "../snapshotter.suite.ts";

let folder: string;
let metadata: Metadata;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-diff-"));
  metadata = openMetadata({ path: join(folder, "m.db"), logger: silentLogger });
});
afterEach(() => {
  metadata[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

function tarOf(request: DiffRequest): Buffer {
  const chunks: Buffer[] = [];
  writeDiff(request, (bytes) => chunks.push(Buffer.from(bytes)));
  return Buffer.concat(chunks);
}

async function namesOf(tar: Uint8Array): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of tarEntries([tar], { sizeMaxBytes: 2 ** 30 }))
    names.push(entry.header.name);
  return names;
}

const shown = (changes: readonly Change[]): string[] =>
  changes.map(({ kind, path }) => `${kind} ${path}`);

/** Writes files into a new snapshot and commits it. */
async function commitLayer(
  snapshots: Snapshotter,
  layer: { readonly name: string; readonly parent?: string; work(root: string): void },
): Promise<void> {
  const { name, parent, work } = layer;
  const mount = await snapshots.prepare(`${name}-active`, parent === undefined ? {} : { parent });
  withMount(mount, work);
  await snapshots.commit(`${name}-active`, { name, durable: false });
}

for (const [driver, openStore] of [
  ["overlay", openOverlaySnapshotter],
  ["copy", openCopySnapshotter],
] as const) {
  describe.skipIf(process.getuid?.() !== 0)(`diff of ${driver} snapshots (needs root)`, () => {
    let snapshots: Snapshotter;

    beforeEach(() => {
      snapshots = openStore({ root: join(folder, "s"), metadata, logger: silentLogger });
    });
    afterEach(() => snapshots[Symbol.asyncDispose]());

    /** Unpacks an archive as a layer. */
    async function applyAs(name: string, options: { tar: Uint8Array; parent?: string }) {
      const { tar, parent } = options;
      const blobPath = join(folder, `${name}.tar`);
      writeFileSync(blobPath, tar);
      const key = `${name}-unpack`;
      const mount = await snapshots.prepare(key, parent === undefined ? {} : { parent });
      await applyLayer({
        blobPath,
        targetDir: mount.upperDir ?? mount.source ?? "",
        parentDirs: mount.lowerDirs ?? [],
        whiteouts: driver === "overlay" ? "overlay" : "remove",
      });
      await snapshots.commit(key, { name, durable: false });
    }

    const treeOf = async (name: string): Promise<string[]> => {
      const mount = await snapshots.view(`${name}-view`, { parent: name });
      const tree = withMount(mount, describeTree);
      await snapshots.remove(`${name}-view`);
      return tree;
    };

    test("applied to the same parent, it gives the same tree", async () => {
      await commitLayer(snapshots, { name: "base", work: makeOddTree });
      await commitLayer(snapshots, { name: "top", parent: "base", work: changeOddTree });
      const base = tarOf(snapshots.layersOf("base"));
      const top = tarOf(snapshots.layersOf("top"));
      await applyAs("base2", { tar: base });
      await applyAs("top2", { tar: top, parent: "base2" });
      expect(await treeOf("base2")).toEqual(await treeOf("base"));
      expect(await treeOf("top2")).toEqual(await treeOf("top"));
      expect((await treeOf("top")).length).toBeGreaterThan(25);
    });

    test("is the same bytes each time, which GNU tar reads to the end", async () => {
      await commitLayer(snapshots, { name: "base", work: makeOddTree });
      const request = snapshots.layersOf("base");
      const tar = tarOf(request);
      expect(tarOf(request).equals(tar)).toBe(true);
      const { diffId, tarSizeBytes } = hashDiff(request);
      expect([diffId, tarSizeBytes]).toEqual([digestOf(tar), tar.length]);
      const listed = spawnSync("tar", ["-tf", "-"], { input: tar });
      expect([listed.status, listed.stderr.toString()]).toEqual([0, ""]);
    });

    test("holds the folders of what changed, and nothing else", async () => {
      await commitLayer(snapshots, { name: "base", work: makeOddTree });
      await commitLayer(snapshots, {
        name: "top",
        parent: "base",
        work: (root) => chmodSync(join(root, "etc/deep/er/f"), 0o600),
      });
      expect(await namesOf(tarOf(snapshots.layersOf("top")))).toEqual([
        "etc/",
        "etc/deep/",
        "etc/deep/er/",
        "etc/deep/er/f",
      ]);
    });

    test("tells a changed root, and times no later than the epoch", async () => {
      await commitLayer(snapshots, { name: "base", work: () => undefined });
      await commitLayer(snapshots, {
        name: "top",
        parent: "base",
        work: (root) => {
          chmodSync(root, 0o711);
          writeFileSync(join(root, "f"), "x");
        },
      });
      const tar = tarOf({ ...snapshots.layersOf("top"), epochS: 1000 });
      const times: string[] = [];
      for await (const { header } of tarEntries([tar], { sizeMaxBytes: 2 ** 30 })) {
        times.push(`${header.name} ${header.mtimeNs}`);
      }
      expect(times).toEqual(["./ 1000000000000", "f 1000000000000"]);
    });

    test("leaves out sockets and names that would be whiteouts", async () => {
      await commitLayer(snapshots, {
        name: "base",
        work: (root) => {
          writeFileSync(join(root, "f"), "x");
          writeFileSync(join(root, ".wh.f"), "x");
          makeNode(join(root, "sock"), 0o140644, 0);
        },
      });
      expect(await namesOf(tarOf(snapshots.layersOf("base")))).toEqual(["f"]);
    });

    test("lists changes as Docker does", async () => {
      await commitLayer(snapshots, {
        name: "base",
        work: (root) => {
          mkdirSync(join(root, "home/app"), { recursive: true });
          mkdirSync(join(root, "bin"));
          mkdirSync(join(root, "etc"));
          mkdirSync(join(root, "still"));
          for (const name of ["bin/true", "bin/sh", "home/app/f", "etc/group", "still/x"]) {
            writeFileSync(join(root, name), "1");
          }
        },
      });
      await snapshots.prepare("c", { parent: "base" });
      withMount(snapshots.mounts("c"), (root) => {
        rmSync(join(root, "home"), { recursive: true });
        mkdirSync(join(root, "home"));
        writeFileSync(join(root, "home/x"), "");
        rmSync(join(root, "bin/true"));
        mkdirSync(join(root, "a/b"), { recursive: true });
        writeFileSync(join(root, "etc/group"), "22");
        writeFileSync(join(root, "etc/hosts"), "");
        mkdirSync(join(root, "proc"));
        symlinkSync("/proc/mounts", join(root, "etc/mtab"));
      });
      const request = { ...snapshots.layersOf("c"), omitsEngineFiles: true };
      const changes: Change[] = [];
      listDiff(request, (change) => changes.push(change));
      const wanted = [
        "added /a",
        "added /a/b",
        "modified /bin",
        "removed /bin/true",
        "modified /etc",
        "modified /etc/group",
        "modified /home",
        "removed /home/app",
        "added /home/x",
      ];
      expect(shown(changes)).toEqual(wanted);
      expect(shown(await listChanges(request))).toEqual(wanted);
      expect(await namesOf(tarOf(request))).not.toContain("proc/");
    });

    test("the whole tree is what a mount shows", async () => {
      await commitLayer(snapshots, { name: "base", work: makeOddTree });
      await commitLayer(snapshots, { name: "top", parent: "base", work: changeOddTree });
      const tar = tarOf({ ...snapshots.layersOf("top"), content: "tree" });
      expect((await namesOf(tar)).filter((name) => name.includes(".wh."))).toEqual([]);
      await applyAs("flat", { tar });
      expect(await treeOf("flat")).toEqual(await treeOf("top"));
    });
  });
}

describe("diff of a deep tree", () => {
  const lower = "d/".repeat(1024);
  const requests: readonly Pick<DiffRequest, "kind" | "content">[] = [
    { kind: "overlay", content: "changes" },
    { kind: "overlay", content: "tree" },
    { kind: "copy", content: "changes" },
  ];

  /** Makes a folder that holds folders within each other; no call takes the path of all of them. */
  function makeDeep(name: string, upper: string): string {
    mkdirSync(join(folder, name, upper), { recursive: true });
    mkdirSync(join(folder, "lower", lower), { recursive: true });
    writeFileSync(join(folder, "lower", lower, "f"), "deep");
    renameSync(join(folder, "lower/d"), join(folder, name, upper, "d"));
    return join(folder, name);
  }

  // Bun's own removal takes many seconds for such a tree.
  afterEach(() => void spawnSync("rm", ["-rf", folder]));

  test.each(requests)("has all that a path can lead to: %j", (request) => {
    const dir = makeDeep("whole", "d/".repeat(1022));
    expect(tarOf({ ...request, dir, parentDirs: [] }).includes(`${"d/".repeat(2046)}f`)).toBe(true);
  });

  test("is refused when it goes further", async () => {
    const dir = makeDeep("endless", "d/".repeat(1025));
    const refusal = /^read tree: "d\/d\/d[/d]*" is deeper than 2048 folders$/;
    for (const request of requests) {
      expect(() => tarOf({ ...request, dir, parentDirs: [] })).toThrow(refusal);
    }
    const diff: DiffRequest = { kind: "overlay", dir, parentDirs: [] };
    expect(() => listDiff(diff, () => undefined)).toThrow(refusal);
    await expect(new Response(openDiff(diff)).arrayBuffer()).rejects.toThrow(refusal);
  }, 20_000);
});

describe.skipIf(process.getuid?.() !== 0)("diff in a helper (needs root)", () => {
  const plain = (): DiffRequest => ({ dir: join(folder, "t"), parentDirs: [], kind: "overlay" });

  beforeEach(() => {
    mkdirSync(join(folder, "t"));
    makeOddTree(join(folder, "t"));
  });

  test("streams and hashes the same bytes", async () => {
    const streamed = Buffer.from(await new Response(openDiff(plain())).arrayBuffer());
    expect(streamed.equals(tarOf(plain()))).toBe(true);
    await using hasher = openDiffHasher();
    const hashed = await hasher.hash(plain());
    expect(hashed).toEqual(hashDiff(plain()));
    const many = await Promise.all(Array.from({ length: 6 }, () => hasher.hash(plain())));
    expect(many.every(({ diffId }) => diffId === digestOf(streamed))).toBe(true);
  });

  test("streams large files and small ones alike, into a pipe and into a file", async () => {
    const sizes = [1, 65_535, 65_536, 65_537, 300_000, 5_000_000];
    for (const size of sizes) {
      const content = Buffer.alloc(size, `content of ${size} bytes\n`);
      writeFileSync(join(folder, "t", `file-${size}`), content);
    }
    writeFileSync(join(folder, "t/hole"), "");
    truncateSync(join(folder, "t/hole"), 3_000_000);
    const expected = tarOf(plain());
    const streamed = Buffer.from(await new Response(openDiff(plain())).arrayBuffer());
    expect(streamed.equals(expected)).toBe(true);
    const target = join(folder, "layer.tar");
    const [program = "", ...args] = diffHelperCommand();
    const fd = openSync(target, "w");
    const input = encodeDiffMessage({ operation: "tar", request: plain() });
    const { status } = spawnSync(program, args, { input, stdio: ["pipe", fd, "inherit"] });
    closeSync(fd);
    expect(status).toBe(0);
    expect(readFileSync(target).equals(expected)).toBe(true);
  });

  test("a failure arrives with its kind and leaves the hasher fit for the next layer", async () => {
    await using hasher = openDiffHasher({ processCountMax: 1 });
    const missing = { ...plain(), dir: join(folder, "nowhere") };
    await expect(hasher.hash(missing)).rejects.toThrow("ENOENT");
    await expect(new Response(openDiff(missing)).arrayBuffer()).rejects.toThrow("ENOENT");
    await expect(listChanges(missing)).rejects.toThrow("ENOENT");
    expect((await hasher.hash(plain())).entryCount).toBeGreaterThan(20);
  });

  test("refuses a layer whose files lie elsewhere", () => {
    setXattr(join(folder, "t/bin"), "trusted.overlay.redirect", Buffer.from("/x"));
    expect(() => hashDiff(plain())).toThrow("redirect_dir=off");
  });

  test("a canceled hash ends its process, and the next one works", async () => {
    await using hasher = openDiffHasher({ processCountMax: 1 });
    await hasher.hash(plain());
    const stop = new AbortController();
    const hashing = hasher.hash(plain(), { signal: stop.signal });
    stop.abort();
    const error = await hashing.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(isKind(error, "canceled")).toBe(true);
    expect((await hasher.hash(plain())).entryCount).toBeGreaterThan(20);
  });

  test("a reader that stops early ends the helper", async () => {
    writeFileSync(join(folder, "t/large"), Buffer.alloc(32 * 1024 * 1024));
    const reader = openDiff(plain()).getReader();
    await reader.read();
    await reader.cancel();
    unlinkSync(join(folder, "t/large"));
    const stop = new AbortController();
    const canceled = new Response(openDiff(plain(), { signal: stop.signal })).arrayBuffer();
    stop.abort();
    await expect(canceled).rejects.toThrow("canceled");
  });
});
