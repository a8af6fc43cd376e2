import { describe, expect, test } from "bun:test";
import { blobTable, manifestTable, tagTable, uploadTable } from "./_records.ts";

const digest = `sha256:${"a".repeat(64)}`;
const manifest = {
  mediaType: "application/x",
  sizeBytes: 10,
  pushedMs: 1,
  artifactType: "application/y",
  subject: digest,
  blobs: [{ digest, sizeBytes: 3 }],
  manifests: [digest],
};

describe("records", () => {
  test.each([
    [blobTable, { sizeBytes: 1, addedMs: 2 }],
    [manifestTable, manifest],
    [tagTable, { digest, updatedMs: 3 }],
    [uploadTable, { repository: "a", startedMs: 4 }],
  ] as const)("of table %p come back as they were stored", (table, record) => {
    const stored: unknown = JSON.parse(JSON.stringify(record));
    expect<unknown>(table.decode(stored)).toEqual(record);
  });

  test.each([
    [blobTable, null],
    [blobTable, []],
    [blobTable, { sizeBytes: "1", addedMs: 2 }],
    [blobTable, { sizeBytes: 1.5, addedMs: 2 }],
    [manifestTable, { ...manifest, subject: "x" }],
    [manifestTable, { ...manifest, blobs: {} }],
    [manifestTable, { ...manifest, blobs: [{ digest: 1 }] }],
    [manifestTable, { ...manifest, manifests: ["sha256:0"] }],
    [tagTable, { digest: "latest", updatedMs: 3 }],
    [uploadTable, { repository: 7, startedMs: 4 }],
  ] as const)("that are none are refused", (table, record) => {
    expect(() => table.decode(record)).toThrow("decode registry record");
  });
});
