import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { resolveImagePaths } from "./_image-file.ts";
import { checkMountTargets } from "./_mount-targets.ts";
import type { MountInput } from "./spec-input.ts";

const root = mkdtempSync("/tmp/mount-targets-test-");
afterAll(() => rmSync(root, { recursive: true }));
let caseCount = 0;
let layers: readonly [string, string] = ["", ""];
beforeEach(() => {
  caseCount += 1;
  layers = [join(root, `${caseCount}-top`), join(root, `${caseCount}-base`)];
  for (const layer of layers) mkdirSync(layer);
});

/** Makes links, and folders for names that end with a slash, in a layer. */
function fill(layer: string, entries: Readonly<Record<string, string>>): void {
  for (const [name, target] of Object.entries(entries)) {
    mkdirSync(join(layer, name, name.endsWith("/") ? "." : ".."), { recursive: true });
    if (target !== "") symlinkSync(target, join(layer, name));
  }
}

const bind = (target: string, more: Partial<MountInput> = {}): MountInput => ({
  type: "bind",
  source: root,
  target,
  isReadOnly: false,
  isRecursive: true,
  ...more,
});

describe("resolveImagePaths()", () => {
  test.each([
    ["/a/b", "/a/b"],
    ["/link/x", "/proc/x"],
    ["/deep/up", "/deep"],
    ["/far", "/"],
    ["/chain/self", "/proc/self"],
    ["/missing/../x", "/x"],
    ["/a/inner/b", "/deep/down/b"],
    ["/hidden/x", "/hidden/x"],
  ])("%s is %s", (path, wanted) => {
    const [top, base] = layers;
    fill(base, { "proc/": "", link: "/proc", far: "../../..", "deep/down/": "", hidden: "/proc" });
    fill(top, {
      "a/": "",
      "deep/up": "down/..",
      chain: "./a/../link",
      "a/inner": "../deep/down",
      "hidden/": "",
    });
    expect(resolveImagePaths(layers, [path]).get(path)).toBe(wanted);
  });

  test("ends in a maze", () => {
    fill(layers[1], { a: "b", b: "a" });
    expect(() => resolveImagePaths(layers, ["/a"])).toThrow("too many symbolic links");
  });
});

describe("checkMountTargets()", () => {
  test.each([
    ["/proc behind a link", { x: "proc" }, bind("/x"), "not of type proc"],
    ["below /proc", { x: "/proc" }, bind("/x/sys"), "inside /proc"],
    [
      "below /proc by a folder's link",
      { "d/x": "../proc/../proc" },
      bind("/d/x/1"),
      "inside /proc",
    ],
    ["the root", { x: ".." }, bind("/x"), "destination can't be '/'"],
    ["/dev with a volume", { x: "/dev" }, bind("/x", { type: "volume" }), "/dev is the engine's"],
    ["/dev for a Dockerfile", {}, bind("/dev", { isUntrusted: true }), "/dev is the engine's"],
    ["/sys for a Dockerfile", { x: "sys" }, bind("/x", { isUntrusted: true }), "/sys is the"],
  ])("refuses to cover %s", (_what, links, mount, sentence) => {
    fill(layers[1], { "proc/": "", "dev/": "", "sys/": "", ...links });
    expect(() => checkMountTargets([mount], layers)).toThrow(sentence);
  });

  test.each(["/proc", "/sys"])("refuses an image whose %s is a link", (folder) => {
    fill(layers[1], { [folder]: "/elsewhere" });
    expect(() => checkMountTargets([], layers)).toThrow("must be mounted on ordinary directory");
  });

  test("takes what lies elsewhere, and what its owner puts over /dev", () => {
    fill(layers[1], { "proc/": "", run: "var/run", "var/run/": "" });
    const mounts = [bind("/run/x"), bind("/dev"), bind("/new/folder"), bind("/dev/shm")];
    const volume = bind("/data", { type: "volume", isUntrusted: true });
    expect(() => checkMountTargets([...mounts, volume], layers)).not.toThrow();
    expect(() => checkMountTargets([bind("/proc", { source: "/proc" })], layers)).not.toThrow();
  });
});
