import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../lib/log.ts";
import type { Metadata } from "../metadata/metadata.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { bindMount, mountOverlay, unmount } from "../sys/mount/mount.ts";
import type { DirectorySnapshotterOptions } from "./_directory-snapshotter.ts";
import type { SnapshotMount, Snapshotter } from "./snapshotter.ts";

/** Mounts what a snapshotter returned, runs `work` in it, and unmounts. Needs root. */
export function withMount<T>(mount: SnapshotMount, work: (root: string) => T): T {
  const target = mkdtempSync(join(tmpdir(), "tug-snapshot-mount-"));
  if (mount.type === "bind") {
    bindMount({ source: mount.source ?? "", target, readOnly: mount.isReadOnly });
  } else {
    const { lowerDirs = [], upperDir, workDir } = mount;
    const upper = upperDir === undefined || workDir === undefined ? {} : { upperDir, workDir };
    mountOverlay({ lowerDirs, ...upper, target });
  }
  try {
    return work(target);
  } finally {
    unmount(target, { detach: true });
    rmSync(target, { recursive: true });
  }
}

/** What every snapshotter must do. Needs root, since it mounts. */
export function testSnapshotter(
  name: string,
  openStore: (options: DirectorySnapshotterOptions) => Snapshotter,
): void {
  let folder: string;
  let root: string;
  let metadata: Metadata;
  let snapshots: Snapshotter;

  const open = (): void => {
    metadata = openMetadata({ path: join(folder, "metadata.db"), logger: silentLogger });
    snapshots = openStore({ root, metadata, logger: silentLogger });
  };
  const reopen = async (): Promise<void> => {
    await snapshots[Symbol.asyncDispose]();
    metadata[Symbol.dispose]();
    open();
  };
  /** Makes a committed snapshot with one file. */
  const layer = async (layerName: string, file: string, parent?: string): Promise<void> => {
    const mount = await snapshots.prepare("making", parent === undefined ? {} : { parent });
    withMount(mount, (at) => writeFileSync(join(at, file), `${layerName}\n`));
    await snapshots.commit("making", { name: layerName, durable: false });
  };

  describe.skipIf(process.getuid?.() !== 0)(`${name} (needs root)`, () => {
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "tug-snapshots-"));
      root = join(folder, "snapshots");
      open();
    });
    afterEach(async () => {
      await snapshots[Symbol.asyncDispose]();
      metadata[Symbol.dispose]();
      rmSync(folder, { recursive: true, force: true });
    });

    test("prepare() over nothing gives an empty root of mode 755", async () => {
      const mount = await snapshots.prepare("a");
      expect(mount.isReadOnly).toBe(false);
      withMount(mount, (at) => {
        expect(readdirSync(at)).toEqual([]);
        expect(statSync(at).mode & 0o7777).toBe(0o755);
      });
      expect(statSync(root).mode & 0o077).toBe(0);
    });

    test("commit() makes the content the parent of later snapshots", async () => {
      await layer("one", "first");
      await layer("two", "second", "one");
      const mount = await snapshots.prepare("box", { parent: "two" });
      withMount(mount, (at) => {
        expect(readdirSync(at).sort()).toEqual(["first", "second"]);
        expect(readFileSync(join(at, "first"), "utf8")).toBe("one\n");
        writeFileSync(join(at, "first"), "changed\n");
        rmSync(join(at, "second"));
      });
      // What one writes, no other sees.
      withMount(await snapshots.view("look", { parent: "two" }), (at) => {
        expect(readFileSync(join(at, "first"), "utf8")).toBe("one\n");
        expect(existsSync(join(at, "second"))).toBe(true);
      });
      withMount(snapshots.mounts("box"), (at) => {
        expect(readFileSync(join(at, "first"), "utf8")).toBe("changed\n");
        expect(existsSync(join(at, "second"))).toBe(false);
      });
    });

    test("view() and a committed snapshot cannot be written to", async () => {
      await layer("one", "first");
      await layer("two", "second", "one");
      for (const parent of ["one", "two"]) {
        withMount(await snapshots.view(`view-${parent}`, { parent }), (at) => {
          expect(() => writeFileSync(join(at, "x"), "x")).toThrow("EROFS");
        });
        withMount(snapshots.mounts(parent), (at) => {
          expect(() => writeFileSync(join(at, "x"), "x")).toThrow("EROFS");
        });
      }
    });

    test("the root directory keeps the mode its parent gave it", async () => {
      const mount = await snapshots.prepare("making");
      withMount(mount, (at) => chmodSync(at, 0o711));
      await snapshots.commit("making", { name: "one", durable: false });
      withMount(await snapshots.prepare("box", { parent: "one" }), (at) => {
        expect(statSync(at).mode & 0o7777).toBe(0o711);
      });
    });

    test("records and content survive a reopen", async () => {
      await layer("one", "first");
      await snapshots.prepare("box", { parent: "one" });
      const before = snapshots.list();
      await reopen();
      expect(snapshots.list()).toEqual(before);
      expect(before.map(({ key, kind, parent }) => [key, kind, parent])).toEqual([
        ["box", "active", "one"],
        ["one", "committed", undefined],
      ]);
      withMount(snapshots.mounts("box"), (at) => expect(readdirSync(at)).toEqual(["first"]));
      expect(await snapshots.sweep()).toBe(0);
      await snapshots.prepare("another", { parent: "one" });
      expect(readdirSync(root).filter((name) => /^\d+$/.test(name))).toHaveLength(3);
    });

    test("names and keys share one space", async () => {
      await layer("one", "first");
      await snapshots.prepare("box", { parent: "one" });
      await expect(snapshots.prepare("box")).rejects.toMatchObject({ kind: "already-exists" });
      await expect(snapshots.view("one")).rejects.toMatchObject({ kind: "already-exists" });
      await expect(snapshots.commit("box", { name: "one" })).rejects.toMatchObject({
        kind: "already-exists",
      });
      const both = await Promise.allSettled([
        snapshots.prepare("twice"),
        snapshots.prepare("twice"),
      ]);
      expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    });

    test("refuses what does not exist and what is no parent", async () => {
      await snapshots.prepare("box");
      await expect(snapshots.prepare("x", { parent: "gone" })).rejects.toMatchObject({
        kind: "not-found",
      });
      await expect(snapshots.prepare("x", { parent: "box" })).rejects.toMatchObject({
        kind: "invalid-argument",
      });
      await snapshots.view("look");
      await expect(snapshots.commit("look", { name: "n" })).rejects.toMatchObject({
        kind: "conflict",
      });
      await expect(snapshots.commit("gone", { name: "n" })).rejects.toMatchObject({
        kind: "not-found",
      });
      expect(() => snapshots.mounts("gone")).toThrow("does not exist");
      expect(snapshots.find("gone")).toBeUndefined();
      expect(await snapshots.remove("gone")).toBe(false);
    });

    test("remove() refuses a parent and takes the directory of the others", async () => {
      await layer("one", "first");
      await snapshots.prepare("box", { parent: "one" });
      await expect(snapshots.remove("one")).rejects.toMatchObject({ kind: "conflict" });
      expect(await snapshots.remove("box")).toBe(true);
      expect(snapshots.find("box")).toBeUndefined();
      expect(await snapshots.remove("one")).toBe(true);
      await snapshots.idle();
      expect(readdirSync(root)).toEqual(["new"]);
    });

    test("removeAll() takes a stack from the top down, or none of it", async () => {
      await layer("one", "first");
      await layer("two", "second", "one");
      await layer("three", "third", "two");
      await snapshots.prepare("box", { parent: "two" });
      await expect(snapshots.removeAll(["three", "two", "one"])).rejects.toMatchObject({
        kind: "conflict",
      });
      await expect(snapshots.removeAll(["one", "three"])).rejects.toMatchObject({
        kind: "conflict",
      });
      expect(snapshots.list().map(({ key }) => key)).toEqual(["box", "one", "three", "two"]);
      await snapshots.removeAll(["three", "box", "gone", "two", "two"]);
      expect(snapshots.list().map(({ key }) => key)).toEqual(["one"]);
      expect(await snapshots.remove("one")).toBe(true);
      await snapshots.idle();
      expect(readdirSync(root)).toEqual(["new"]);
    });

    test("sweep() removes what no record knows, and nothing else", async () => {
      await layer("one", "first");
      mkdirSync(join(root, "77", "fs", "deep"), { recursive: true });
      writeFileSync(join(root, "77", "fs", "deep", "file"), "x");
      mkdirSync(join(root, "keep-me"));
      expect(await snapshots.sweep()).toBe(1);
      await snapshots.idle();
      expect(readdirSync(root).sort()).toEqual(["1", "keep-me", "new"]);
      await snapshots.prepare("box", { parent: "one" });
      expect(await snapshots.sweep()).toBe(0);
    });

    test("prepare() for a layer makes the same, and a reopen drops what a crash left of it", async () => {
      const mount = await snapshots.prepare("unpack", { forLayer: true });
      withMount(mount, (at) => writeFileSync(join(at, "file"), "one"));
      expect(readdirSync(join(root, "new"))).toEqual([]);
      await snapshots.commit("unpack", { name: "one" });
      const above = await snapshots.prepare("above", { parent: "one", forLayer: true });
      withMount(above, (at) => expect(readFileSync(join(at, "file"), "utf8")).toBe("one"));
      mkdirSync(join(root, "new", "half-made"));
      await reopen();
      expect(readdirSync(join(root, "new"))).toEqual([]);
      expect(await snapshots.sweep()).toBe(0);
    });

    test("commit() puts what was made on nothing onto another, where the driver can", async () => {
      await layer("one", "first");
      withMount(snapshots.mounts("one"), () => undefined);
      const base = snapshots.layersOf("one").dir;
      chmodSync(base, 0o711);
      const mount = await snapshots.prepare("loose", { forLayer: true });
      withMount(mount, (at) => writeFileSync(join(at, "second"), "two"));
      const onto = { parent: "one", takesRoot: true };
      if (!snapshots.stacksLate) {
        await expect(snapshots.commit("loose", { name: "two", onto })).rejects.toMatchObject({
          kind: "conflict",
        });
        return;
      }
      await expect(
        snapshots.commit("loose", { name: "two", onto: { ...onto, parent: "gone" } }),
      ).rejects.toMatchObject({ kind: "not-found" });
      await snapshots.commit("loose", { name: "two", onto });
      expect(snapshots.find("two")?.parent).toBe("one");
      expect(snapshots.find("loose")).toBeUndefined();
      await expect(snapshots.remove("one")).rejects.toMatchObject({ kind: "conflict" });
      await reopen();
      await expect(snapshots.remove("one")).rejects.toMatchObject({ kind: "conflict" });
      withMount(await snapshots.prepare("box", { parent: "two" }), (at) => {
        expect(readdirSync(at).sort()).toEqual(["first", "second"]);
        expect(statSync(at).mode & 0o777).toBe(0o711);
      });
      await snapshots.prepare("child", { parent: "one" });
      await expect(snapshots.commit("child", { name: "three", onto })).rejects.toMatchObject({
        kind: "conflict",
      });
    });

    test("usage() counts what the snapshot itself holds; commit() keeps the size", async () => {
      await layer("one", "first");
      expect(await snapshots.usage("one")).toEqual({ sizeBytes: 4, inodeCount: 1 });
      expect(snapshots.find("one")?.sizeBytes).toBe(4);
      const mount = await snapshots.prepare("box");
      withMount(mount, (at) => writeFileSync(join(at, "new"), "12345"));
      await snapshots.commit("box", { name: "given", sizeBytes: 99 });
      expect(snapshots.find("given")?.sizeBytes).toBe(99);
    });
  });
}
