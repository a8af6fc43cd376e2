import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readDockerfileSource } from "./_dockerfile-source.ts";

const root = mkdtempSync("/tmp/dockerfile-source-test-");
afterAll(() => rmSync(root, { recursive: true }));
let caseCount = 0;
let folder = "";
beforeEach(() => {
  caseCount += 1;
  folder = join(root, String(caseCount), "context");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "..", "outside"), "secret of the host");
});

const read = (name = "Dockerfile"): string | undefined => {
  const bytes = readDockerfileSource(folder, name);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
};

describe("readDockerfileSource()", () => {
  test("reads a file, also through links inside of the folder", () => {
    mkdirSync(join(folder, "sub"));
    writeFileSync(join(folder, "sub/real"), "FROM scratch\n");
    symlinkSync("/sub/real", join(folder, "Dockerfile"));
    expect(read()).toBe("FROM scratch\n");
    expect(read("sub/real")).toBe("FROM scratch\n");
  });

  test("follows no link out of the folder", () => {
    symlinkSync(join(folder, "..", "outside"), join(folder, "Dockerfile"));
    symlinkSync("../outside", join(folder, "up"));
    symlinkSync("..", join(folder, "d"));
    for (const name of ["Dockerfile", "up", "d/outside", "../outside"]) {
      expect(read(name)).toBeUndefined();
    }
  });

  // A device has no end, and a pipe nobody writes to would hold up the daemon for ever.
  test("opens nothing but a regular file", () => {
    symlinkSync("/dev/zero", join(folder, "zero"));
    Bun.spawnSync(["mknod", join(folder, "device"), "c", "1", "5"]);
    Bun.spawnSync(["mkfifo", join(folder, "pipe")]);
    for (const name of ["zero", "device", "pipe", ".", "missing", "a\0b"]) {
      expect(read(name)).toBeUndefined();
    }
  }, 5_000);

  test("reads no large file", () => {
    writeFileSync(join(folder, "Dockerfile"), Buffer.alloc(1024 * 1024 + 1));
    expect(read()).toBeUndefined();
  });
});
