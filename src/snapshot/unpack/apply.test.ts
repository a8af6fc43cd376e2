import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { isKind } from "../../lib/errors.ts";
import { encodeTar, encodeTarHeader, type SmallTarEntry } from "../../lib/tar/tar-writer.ts";
import { digestOf } from "../../oci/digest.ts";
import { getXattr, listXattr, setXattr } from "../../sys/fs/fs.ts";
import { type AppliedLayer, type ApplyOptions, applyLayer } from "./apply.ts";

type Header = SmallTarEntry["header"];

let folder: string;
let target: string;
let blobCount = 0;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-apply-"));
  target = join(folder, "target");
  mkdirSync(target);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, content = "", extra: Partial<Header> = {}): SmallTarEntry => ({
  header: { name, ...extra },
  content,
});
const dir = (name: string, extra: Partial<Header> = {}): SmallTarEntry => ({
  header: { name, type: "directory", mode: 0o755, ...extra },
});
const symlink = (name: string, linkName: string): SmallTarEntry => ({
  header: { name, type: "symlink", linkName },
});
const link = (name: string, linkName: string): SmallTarEntry => ({
  header: { name, type: "hardlink", linkName },
});

function blobOf(bytes: Uint8Array): string {
  blobCount += 1;
  const path = join(folder, `blob-${blobCount}`);
  writeFileSync(path, bytes);
  return path;
}

async function apply(
  entries: readonly SmallTarEntry[],
  options: Partial<ApplyOptions> = {},
): Promise<AppliedLayer> {
  return applyLayer({ blobPath: blobOf(encodeTar(entries)), targetDir: target, ...options });
}

const at = (name: string): string => join(target, name);
const read = (name: string): string => readFileSync(at(name), "utf8");
const isWhiteout = (name: string): boolean => {
  const stat = lstatSync(at(name), { throwIfNoEntry: false });
  return stat?.isCharacterDevice() === true && stat.rdev === 0;
};
const isOpaque = (name: string): boolean =>
  Buffer.from(getXattr(at(name), "trusted.overlay.opaque") ?? []).toString() === "y";

