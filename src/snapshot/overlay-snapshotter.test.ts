import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../lib/log.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { findOverlayObstacle, openSnapshotter } from "./choose-snapshotter.ts";
import { openOverlaySnapshotter } from "./overlay-snapshotter.ts";
import { testSnapshotter } from "./snapshotter.suite.ts";

testSnapshotter("overlay snapshotter", openOverlaySnapshotter);

test.skipIf(process.getuid?.() !== 0)(
  "openSnapshotter() takes overlay2 where it works",
  async () => {
    const dataRoot = mkdtempSync(join(tmpdir(), "tug-choose-"));
    try {
      using metadata = openMetadata({ path: join(dataRoot, "m.db"), logger: silentLogger });
      expect(findOverlayObstacle(dataRoot)).toBeUndefined();
      await using snapshots = openSnapshotter({ dataRoot, metadata, logger: silentLogger });
      expect(snapshots.driverName).toBe("overlay2");
      await using copies = openSnapshotter({
        dataRoot,
        metadata,
        logger: silentLogger,
        driver: "vfs",
      });
      expect(copies.driverName).toBe("vfs");
      await snapshots.prepare("a");
      await copies.prepare("a");
      expect(snapshots.describe("a")).toEqual({
        MergedDir: join(dataRoot, "snapshots/1/merged"),
        UpperDir: join(dataRoot, "snapshots/1/fs"),
        WorkDir: join(dataRoot, "snapshots/1/work"),
      });
    } finally {
      rmSync(dataRoot, { recursive: true, force: true });
    }
  },
);

test("findOverlayObstacle() tells why overlay does not work", () => {
  // An overlay refuses an upper directory on /proc or on another overlay's; procfs takes no files.
  expect(() => findOverlayObstacle("/proc")).toThrow("/proc");
});
