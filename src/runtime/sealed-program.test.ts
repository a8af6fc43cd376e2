import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMountPoint } from "../sys/mount/mount.ts";
import { run } from "../sys/process/process.ts";
import { openSealedPrograms, type SealedPrograms } from "./sealed-program.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: mounts are made by root only");

describe.skipIf(!isRoot)("sealed programs", () => {
  let root = "";
  let program = "";
  let failures: string[] = [];
  const open = (): SealedPrograms =>
    openSealedPrograms({
      folder: join(root, "sealed"),
      onFailure: (path) => void failures.push(path),
    });
  beforeEach(() => {
    root = mkdtempSync("/tmp/tug-seal-");
    program = join(root, "program");
    failures = [];
    copyFileSync("/bin/true", program);
  });
  afterEach(() => {
    open().close();
    rmSync(root, { recursive: true, force: true });
  });

  test("seal() gives a path that runs the program and cannot be written to", async () => {
    const programs = open();
    const sealed = programs.seal(program);
    expect(sealed).not.toBe(program);
    expect((await run({ argv: [sealed] })).exitCode).toBe(0);
    expect(() => writeFileSync(sealed, "x")).toThrow(/EROFS|ETXTBSY/);
    expect(programs.seal(program)).toBe(sealed);
    programs.close();
    expect(isMountPoint(sealed)).toBe(false);
  });

  test("seal() takes over the mount of an earlier daemon, unless the program was replaced", async () => {
    const first = open().seal(program);
    const programs = open();
    expect(programs.seal(program)).toBe(first);
    rmSync(program);
    copyFileSync("/bin/false", program);
    const next = open();
    expect((await run({ argv: [next.seal(program)] })).exitCode).toBe(1);
    next.close();
  });

  test("seal() gives the path itself when there is nothing to mount", () => {
    const programs = open();
    expect(programs.seal("/nowhere/crun")).toBe("/nowhere/crun");
    expect(programs.seal("/nowhere/crun")).toBe("/nowhere/crun");
    expect(failures).toEqual(["/nowhere/crun"]);
  });
});