describe.skipIf(process.getuid?.() !== 0)("applyLayer() (needs root)", () => {
  test("tells diff ID, size and count; takes plain and gzip", async () => {
    const tar = encodeTar([dir("etc"), file("etc/a", "hello"), file("b", "xyz")]);
    const alone = { standsAlone: true, hasRootEntry: false };
    const wanted = { diffId: digestOf(tar), sizeBytes: 8, entryCount: 3, ...alone };
    const plain = await applyLayer({ blobPath: blobOf(tar), targetDir: target, durable: true });
    expect(plain).toEqual(wanted);
    const other = join(folder, "other");
    mkdirSync(other);
    expect(await applyLayer({ blobPath: blobOf(gzipSync(tar)), targetDir: other })).toEqual(wanted);
    expect(readFileSync(join(other, "etc/a"), "utf8")).toBe("hello");
  });

  test("tells whether anything of it depends on the layers below", async () => {
    const link: SmallTarEntry = { header: { name: "l", type: "hardlink", linkName: "etc/low" } };
    const below = join(folder, "below");
    mkdirSync(join(below, "etc"), { recursive: true });
    writeFileSync(join(below, "etc/low"), "low");
    const options = { parentDirs: [below] };
    const asked = async (...entries: readonly SmallTarEntry[]): Promise<readonly boolean[]> => {
      rmSync(target, { recursive: true });
      mkdirSync(target);
      const { standsAlone, hasRootEntry } = await apply(entries, options);
      return [standsAlone, hasRootEntry];
    };
    expect(await asked(dir("./"), dir("etc"), file("etc/a", ""))).toEqual([true, true]);
    expect(await asked(file("a", ""), dir("etc"), file("etc/.wh.low", ""))).toEqual([true, false]);
    expect(await asked(file("etc/a", ""))).toEqual([false, false]);
    expect(await asked(file("etc/.wh.low", ""))).toEqual([false, false]);
    expect(await asked(dir("etc"), link)).toEqual([false, false]);
  });

  test("tells how much of the blob has been read, in a worker thread too", async () => {
    for (const sizeBytes of [1_000, 4 * 1024 * 1024]) {
      const tar = encodeTar([file(`noise${sizeBytes}`, randomBytes(sizeBytes).toString("hex"))]);
      const blobPath = blobOf(gzipSync(tar));
      const read: number[] = [];
      const onRead = (readBytes: number): void => void read.push(readBytes);
      await applyLayer({ blobPath, targetDir: target }, { onRead });
      expect(read.length).toBeGreaterThan(0);
      expect(read).toEqual(read.toSorted((a, b) => a - b));
      expect(read.at(-1)).toBeLessThanOrEqual(statSync(blobPath).size);
      expect(read.at(-1)).toBeGreaterThan(statSync(blobPath).size / 2);
    }
  });

  test("tells the digest of the unpacked bytes whichever thread hashes them", async () => {
    for (const sizeBytes of [1_000, 4 * 1024 * 1024]) {
      const tar = encodeTar([file(`noise${sizeBytes}`, randomBytes(sizeBytes).toString("hex"))]);
      const expectedDiffId = digestOf(tar);
      for (const packed of [tar, gzipSync(tar, { level: 1 }), zstdCompressSync(tar)]) {
        rmSync(target, { recursive: true });
        mkdirSync(target);
        const { diffId } = await applyLayer({ blobPath: blobOf(packed), targetDir: target });
        expect(diffId).toBe(expectedDiffId);
      }
    }
  });

  test("keeps owner, set-user bit, old and negative times, of directories too", async () => {
    await apply([
      dir("d", { mtimeNs: -5_500_000_000n, mode: 0o1777, uid: 7, gid: 8 }),
      file("d/su", "x", {
        mode: 0o6755,
        uid: 1000,
        gid: 1001,
        mtimeNs: 1_234_567_890_123_456_789n,
      }),
      file("d/old", "x", { mtimeNs: -1_000_000_001n }),
    ]);
    const su = lstatSync(at("d/su"), { bigint: true });
    expect([su.mode & 0o7777n, su.uid, su.gid, su.mtimeNs]).toEqual([
      0o6755n,
      1000n,
      1001n,
      1_234_567_890_123_456_789n,
    ]);
    const folderStat = lstatSync(at("d"), { bigint: true });
    expect([folderStat.mode & 0o7777n, folderStat.uid, folderStat.mtimeNs]).toEqual([
      0o1777n,
      7n,
      -5_500_000_000n,
    ]);
    expect(lstatSync(at("d/old"), { bigint: true }).mtimeNs).toBe(-1_000_000_001n);
  });

  test("gives the root what its entry says", async () => {
    await apply([dir("./", { mode: 0o711, uid: 3, mtimeNs: 5_000_000_000n }), file("a")]);
    const root = lstatSync(target);
    expect([root.mode & 0o7777, root.uid, root.mtimeMs]).toEqual([0o711, 3, 5000]);
  });

  test("makes devices, FIFOs and links", async () => {
    await apply([
      { header: { name: "null", type: "char", mode: 0o666, devMajor: 1, devMinor: 3 } },
      { header: { name: "big", type: "block", mode: 0o600, devMajor: 259, devMinor: 70_000 } },
      { header: { name: "pipe", type: "fifo", mode: 0o640, uid: 5 } },
      symlink("away", "/etc/passwd"),
      file("one", "1"),
      link("two", "/one"),
    ]);
    expect(lstatSync(at("null")).rdev).toBe(0x103);
    expect(lstatSync(at("null")).mode & 0o777).toBe(0o666);
    expect(Bun.spawnSync(["stat", "-c", "%Hr:%Lr", at("big")]).stdout.toString()).toBe(
      "259:70000\n",
    );
    expect(lstatSync(at("pipe")).isFIFO()).toBe(true);
    expect(readlinkSync(at("away"))).toBe("/etc/passwd");
    expect(lstatSync(at("two")).ino).toBe(lstatSync(at("one")).ino);
  });

  test("keeps names that are not UTF-8, and long ones", async () => {
    const long = `${"d".repeat(200)}/${"e".repeat(200)}/${"f".repeat(255)}`;
    await apply([file("caf\xe9", "latin"), file(long, "deep")]);
    const names = readdirSync(target, { encoding: "buffer" }).map((name) =>
      name.toString("latin1"),
    );
    expect(names).toContain("caf\xe9");
    expect(read(long)).toBe("deep");
  });

  test("makes the folder that a link leads to", async () => {
    await apply([
      symlink("lib", "usr/lib"),
      file("lib/a", "x"),
      symlink("s", "/srv/./d"),
      file("s/b"),
    ]);
    expect([read("usr/lib/a"), readlinkSync(at("lib"))]).toEqual(["x", "usr/lib"]);
    expect(existsSync(at("srv/d/b"))).toBe(true);
  });

  test('takes ".." in a name back, as long as it stays inside', async () => {
    await apply([
      dir("a"),
      file("a/../b", "one"),
      file("not/there/../../c", "two"),
      link("d", "a/../b"),
      symlink("l", "/etc"),
      file("l/../e", "three"),
    ]);
    expect(readdirSync(target).sort()).toEqual(["a", "b", "c", "d", "e", "l"]);
    expect([read("b"), read("c"), read("d"), read("e")]).toEqual(["one", "two", "one", "three"]);
  });

  test("keeps capabilities and user attributes, and never what overlayfs obeys", async () => {
    const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
    const hostile = ["redirect", "opaque", "metacopy", "origin", "upper"].map(
      (name): [string, Uint8Array] => [`trusted.overlay.${name}`, Buffer.from("/etc")],
    );
    const xattrs = new Map<string, Uint8Array>([
      ["security.capability", capability],
      ["user.note", Buffer.from("a\0b")],
      ["user.overlay.redirect", Buffer.from("/etc")],
      ["security.selinux", Buffer.from("x")],
      ["trusted.other", Buffer.from("x")],
      ...hostile,
    ]);
    await apply([file("ping", "x", { xattrs, mode: 0o755, uid: 9 }), dir("d", { xattrs })]);
    expect(listXattr(at("ping")).sort()).toEqual(["security.capability", "user.note"]);
    expect(getXattr(at("ping"), "security.capability")).toEqual(new Uint8Array(capability));
    expect(Buffer.from(getXattr(at("ping"), "user.note") ?? []).toString()).toBe("a\0b");
    expect(listXattr(at("d"))).toEqual(expect.not.arrayContaining(["trusted.overlay.opaque"]));
    expect(listXattr(at("d")).some((name) => name.startsWith("trusted."))).toBe(false);
  });

  test("keeps lists of access, which files made in a folder do not inherit from it", async () => {
    const list = (mask: number): Buffer => {
      const entries = [
        [1, 6, -1],
        [2, 7, 1000],
        [4, 4, -1],
        [16, mask, -1],
        [32, 4, -1],
      ];
      const bytes = Buffer.alloc(4 + entries.length * 8);
      bytes.writeUInt32LE(2);
      for (const [index, [tag = 0, rights = 0, id = 0]] of entries.entries()) {
        bytes.writeUInt16LE(tag, 4 + index * 8);
        bytes.writeUInt16LE(rights, 6 + index * 8);
        bytes.writeInt32LE(id, 8 + index * 8);
      }
      return bytes;
    };
    const access = "system.posix_acl_access";
    const forNew = "system.posix_acl_default";
    await apply([
      dir("d", { xattrs: new Map([[forNew, list(7)]]) }),
      file("d/plain", "x", { mode: 0o640 }),
      file("d/shared", "x", { mode: 0o4674, xattrs: new Map([[access, list(7)]]) }),
      file("narrow", "x", { mode: 0o644, xattrs: new Map([[access, list(7)]]) }),
    ]);
    expect(Buffer.from(getXattr(at("d"), forNew) ?? []).equals(list(7))).toBe(true);
    expect(listXattr(at("d/plain"))).toEqual([]);
    expect(statSync(at("d/plain")).mode & 0o7777).toBe(0o640);
    expect(Buffer.from(getXattr(at("d/shared"), access) ?? []).equals(list(7))).toBe(true);
    expect(statSync(at("d/shared")).mode & 0o7777).toBe(0o4674);
    // The mode says what the mask is.
    expect(Buffer.from(getXattr(at("narrow"), access) ?? []).equals(list(4))).toBe(true);
    expect(statSync(at("narrow")).mode & 0o7777).toBe(0o644);
  });

  test("the last of several entries of a name wins, whatever their types", async () => {
    await apply([
      file("a", "first"),
      file("a", "second"),
      dir("b"),
      file("b/inside", "x"),
      file("b", "now a file"),
      file("c", "x"),
      dir("c"),
      file("c/inside", "y"),
      symlink("s", "c"),
      dir("s"),
      file("s/own", "z"),
      dir("m", { mode: 0o700 }),
      file("m/kept", "k"),
      dir("m", { mode: 0o750 }),
    ]);
    expect([read("a"), read("b"), read("c/inside"), read("s/own")]).toEqual([
      "second",
      "now a file",
      "y",
      "z",
    ]);
    expect(existsSync(at("c/own"))).toBe(false);
    expect([read("m/kept"), statSync(at("m")).mode & 0o777]).toEqual(["k", 0o750]);
  });

  test("replaces by another type deep inside as well", async () => {
    await apply([
      file("x/y/b/inside", "x"),
      file("x/y/b", "file", { mode: 0o640, uid: 4 }),
      symlink("x/y/s", "b"),
      dir("x/y/s", { mode: 0o700 }),
      file("x/y/s/own", "own"),
      file("x/y/l", "file"),
      symlink("x/y/l", "s"),
      file("x/y/l/through", "through"),
      dir("x/y/l"),
      file("x/y/l/own", "other"),
      link("x/y/s/own", "x/y/b"),
    ]);
    const tree = Bun.spawnSync(["find", ".", "-type", "f"], { cwd: target }).stdout.toString();
    expect(tree.trim().split("\n").sort()).toEqual([
      "./x/y/b",
      "./x/y/l/own",
      "./x/y/s/own",
      "./x/y/s/through",
    ]);
    expect([read("x/y/b"), read("x/y/s/own"), read("x/y/l/own")]).toEqual([
      "file",
      "file",
      "other",
    ]);
    expect([lstatSync(at("x/y/b")).uid, lstatSync(at("x/y/s")).mode & 0o777]).toEqual([4, 0o700]);
  });

  test("holds few folders open, and closes all", async () => {
    const before = readdirSync("/proc/self/fd").length;
    const entries = Array.from({ length: 1500 }, (_, index) => [
      dir(`d${index}`, { mtimeNs: 1_000_000_000n }),
      file(`d${index}/sub/f`, "x"),
    ]).flat();
    await apply([...entries, ...entries.toReversed()]);
    expect(readdirSync(target)).toHaveLength(1500);
    expect(lstatSync(at("d7")).mtimeMs).toBe(1000);
    expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 20);
  });

  test("a replaced hard link leaves the other name alone", async () => {
    await apply([file("one", "1"), link("two", "one"), file("two", "changed")]);
    expect([read("one"), read("two")]).toEqual(["1", "changed"]);
  });
});

