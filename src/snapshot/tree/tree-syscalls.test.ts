import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { openRoot } from "../../sys/fs/fs.ts";
import { openFlags } from "../../sys/libc.ts";
import * as tree from "./tree-syscalls.ts";

let folder: string;
let root: number;
beforeAll(() => {
  folder = mkdtempSync("/tmp/tree-syscalls-");
  root = openRoot(folder);
  mkdirSync(join(folder, "a/b"), { recursive: true });
  symlinkSync("a", join(folder, "link"));
  symlinkSync("/etc", join(folder, "out"));
});
afterAll(() => {
  closeSync(root);
  rmSync(folder, { recursive: true });
});

/** "open", or the name of the error. */
function outcome(opened: tree.CallResult): string {
  if (opened < 0) return tree.resultCode(opened);
  tree.closeFd(opened);
  return "open";
}

describe("names below an open folder", () => {
  test.each([
    ["", "open", "open"],
    ["a/b", "open", "open"],
    ["a/../a/b", "open", "open"],
    ["nothing", "ENOENT", "ENOENT"],
    ["link/b", "ELOOP", "open"],
    ["..", "EXDEV", "open"],
    ["/a", "EXDEV", "open"],
    ["out", "ELOOP", "ENOENT"],
  ])("%j: %s below it, %s with it as the root", (path, below, inRoot) => {
    expect(outcome(tree.openBelow(root, path, openFlags.path))).toBe(below);
    expect(outcome(tree.openFolderInRoot(root, path === "" ? "." : path))).toBe(inRoot);
  });

  test.each(["x".repeat(300), "x/".repeat(2500), "x".repeat(8191), "x".repeat(100_000)])(
    "too long is refused, and never taken for a shorter one (%#)",
    (name) => {
      const calls = [
        tree.openBelow(root, name, openFlags.path),
        tree.createFile(root, name),
        tree.makeFolder(root, name),
        tree.makeHardLink(root, "second", { folder: root, name }),
        tree.removeFile(root, name),
      ];
      expect(calls.map(tree.resultCode)).toEqual(calls.map(() => "ENAMETOOLONG"));
    },
  );

  test("a link's target is kept byte for byte, and refused when it is too long", () => {
    expect(tree.makeSymlink(root, "odd", "\xff\xe9 /")).toBe(0);
    expect(tree.resultCode(tree.makeSymlink(root, "long", "y".repeat(5000)))).toBe("ENAMETOOLONG");
    expect(tree.removeFile(root, "odd")).toBe(0);
  });

  test.each([
    ["before 1970", -1_500_000_000n, -1_500_000_000n],
    ["to the nanosecond", 1_234_567_890_123_456_789n, 1_234_567_890_123_456_789n],
  ])("a time %s is kept", (_what, mtimeNs, kept) => {
    expect(tree.setTimesAt(root, "a", mtimeNs)).toBe(0);
    expect(lstatSync(join(folder, "a"), { bigint: true }).mtimeNs).toBe(kept);
  });

  test("a time beyond all is cut by the file system, and no error", () => {
    expect(tree.setTimesAt(root, "a", 10n ** 40n)).toBe(0);
    expect(tree.setTimesAt(root, "a", -(10n ** 40n))).toBe(0);
  });
});
