import { afterEach, beforeEach, expect, setSystemTime, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../../lib/log.ts";
import type { Metadata } from "../../metadata/metadata.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { digestOf } from "../../oci/digest.ts";
import { DistributionRecords, pieceKeepMs } from "./distribution-records.ts";

let root = "";
let metadata: Metadata;
let records: DistributionRecords;
const [a, b, c] = [digestOf("a"), digestOf("b"), digestOf("c")];

const open = (): void => {
  metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
  records = new DistributionRecords(metadata);
};

beforeEach(() => {
  root = mkdtempSync("/tmp/tug-distribution-");
  open();
});
afterEach(() => {
  setSystemTime();
  metadata[Symbol.dispose]();
  rmSync(root, { recursive: true, force: true });
});

test("pieces are kept for a while, over a restart too", () => {
  records.keepPieces("one", [a, b]);
  metadata[Symbol.dispose]();
  open();
  expect([...records.pieces()]).toEqual([a, b]);
  records.dropPieces("one");
  expect(records.pieces().size).toBe(0);
  records.keepPieces("two", [c]);
  setSystemTime(Date.now() + pieceKeepMs + 1);
  expect(records.pieces().size).toBe(0);
});

test("pieces of a clock that was wrong go too", () => {
  setSystemTime(Date.now() + 400 * pieceKeepMs);
  records.keepPieces("future", [a]);
  setSystemTime();
  expect(records.pieces().size).toBe(0);
});

test("places are told by registry, the last used first, and are bounded", () => {
  for (let at = 0; at < 40; at += 1) records.addPlaces([a], `reg.test/app${at}`);
  records.addPlaces([a, a], "reg.test/app30");
  records.addPlaces([a], "other.test/x");
  const paths = records.pathsOf(a, "reg.test");
  expect(paths[0]).toBe("app30");
  expect(paths.length).toBeLessThan(17);
  expect(records.pathsOf(a, "other.test")).toEqual(["x"]);
  expect(records.pathsOf(a, "reg")).toEqual([]);
  expect(records.pathsOf(b, "reg.test")).toEqual([]);
});

test("retain() forgets what belongs to no layer any more", () => {
  records.putPacked(a, { digest: b, sizeBytes: 1, mediaType: "x/y" });
  records.addPlaces([b, c], "reg.test/app");
  records.retain({ blobs: new Set(), diffIds: new Set([a]) });
  expect(records.findPacked(a)?.digest).toBe(b);
  expect(records.pathsOf(b, "reg.test")).toEqual(["app"]);
  expect(records.pathsOf(c, "reg.test")).toEqual([]);
  records.retain({ blobs: new Set(), diffIds: new Set() });
  expect(records.findPacked(a)).toBeUndefined();
  expect(records.pathsOf(b, "reg.test")).toEqual([]);
});

test("a damaged record is kept aside, the others are served", () => {
  records.putPacked(a, { digest: "no" as never, sizeBytes: 1, mediaType: "x/y" });
  records.addPlaces([b], "reg.test/app");
  metadata[Symbol.dispose]();
  open();
  expect(records.findPacked(a)).toBeUndefined();
  expect(records.pathsOf(b, "reg.test")).toEqual(["app"]);
  expect(metadata.damages).toHaveLength(1);
});