describe.skipIf(process.getuid?.() !== 0)("whiteouts (needs root)", () => {
  test("become what overlayfs reads", async () => {
    await apply([
      file("dir/.wh.gone", ""),
      file("other/.wh..wh..opq", ""),
      file(".wh..wh.plnk", ""),
      file("other/new", "n"),
    ]);
    expect(isWhiteout("dir/gone")).toBe(true);
    expect(isOpaque("other")).toBe(true);
    expect(readdirSync(target).sort()).toEqual(["dir", "other"]);
    expect(readdirSync(at("other"))).toEqual(["new"]);
  });

  test("never hide what the same layer brings, in either order", async () => {
    await apply([
      file("a", "mine"),
      file(".wh.a"),
      file(".wh.b"),
      file("b", "mine"),
      file(".wh.c"),
      dir("c"),
      file("c/x", "mine"),
      dir("d"),
      file(".wh.d"),
    ]);
    expect([read("a"), read("b"), read("c/x")]).toEqual(["mine", "mine", "mine"]);
    expect([isOpaque("c"), isOpaque("d")]).toEqual([true, true]);
  });

  test("hide a folder below also when what is put there names no folder", async () => {
    await apply([file(".wh.a"), file("a/deep/x", "mine"), file(".wh.b"), file("b/.wh.c")]);
    expect([read("a/deep/x"), isOpaque("a"), isOpaque("a/deep")]).toEqual(["mine", true, false]);
    expect(statSync(at("a")).mode & 0o777).toBe(0o755);
    expect(isWhiteout("b")).toBe(true);
  });

  test("at the root hide all that is below, since overlayfs merges roots whatever they say", async () => {
    const lower = join(folder, "lower");
    for (const name of ["gone", "both", "later", "file"])
      mkdirSync(join(lower, name), { recursive: true });
    const applied = await apply(
      [dir("both"), file(".wh..wh..opq"), dir("later"), file("later/x"), file("file", "mine")],
      { parentDirs: [lower] },
    );
    expect(isWhiteout("gone")).toBe(true);
    expect([isOpaque("both"), isOpaque("later"), read("file")]).toEqual([true, true, "mine"]);
    expect(applied.standsAlone).toBe(false);
  });

  test("remove from a copy of the parent what they name, and no more", async () => {
    const old = ["keep/a", "keep/b", "opaque/old", "opaque/sub/old", "gone/deep/x", "again/old"];
    for (const name of old) {
      mkdirSync(join(at(name), ".."), { recursive: true });
      writeFileSync(at(name), "old");
    }
    symlinkSync("/etc", at("opaque/link"));
    await apply(
      [
        file("keep/.wh.a"),
        file(".wh.gone"),
        file("opaque/sub/new", "n"),
        file("opaque/.wh..wh..opq"),
        file("fresh", "f"),
        file(".wh.fresh"),
        file(".wh.never-there"),
        dir("again"),
        file("again/new"),
        file(".wh.again"),
      ],
      { whiteouts: "remove" },
    );
    const tree = Bun.spawnSync(["find", ".", "-mindepth", "1"], { cwd: target }).stdout.toString();
    expect(tree.trim().split("\n").sort()).toEqual([
      "./again",
      "./again/new",
      "./fresh",
      "./keep",
      "./keep/b",
      "./opaque",
      "./opaque/sub",
      "./opaque/sub/new",
    ]);
    expect(existsSync("/etc/passwd")).toBe(true);
  });
});

