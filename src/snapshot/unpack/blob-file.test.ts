import { afterEach, beforeEach, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlobFile } from "./_blob-file.ts";

let folder: string;
let path: string;
let blobPath: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-blob-file-"));
  path = join(folder, "ingest");
  blobPath = join(folder, "blob");
});
afterEach(() => rmSync(folder, { recursive: true }));

function readAll(file: BlobFile): string {
  const room = Buffer.alloc(3);
  let text = "";
  for (;;) {
    const sizeBytes = file.read(room);
    if (sizeBytes === 0) return text;
    text += room.subarray(0, sizeBytes).toString();
  }
}

test("reads a whole blob to its end, without waiting", () => {
  writeFileSync(blobPath, "0123456789");
  const pause = (): boolean => {
    throw new Error("waited");
  };
  using file = new BlobFile({ blobPath }, { pause });
  expect(readAll(file)).toBe("0123456789");
  expect(file.readBytes).toBe(10);
});

test("waits for what has not come yet, also across the rename that makes it a blob", () => {
  writeFileSync(path, "01");
  const coming = ["23456", "", "789"];
  const pause = (): boolean => {
    appendFileSync(path, coming.shift() ?? "");
    if (coming.length === 1) {
      renameSync(path, blobPath);
      path = blobPath;
    }
    return true;
  };
  using file = new BlobFile({ blobPath, ingest: { path, sizeBytes: 10 } }, { pause });
  expect(readAll(file)).toBe("0123456789");
  expect(coming).toEqual([]);
});

test("gives up when waiting has no more use", () => {
  writeFileSync(path, "01");
  const ingest = { path, sizeBytes: 10 };
  using file = new BlobFile({ blobPath, ingest }, { pause: () => false });
  expect(readAll(file)).toBe("01");
});

test("takes the blob when the write has ended before it looked", () => {
  writeFileSync(blobPath, "0123");
  const ingest = { path, sizeBytes: 4 };
  using file = new BlobFile({ blobPath, ingest }, { pause: () => false });
  expect(readAll(file)).toBe("0123");
});

test("tells when there is neither", () => {
  const ingest = { path, sizeBytes: 4 };
  expect(() => new BlobFile({ blobPath, ingest }, { pause: () => false })).toThrow("ENOENT");
});
