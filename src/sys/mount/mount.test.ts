import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountByOptions } from "./_overlay.ts";
import { removeTree } from "../fs/fs.ts";
import {
  bindMount,
  isMountPoint,
  makeRecursiveReadOnly,
  mount,
  mountOverlay,
  parseMountInfo,
  readMountInfo,
  setPropagation,
  unmount,
} from "./mount.ts";

const isRoot = process.getuid?.() === 0;
const folder = mkdtempSync(join(tmpdir(), "sys-mount with space-"));
const place = (name: string): string => {
  mkdirSync(join(folder, name), { recursive: true });
  return join(folder, name);
};
const layers = Array.from({ length: 130 }, (_, index) =>
  join(folder, `var/lib/tug/snapshots/${1000 + index}/fs`),
);

beforeAll(() => {
  for (const [index, layer] of layers.entries()) {
    mkdirSync(layer, { recursive: true });
    writeFileSync(join(layer, `only-${index}`), "");
    writeFileSync(join(layer, "top"), String(index));
  }
});
afterAll(async () => {
  for (const info of readMountInfo().reverse()) {
    if (info.target.startsWith(folder)) unmount(info.target, { detach: true });
  }
  await removeTree(folder);
});

describe.skipIf(!isRoot)("mountOverlay()", () => {
  test("stacks 130 layers with long paths, uppermost first", () => {
    const target = place("stack");
    const [upperDir, workDir] = [place("upper"), place("work")];
    mountOverlay({ lowerDirs: layers, upperDir, workDir, target, options: ["index=off"] });
    expect(readFileSync(join(target, "top"), "utf8")).toBe("0");
    expect(readdirSync(target)).toHaveLength(131);
    writeFileSync(join(target, "top"), "new");
    expect(readFileSync(join(upperDir, "top"), "utf8")).toBe("new");
    expect(isMountPoint(target)).toBe(true);
    expect(unmount(target)).toBe(true);
    expect(unmount(target)).toBe(false);
    expect(isMountPoint(target)).toBe(false);
  });

  test("without lowerdir+, 130 layers still fit by short names", () => {
    const target = place("old-way");
    const [upperDir, workDir] = [place("old,upper"), place("old:work")];
    const before = process.cwd();
    mountByOptions({ lowerDirs: layers, upperDir, workDir, target, options: ["index=off"] });
    expect(readdirSync(target)).toHaveLength(131);
    expect(readlinkSync("/proc/self/cwd")).toBe(before);
    writeFileSync(join(target, "new"), "");
    expect(readdirSync(upperDir)).toEqual(["new"]);
    expect(unmount(target)).toBe(true);
    const lowerDirs = layers.flatMap((layer) => Array.from({ length: 5 }, () => layer));
    expect(() => mountByOptions({ lowerDirs, target })).toThrow("too many for this kernel");
  });

  test.each([1, 2])("shows %d layers without an upper folder read-only", (count) => {
    const target = place(`view-${count}`);
    mountOverlay({ lowerDirs: layers.slice(0, count), target });
    expect(readdirSync(target)).toHaveLength(count + 1);
    expect(() => writeFileSync(join(target, "x"), "")).toThrow("EROFS");
    expect(unmount(target)).toBe(true);
  });

  test("says not-found for a missing layer, and the kernel's own words for a bad option", () => {
    const target = place("bad");
    const lowerDirs = [join(folder, "none"), ...layers.slice(0, 1)];
    expect(() => mountOverlay({ lowerDirs, target })).toThrow("No such file or directory");
    const options = ["bogus=1"];
    expect(() => mountOverlay({ lowerDirs: layers.slice(0, 2), target, options })).toThrow("bogus");
    expect(() => mountOverlay({ lowerDirs: [], target })).toThrow("no layers");
    expect(isMountPoint(target)).toBe(false);
  });
});

test.skipIf(!isRoot)("bindMount() shows a folder again, read-only when asked", () => {
  const target = place("bound");
  bindMount({ source: layers[3] ?? "", target, readOnly: true });
  expect(readFileSync(join(target, "top"), "utf8")).toBe("3");
  expect(() => writeFileSync(join(target, "x"), "")).toThrow("EROFS");
  writeFileSync(join(layers[3] ?? "", "later"), "");
  expect(unmount(target, { detach: true })).toBe(true);
});

test.skipIf(!isRoot)("makeRecursiveReadOnly() reaches mounts below", () => {
  const target = place("tree");
  mount({ source: "tmpfs", target, type: "tmpfs", data: "size=1m" });
  mkdirSync(join(target, "sub"));
  mount({ source: "tmpfs", target: join(target, "sub"), type: "tmpfs" });
  makeRecursiveReadOnly(target);
  expect(() => writeFileSync(join(target, "sub/x"), "")).toThrow("EROFS");
  expect(unmount(join(target, "sub"))).toBe(true);
  expect(unmount(target)).toBe(true);
});

test.skipIf(!isRoot)("setPropagation() shows in mountinfo, and targets are unescaped", () => {
  const target = place("propagation");
  mount({ source: "tmpfs", target, type: "tmpfs" });
  const propagation = (): readonly string[] | undefined =>
    readMountInfo().find((info) => info.target === target)?.propagation;
  setPropagation(target, "shared");
  expect(propagation()?.[0]).toStartWith("shared:");
  setPropagation(target, "rprivate");
  expect(propagation()).toEqual([]);
  setPropagation(target, "unbindable");
  expect(propagation()).toEqual(["unbindable"]);
  expect(unmount(target)).toBe(true);
});

test("parseMountInfo() reads optional fields, octal escapes and skips other lines", () => {
  const text = [
    "36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=x",
    "25 1 0:22 / /proc rw - proc proc rw",
    "26 1 0:23 / /t rw - tmpfs  rw",
    "not a line",
    "",
  ].join("\n");
  const [first, second, third, ...others] = parseMountInfo(text);
  expect(first).toEqual({
    id: 36,
    parentId: 35,
    device: "98:0",
    root: "/mnt1",
    target: "/a b\\c",
    options: ["rw", "noatime"],
    propagation: ["master:1", "shared:2"],
    type: "ext3",
    source: "/dev/root",
    superOptions: ["rw", "errors=x"],
  });
  expect(second?.propagation).toEqual([]);
  expect(third?.source).toBe("");
  expect(others).toEqual([]);
});

test("isMountPoint() is false for a path that is not there", () => {
  expect(isMountPoint(join(folder, "no"))).toBe(false);
  expect(isMountPoint("/proc/")).toBe(true);
});