describe.skipIf(process.getuid?.() !== 0)("layers below (needs root)", () => {
  let lower: string;
  let lowest: string;
  beforeEach(() => {
    [lower, lowest] = [join(folder, "lower"), join(folder, "lowest")];
    for (const layer of [lower, lowest]) mkdirSync(join(layer, "opt"), { recursive: true });
  });

  test("a hard link to a file of a lower layer brings that file up", async () => {
    writeFileSync(join(lowest, "opt/tool"), "tool", { mode: 0o4755 });
    setXattr(join(lowest, "opt/tool"), "user.note", Buffer.from("n"));
    setXattr(join(lowest, "opt/tool"), "trusted.overlay.redirect", Buffer.from("/etc"));
    Bun.spawnSync(["chown", "12:13", join(lowest, "opt/tool")]);
    Bun.spawnSync(["chmod", "4755", join(lowest, "opt/tool")]);
    await apply([link("bin/tool", "opt/tool")], { parentDirs: [lower, lowest] });
    const stat = lstatSync(at("opt/tool"));
    expect([stat.mode & 0o7777, stat.uid, stat.gid, stat.nlink]).toEqual([0o4755, 12, 13, 2]);
    expect(stat.ino).toBe(lstatSync(at("bin/tool")).ino);
    expect(listXattr(at("opt/tool"))).toEqual(["user.note"]);
    expect(lstatSync(join(lowest, "opt/tool")).nlink).toBe(1);
  });

  test("a hidden file of a lower layer is not linked to", async () => {
    writeFileSync(join(lowest, "opt/tool"), "tool");
    Bun.spawnSync(["mknod", join(lower, "opt/tool"), "c", "0", "0"]);
    const hidden = apply([link("a", "opt/tool")], { parentDirs: [lower, lowest] });
    await expect(hidden).rejects.toThrow("does not exist");
    rmSync(join(lower, "opt/tool"));
    setXattr(join(lower, "opt"), "trusted.overlay.opaque", Buffer.from("y"));
    const opaque = apply([link("a", "opt/tool")], { parentDirs: [lower, lowest] });
    await expect(opaque).rejects.toThrow("does not exist");
  });

  test("no link of a lower layer leads out of it", async () => {
    symlinkSync("/", join(lowest, "host"));
    symlinkSync("/etc/passwd", join(lowest, "secret"));
    for (const linked of ["host/etc/passwd", "secret"]) {
      const applied = apply([link("a", linked)], { parentDirs: [lowest] });
      await expect(applied).rejects.toMatchObject({ kind: "invalid-argument" });
    }
  });

  test("a directory that the layer does not describe looks as it does below", async () => {
    Bun.spawnSync(["chmod", "1770", join(lowest, "opt")]);
    Bun.spawnSync(["chown", "5:6", join(lowest, "opt")]);
    await apply([file("opt/new", "n"), file("var/x", "x")], { parentDirs: [lowest] });
    const stat = lstatSync(at("opt"));
    expect([stat.mode & 0o7777, stat.uid, stat.gid]).toEqual([0o1770, 5, 6]);
    expect(stat.mtimeMs).toBe(lstatSync(join(lowest, "opt")).mtimeMs);
    expect(lstatSync(at("var")).mode & 0o7777).toBe(0o755);
  });
});

