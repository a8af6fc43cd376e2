import { describe, expect, test } from "bun:test";
import {
  chmodSync,
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
import { digestOf } from "../oci/digest.ts";
import type { ContentStore } from "./content-store.ts";
import { testContentStore } from "./content-store.suite.ts";
import { openContentStore } from "./local-content-store.ts";
import { verifyStream } from "./verify.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

testContentStore("local content store", async () => {
  const root = mkdtempSync(join(tmpdir(), "tug-content-"));
  const reopen = (): Promise<ContentStore> => openContentStore({ root, logger: silentLogger });
  return {
    store: await reopen(),
    reopen,
    close: async () => rmSync(root, { recursive: true, force: true }),
  };
});

async function withStore(
  work: (store: ContentStore, root: string) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "tug-content-"));
  try {
    await work(await openContentStore({ root, logger: silentLogger }), root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

describe("on disk", () => {
  test("the root is an OCI image layout", async () => {
    await withStore(async (store, root) => {
      const blob = await store.put(text("hello"));
      expect(JSON.parse(readFileSync(join(root, "oci-layout"), "utf8"))).toEqual({
        imageLayoutVersion: "1.0.0",
      });
      expect(blob.path).toBe(join(root, "blobs/sha256", blob.digest.slice(7)));
      expect(statSync(blob.path).mode & 0o777).toBe(0o444);
    });
  });

  test("read() moves a damaged blob aside, and it can be stored again", async () => {
    await withStore(async (store, root) => {
      const { digest, path } = await store.put(text("hello"));
      chmodSync(path, 0o644);
      writeFileSync(path, "jello");
      await expect(store.read(digest, { sizeMaxBytes: 10 })).rejects.toMatchObject({
        kind: "data-loss",
      });
      expect(store.find(digest)).toBeUndefined();
      expect(readdirSync(join(root, "blobs/damaged"))).toHaveLength(1);
      expect(await store.list()).toEqual([]);
      await store.put(text("hello"));
      expect(await store.read(digest, { sizeMaxBytes: 10 })).toEqual(Buffer.from("hello"));
    });
  });

  test("put() replaces a blob that was cut", async () => {
    await withStore(async (store) => {
      const { digest, path } = await store.put(text("hello"));
      chmodSync(path, 0o644);
      writeFileSync(path, "hel");
      await store.put(text("hello"));
      expect(await store.read(digest, { sizeMaxBytes: 10 })).toEqual(Buffer.from("hello"));
    });
  });

  test("a layout of another version is refused", async () => {
    await withStore(async (_store, root) => {
      writeFileSync(join(root, "oci-layout"), '{"imageLayoutVersion":"2.0.0"}');
      await expect(openContentStore({ root, logger: silentLogger })).rejects.toMatchObject({
        kind: "invalid-argument",
      });
    });
  });

  test.skipIf(process.getuid?.() !== 0)("a full disk is told as such (needs root)", async () => {
    const root = mkdtempSync(join(tmpdir(), "tug-content-full-"));
    Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", root]);
    try {
      const store = await openContentStore({ root, logger: silentLogger });
      await using ingest = await store.ingest({ ref: "big" });
      await expect(ingest.write(new Uint8Array(2 * 1024 * 1024))).rejects.toMatchObject({
        kind: "unavailable",
        details: { code: "ENOSPC" },
      });
    } finally {
      Bun.spawnSync(["umount", "-l", root]);
      rmSync(root, { recursive: true });
    }
  });
});

describe("verifyStream()", () => {
  const chunks = [text("ab"), text("c")];
  const read = async (expected: Parameters<typeof verifyStream>[1]): Promise<string> => {
    let all = "";
    for await (const chunk of verifyStream(chunks, expected)) all += Buffer.from(chunk).toString();
    return all;
  };

  test("passes the right bytes on", async () => {
    expect(await read({ digest: digestOf("abc"), sizeBytes: 3 })).toBe("abc");
    expect(await read({ digest: digestOf("abc") })).toBe("abc");
  });

  for (const [what, digest, sizeBytes] of [
    ["a wrong digest", digestOf("abd"), 3],
    ["too many bytes", digestOf("abc"), 2],
    ["too few bytes", digestOf("abc"), 4],
  ] as const) {
    test(`refuses ${what}`, async () => {
      await expect(read({ digest, sizeBytes })).rejects.toMatchObject({ kind: "data-loss" });
    });
  }
});
