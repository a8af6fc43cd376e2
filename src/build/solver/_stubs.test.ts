import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeNode, setXattr } from "../../sys/fs/fs.ts";
import { removeStubs } from "./_stubs.ts";

/** S_IFCHR */
const characterDevice = 0o020000;
let root = "";
const upper = (path = ""): string => join(root, "upper", path);
const lower = (path = ""): string => join(root, "lower", path);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "stubs-"));
  for (const folder of [upper(), lower()]) mkdirSync(folder);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function remove(...targets: readonly string[]): void {
  removeStubs({ kind: "overlay", dir: upper(), parentDirs: [lower()] }, targets);
}

describe("removeStubs()", () => {
  test("removes a mount point, the folders on the way to it and the copy of a folder below", () => {
    mkdirSync(lower("etc"));
    mkdirSync(upper("etc"));
    writeFileSync(upper("etc/hosts"), "");
    mkdirSync(upper("deep/er/target"), { recursive: true });
    remove("/etc/hosts", "/deep/er/target");
    expect(readdirSync(upper())).toEqual([]);
  });

  test("leaves what the layer below has", () => {
    mkdirSync(lower("etc"));
    writeFileSync(lower("etc/hosts"), "below");
    mkdirSync(upper("etc"));
    writeFileSync(upper("etc/hosts"), "");
    remove("/etc/hosts");
    expect(existsSync(upper("etc/hosts"))).toBe(true);
  });

  test("leaves what the command wrote", () => {
    mkdirSync(upper("cache"));
    writeFileSync(upper("cache/file"), "x");
    writeFileSync(upper("secret"), "written");
    mkdirSync(upper("run/secrets"), { recursive: true });
    writeFileSync(upper("run/own"), "");
    remove("/cache", "/secret", "/run/secrets");
    expect(existsSync(upper("cache/file"))).toBe(true);
    expect(existsSync(upper("secret"))).toBe(true);
    expect(readdirSync(upper("run"))).toEqual(["own"]);
  });

  test("leaves a folder whose mode the command has changed", () => {
    mkdirSync(lower("etc"), { mode: 0o755 });
    mkdirSync(upper("etc/x"), { recursive: true });
    chmodSync(upper("etc"), 0o700);
    remove("/etc/x");
    expect(readdirSync(upper())).toEqual(["etc"]);
  });

  test("leaves an opaque folder, which hides what is below", () => {
    mkdirSync(lower("d"));
    mkdirSync(upper("d/x"), { recursive: true });
    setXattr(upper("d"), "trusted.overlay.opaque", Buffer.from("y"));
    remove("/d/x");
    expect(readdirSync(upper())).toEqual(["d"]);
  });

  test("a target below a link is where the link leads, and never outside", () => {
    symlinkSync("/run", lower("var-run"));
    symlinkSync("../../../../../..", lower("up"));
    mkdirSync(upper("run/secrets/s"), { recursive: true });
    const outside = join(root, "outside");
    writeFileSync(outside, "");
    remove("/var-run/secrets/s", `/up${outside}`);
    expect(readdirSync(upper())).toEqual([]);
    expect(existsSync(outside)).toBe(true);
  });

  test("a whiteout counts as nothing below", () => {
    writeFileSync(lower("gone"), "x");
    makeNode(upper("gone"), characterDevice, 0);
    remove("/gone");
    expect(existsSync(upper("gone"))).toBe(true);
  });

  test("a loop of links ends", () => {
    symlinkSync("/b", lower("a"));
    symlinkSync("/a", lower("b"));
    expect(() => remove("/a/x", "/b")).not.toThrow();
  });
});