/** Archives that are refused, with a part of the sentence. */
const refused: readonly (readonly [string, readonly SmallTarEntry[], string])[] = [
  ["a name with ..", [file("../evil", "x")], "leads out of the layer"],
  ["a name with .. inside", [dir("a"), file("a/../../evil", "x")], "leads out of the layer"],
  ["a whiteout of ..", [file("a/.wh...", "")], "a whiteout of no file"],
  ["a whiteout of .", [file(".wh..", "")], "a whiteout of no file"],
  ["a whiteout of nothing", [file("a/.wh.", "")], "a whiteout of no file"],
  ["a hard link out", [link("a", "../../etc/passwd")], "leads out of the layer"],
  ["a hard link to nothing", [link("a", "/etc/passwd")], "does not exist"],
  ["a hard link to itself", [file("a"), link("a", "a")], "a link to itself"],
  ["a hard link to a directory", [dir("d"), link("a", "d")], "a hard link to a directory"],
  ["a hard link to the root", [link("a", "/")], "a link to the root"],
  ["a hard link through a link", [symlink("l", "/etc"), link("a", "l/passwd")], "does not exist"],
  ["a file as a folder", [file("a", "x"), file("a/b", "x")], "Not a directory"],
  [
    "links that lead to each other by way of nothing",
    [symlink("a", "no/../b"), symlink("b", "no/../a"), file("a/c", "x")],
    "unpack",
  ],
  ["a link to a file as a folder", [file("f"), symlink("a", "f"), file("a/c", "x")], "Not a direc"],
  ["links in a circle as a folder", [symlink("a", "b"), symlink("b", "a"), file("a/c")], "unpack"],
  ["a name that is too long", [file("n".repeat(256), "x")], "File name too long"],
  ["a path that is too long", [file("n/".repeat(2500), "x")], "longer than 4096 bytes"],
  ["a file at the root", [file("./.", "x")], "the root must be a directory"],
  ["a symbolic link to nothing", [symlink("a", "")], "No such file"],
];

