import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import { encodeTar } from "../../lib/tar/tar-writer.ts";
import type { Metadata } from "../../metadata/metadata.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { type Digest, digestHex, digestOf } from "../../oci/digest.ts";
import { openCopySnapshotter } from "../copy-snapshotter.ts";
import { openOverlaySnapshotter } from "../overlay-snapshotter.ts";
import type { Snapshotter } from "../snapshotter.ts";
import { applyLayer } from "./apply.ts";
import type { UnpackOptions } from "./unpack-client.ts";
import { type LayerUnpack, type SettledLayer, unpackSnapshot } from "./unpack-snapshot.ts";

for (const [driver, openStore] of [
  ["overlay", openOverlaySnapshotter],
  ["copy", openCopySnapshotter],
] as const) {
  describe.skipIf(process.getuid?.() !== 0)(`unpackSnapshot() to ${driver} (needs root)`, () => {
    let folder: string;
    let metadata: Metadata & Disposable;
    let snapshots: Snapshotter;
    let told: UnpackOptions[];

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "tug-unpack-snapshot-"));
      metadata = openMetadata({ path: join(folder, "m.db"), logger: silentLogger });
      snapshots = openStore({ root: join(folder, "s"), metadata, logger: silentLogger });
      told = [];
    });
    afterEach(async () => {
      await snapshots.idle();
      await snapshots[Symbol.asyncDispose]();
      metadata[Symbol.dispose]();
      rmSync(folder, { recursive: true, force: true });
    });

    const chainOf = (name: string): Digest => digestOf(`chain of ${name}`);
    const keys = (): readonly string[] => snapshots.list().map(({ key }) => key);
    const pathIn = (chainId: Digest, name: string): string =>
      join(snapshots.layersOf(chainId).dir, name);

    /** Unpacks the files of one archive, in this process. */
    async function unpack(
      files: Readonly<Record<string, string>>,
      options: Partial<LayerUnpack<SettledLayer>> = {},
      how: UnpackOptions = {},
    ) {
      const entries = Object.entries(files).map(([name, content]) => ({
        header: { name },
        content,
      }));
      const tar = encodeTar(entries);
      const blobPath = join(folder, `${digestHex(digestOf(tar))}.tar`);
      writeFileSync(blobPath, tar);
      return await unpackSnapshot(
        {
          snapshots,
          unpacker: {
            unpack(layer, watch = {}) {
              told.push(watch);
              return applyLayer(layer, watch);
            },
          },
        },
        {
          blobPath,
          below: undefined,
          expectedDiffId: digestOf(tar),
          keyPrefix: "test-",
          settle: async ({ sizeBytes }) => ({ chainId: chainOf("base"), sizeBytes }),
          ...options,
        },
        how,
      );
    }

    test("commits the files under the chain ID that they were given", async () => {
      const made = await unpack({ "etc/a": "alpha", b: "be" });
      expect(made).toEqual({ layer: { chainId: chainOf("base"), sizeBytes: 7 }, isNew: true });
      expect(snapshots.find(chainOf("base"))).toMatchObject({ kind: "committed", sizeBytes: 7 });
      expect(keys()).toEqual([chainOf("base")]);
      expect(readFileSync(pathIn(chainOf("base"), "etc/a"), "utf8")).toBe("alpha");
    });

    test("lets the files be read by the key, before they have a chain ID", async () => {
      const { layer } = await unpack(
        { a: "alpha" },
        {
          async settle({ key, sizeBytes }) {
            expect(key).toStartWith("test-");
            expect(readFileSync(join(snapshots.layersOf(key).dir, "a"), "utf8")).toBe("alpha");
            const said = { chainId: chainOf("late"), sizeBytes, kept: "as it was said" };
            return said;
          },
        },
      );
      const kept: object = layer;
      expect(kept).toEqual({ chainId: chainOf("late"), sizeBytes: 5, kept: "as it was said" });
    });

    test("takes away what a layer removes from the one below", async () => {
      await unpack({ a: "alpha", b: "beta" });
      const settle: LayerUnpack<SettledLayer>["settle"] = async ({ sizeBytes }) => ({
        chainId: chainOf("top"),
        sizeBytes,
      });
      await unpack({ ".wh.a": "", c: "gamma" }, { below: chainOf("base"), settle });
      expect(snapshots.find(chainOf("top"))?.parent).toBe(chainOf("base"));
      const gone = pathIn(chainOf("top"), "a");
      if (driver === "copy") {
        expect(existsSync(gone)).toBe(false);
        expect(readFileSync(pathIn(chainOf("top"), "b"), "utf8")).toBe("beta");
      } else {
        expect(lstatSync(gone).isCharacterDevice()).toBe(true);
        expect(existsSync(pathIn(chainOf("top"), "b"))).toBe(false);
      }
    });

    test("the same layer, committed by somebody else meanwhile, is taken", async () => {
      let theirs = "";
      const made = await unpack(
        { a: "mine" },
        {
          async settle({ sizeBytes }) {
            await unpack({ a: "theirs" });
            theirs = snapshots.layersOf(chainOf("base")).dir;
            return { chainId: chainOf("base"), sizeBytes };
          },
        },
      );
      expect(made.isNew).toBe(false);
      expect(keys()).toEqual([chainOf("base")]);
      expect(snapshots.layersOf(chainOf("base")).dir).toBe(theirs);
      expect(readFileSync(join(theirs, "a"), "utf8")).toBe("theirs");
    });

    test("of an archive with another diff ID nothing stays", async () => {
      const wrong = unpack({ a: "alpha" }, { expectedDiffId: digestOf("something else") });
      await expect(wrong).rejects.toMatchObject({ kind: "data-loss" });
      expect(keys()).toEqual([]);
    });

    test("of files that are not what they should be nothing stays", async () => {
      const refused = unpack(
        { a: "alpha" },
        {
          settle: () => Promise.reject(new EngineError("data-loss", "the layer comes to another")),
        },
      );
      await expect(refused).rejects.toThrow("the layer comes to another");
      expect(keys()).toEqual([]);
    });

    test("without the layer below nothing is begun", async () => {
      const orphan = unpack({ a: "alpha" }, { below: chainOf("nowhere") });
      await expect(orphan).rejects.toMatchObject({ kind: "not-found" });
      expect([keys(), told]).toEqual([[], []]);
    });

    test("hands on how it is watched and ended", async () => {
      const reads: number[] = [];
      const { signal } = new AbortController();
      const onRead = (readBytes: number): number => reads.push(readBytes);
      await unpack({ a: "alpha" }, {}, { signal, onRead });
      expect(told).toEqual([{ signal, onRead }]);
      expect(reads.at(-1)).toBeGreaterThan(0);
    });
  });
}