/** Archives that are unpacked, but touch nothing outside. */
const contained: readonly (readonly [string, (outside: string) => SmallTarEntry[], string])[] = [
  ["an absolute name", (outside) => [file(`${outside}/f`, "new")], ""],
  [
    "an absolute link as a folder",
    (outside) => [dir(outside), symlink("l", outside), file("l/f", "new")],
    "",
  ],
  ["a link up as a folder", () => [symlink("l", "../../../../.."), file("l/f", "new")], "f"],
  ["a link of links", () => [symlink("a", ".."), symlink("b", "a/.."), file("b/f", "new")], "f"],
  [
    "a link to nothing above",
    () => [symlink("l", "../../../new/dir"), file("l/f", "new")],
    "new/dir/f",
  ],
  ["a file over a link out", (outside) => [symlink("f", `${outside}/f`), file("f", "new")], "f"],
  [
    "a folder over a link out",
    (outside) => [symlink("d", outside), dir("d"), file("d/f", "new")],
    "d/f",
  ],
  [
    "a hard link to a link out",
    (outside) => [symlink("s", `${outside}/f`), link("h", "s"), file("h", "new")],
    "h",
  ],
  ["a mode over a link out", (outside) => [symlink("s", `${outside}/f`), link("t", "s")], ""],
];

describe.skipIf(process.getuid?.() !== 0)("hostile archives (needs root)", () => {
  for (const [what, entries, sentence] of refused) {
    test(`refuses ${what}`, async () => {
      const applied = apply(entries);
      await expect(applied).rejects.toThrow(sentence);
      await expect(applied).rejects.toMatchObject({ kind: "invalid-argument" });
      expect(readdirSync(folder).filter((name) => !name.startsWith("blob-"))).toEqual(["target"]);
    });
  }

  for (const [what, entries, written] of contained) {
    test(`keeps inside: ${what}`, async () => {
      const outside = join(folder, "outside");
      mkdirSync(outside);
      writeFileSync(join(outside, "f"), "untouched", { mode: 0o600 });
      await apply(entries(outside));
      expect(readdirSync(outside)).toEqual(["f"]);
      expect(readFileSync(join(outside, "f"), "utf8")).toBe("untouched");
      expect(statSync(join(outside, "f")).mode & 0o777).toBe(0o600);
      expect(
        readdirSync(folder)
          .sort()
          .filter((name) => !name.startsWith("blob-")),
      ).toEqual(["outside", "target"]);
      if (written !== "") expect(read(written)).toBe("new");
    });
  }

  test("refuses an unknown type by its flag", async () => {
    const header = Buffer.from(encodeTarHeader({ name: "a" }));
    header[156] = "V".charCodeAt(0);
    header.write("        ", 148);
    const sum = header.reduce((left, right) => left + right, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    const blobPath = blobOf(Buffer.concat([header, Buffer.alloc(1024)]));
    await expect(applyLayer({ blobPath, targetDir: target })).rejects.toThrow(
      "unhandled entry type",
    );
  });

  test("escapes the name it refuses", async () => {
    await expect(apply([file("../\x1b[2Jx")])).rejects.toThrow(/^[\x20-\x7e]+$/);
  });

  test("refuses truncated data, and data of another digest", async () => {
    const tar = encodeTar([file("a", "x".repeat(2000))]);
    const cut = blobOf(tar.subarray(0, 1500));
    await expect(applyLayer({ blobPath: cut, targetDir: target })).rejects.toMatchObject({
      kind: "invalid-argument",
    });
    const packed = gzipSync(tar);
    const cutPacked = blobOf(packed.subarray(0, packed.length - 12));
    await expect(applyLayer({ blobPath: cutPacked, targetDir: target })).rejects.toMatchObject({
      kind: "invalid-argument",
    });
    const expectedDiffId = digestOf("something else");
    await expect(apply([file("a")], { expectedDiffId })).rejects.toMatchObject({
      kind: "data-loss",
    });
  });

  test("bounds size, count and ratio", async () => {
    const limited = (limits: ApplyOptions["limits"]): Promise<AppliedLayer> =>
      apply([file("a", "x".repeat(5000)), file("b", "x"), file("c", "x")], {
        limits: limits ?? {},
      });
    await expect(limited({ sizeMaxBytes: 4999 })).rejects.toThrow("more than 4999 bytes");
    await expect(limited({ entriesMax: 2 })).rejects.toThrow("more than 2 entries");
    const zeros = Buffer.alloc(80 * 1024 * 1024).toString("latin1");
    const bomb = blobOf(gzipSync(encodeTar([file("zeros", zeros)])));
    const strict = { ratioFreeBytes: 64 * 1024 * 1024 };
    await expect(applyLayer({ blobPath: bomb, targetDir: target, limits: strict })).rejects.toThrow(
      "expands more than 200 times",
    );
    // A file of zeros is nothing out of the ordinary.
    expect((await applyLayer({ blobPath: bomb, targetDir: target })).sizeBytes).toBe(zeros.length);
  });

  test("survives many seeded mutations of an archive", async () => {
    // Covers the writer and the reader together; the ratio of accepted archives is not its concern.
    const seed = 20_240_607;
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state % below;
    };
    const names = ["a", "a/b", "../x", "a/b/c", ".wh.a", "a/.wh..wh..opq", "/abs", "./a/", "l/x"];
    const makers = [
      (name: string): SmallTarEntry => file(name, "x".repeat(random(600))),
      (name: string): SmallTarEntry => dir(name),
      (name: string): SmallTarEntry => symlink(name, names[random(names.length)] ?? ""),
      (name: string): SmallTarEntry => link(name, names[random(names.length)] ?? ""),
    ];
    for (let round = 0; round < 200; round += 1) {
      const entries = Array.from({ length: 1 + random(8) }, () =>
        makers[random(makers.length)]?.(names[random(names.length)] ?? "a"),
      ).filter((entry) => entry !== undefined);
      const bytes = encodeTar(entries);
      for (let flips = random(4); flips > 0; flips -= 1) bytes[random(bytes.length)] = random(256);
      const targetDir = join(folder, `fuzz-${round}`);
      mkdirSync(targetDir);
      const blobPath = blobOf(bytes);
      const whiteouts = random(2) === 0 ? "overlay" : "remove";
      try {
        await applyLayer({ blobPath, targetDir, whiteouts, limits: { sizeMaxBytes: 1 << 20 } });
      } catch (error) {
        if (!isKind(error, "invalid-argument")) throw error;
      }
      rmSync(targetDir, { recursive: true, force: true });
      rmSync(blobPath);
    }
    expect(readdirSync(folder)).toEqual(["target"]);
    expect(readdirSync(target)).toEqual([]);
  });
});
