import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { isKind } from "../../lib/errors.ts";
import { getXattr, makeNode, setXattr } from "../../sys/fs/fs.ts";
import { mountOverlay, unmount } from "../../sys/mount/mount.ts";
import { exists, makeTree, openTestFolder, showTree } from "./_copy-fixture.ts";
import { openCopier } from "./copier.ts";
import type { Checksum, ChecksumRequest, CopyStep, FileTree } from "./copy.ts";

const isRoot = process.getuid?.() === 0;
const copier = openCopier();
afterAll(() => copier[Symbol.asyncDispose]());

/** Long enough to be shared. */
const long = "z".repeat(40_000);
const files = ["d/ 755 0:0 5", "d/f 644 0:0 6 one", "d/l -> f - 0:0 7", "top 755 0:0 8 two"];

function sum(path: string, options: Partial<ChecksumRequest> = {}): Promise<Checksum> {
  const tree = { kind: "folder", path } as const;
  return copier.checksum({ tree, paths: ["."], excludes: [], hasParents: false, ...options });
}

function step(
  tree: FileTree,
  options: Partial<CopyStep> & { readonly paths?: readonly string[] } = {},
): CopyStep {
  const { paths = ["."], ...rest } = options;
  const selection = { tree, paths, excludes: [], hasParents: false };
  return {
    kind: "copy",
    sources: [{ kind: "files", selection }],
    destination: "/o/",
    resetsOwners: true,
    ...rest,
  };
}

describe.skipIf(!isRoot)("checksum() (needs root)", () => {
  test("lists files when it is asked, unless they are too many", async () => {
    using folder = openTestFolder();
    const path = makeTree(join(folder.path, "a"), files);
    writeFileSync(join(path, "odd name"), "x", { mode: 0o644 });
    expect((await sum(path)).files).toBeUndefined();
    const whole = await sum(path, { listedFilesMax: 4, ignoresOwners: true });
    expect(whole.digest).toBe((await sum(path, { ignoresOwners: true })).digest);
    const lines = whole.files?.split("\n") ?? [];
    expect(lines.map((line) => line.replace(/^[0-9a-f]{12} /, ""))).toEqual([
      "100644 d/f",
      "120777 d/l",
      "100644 odd name",
      "100755 top",
    ]);
    expect((await sum(path, { listedFilesMax: 3 })).files).toBeUndefined();
    const one = await sum(path, { paths: ["d/f"], listedFilesMax: 4 });
    expect(one.files).toMatch(/^[0-9a-f]{12} 100644:0:0 d\/f$/);
    const changed = async (): Promise<string | undefined> =>
      (await sum(path, { listedFilesMax: 9, ignoresOwners: true })).files;
    writeFileSync(join(path, "d/f"), "ONE");
    const now = (await changed())?.split("\n") ?? [];
    expect(now.filter((line) => !lines.includes(line)).map((line) => line.slice(13))).toEqual([
      "100644 d/f",
    ]);
  });

  const changes: readonly (readonly [string, boolean, (path: string) => void])[] = [
    ["a time", false, (path) => utimesSync(join(path, "top"), 99, 99)],
    ["the time of a folder", false, (path) => utimesSync(join(path, "d"), 99, 99)],
    ["content", true, (path) => writeFileSync(join(path, "d/f"), "ONE")],
    ["a mode", true, (path) => chmodSync(join(path, "top"), 0o700)],
    ["the mode of a folder", true, (path) => chmodSync(join(path, "d"), 0o700)],
    ["a name", true, (path) => renameSync(join(path, "top"), join(path, "pot"))],
    [
      "a link's target",
      true,
      (path) => {
        rmSync(join(path, "d/l"));
        symlinkSync("F", join(path, "d/l"));
      },
    ],
    ["an owner", true, (path) => void spawnSync("chown", ["7", join(path, "top")])],
    [
      "a kind",
      true,
      (path) => {
        rmSync(join(path, "top"));
        makeNode(join(path, "top"), 0o010755, 0);
      },
    ],
    ["an attribute", true, (path) => setXattr(join(path, "top"), "user.a", Buffer.from("b"))],
    ["a file more", true, (path) => writeFileSync(join(path, "d/g"), "")],
    ["an empty folder more", true, (path) => mkdirSync(join(path, "e"))],
    [
      "a hard link",
      true,
      (path) => {
        rmSync(join(path, "d/l"));
        linkSync(join(path, "d/f"), join(path, "d/l"));
      },
    ],
  ];

  test.each(changes)("%s counts: %p", async (_name, counts, change) => {
    using folder = openTestFolder();
    const path = makeTree(join(folder.path, "a"), files);
    const cache = { hashCachePath: join(folder.path, "hashes") };
    const before = await sum(path, cache);
    change(path);
    expect((await sum(path, cache)).digest !== before.digest).toBe(counts);
    expect((await sum(path)).digest).toBe((await sum(path, cache)).digest);
  });

  test("counts owners only when they are kept", async () => {
    using folder = openTestFolder();
    const path = makeTree(join(folder.path, "a"), ["f 644 0:0 1 x"]);
    const other = makeTree(join(folder.path, "b"), ["f 644 5:6 2 x"]);
    expect((await sum(path)).digest).not.toBe((await sum(other)).digest);
    const ignoring = { ignoresOwners: true };
    expect((await sum(path, ignoring)).digest).toBe((await sum(other, ignoring)).digest);
  });

  test("reads a file once, and again when it changed in size, time or place", async () => {
    using folder = openTestFolder();
    const path = makeTree(join(folder.path, "a"), files);
    const cache = { hashCachePath: join(folder.path, "hashes") };
    // What changed a moment ago may do so again unseen, and is not remembered.
    await Bun.sleep(80);
    expect([(await sum(path, cache)).hashedBytes, (await sum(path, cache)).hashedBytes]).toEqual([
      6, 0,
    ]);
    writeFileSync(join(path, "d/f"), "two");
    utimesSync(join(path, "d/f"), 6, 6);
    expect((await sum(path, cache)).hashedBytes).toBe(3);
    await using another = openCopier();
    await Bun.sleep(80);
    await sum(path, cache);
    const request = {
      tree: { kind: "folder", path } as const,
      paths: ["."],
      excludes: [],
      hasParents: false,
    };
    expect((await another.checksum({ ...request, ...cache })).hashedBytes).toBe(0);
    writeFileSync(cache.hashCachePath, "tug hashes 1\nnonsense\n\u0000\n1:2:3:4:5 short\n");
    expect((await another.checksum({ ...request, ...cache })).hashedBytes).toBe(6);
  });

  test("names what it matched, and what it did not find", async () => {
    using folder = openTestFolder();
    const path = makeTree(join(folder.path, "a"), files);
    const { matches, entryCount, sizeBytes } = await sum(path, { paths: ["d", "t*"] });
    expect(matches).toEqual([
      { path: "/d", kind: "directory" },
      { path: "/top", kind: "file" },
    ]);
    expect([entryCount, sizeBytes]).toEqual([4, 6]);
    await expect(sum(path, { paths: ["d/no"], refName: "R" })).rejects.toThrow(
      'failed to compute cache key: failed to calculate checksum of ref R: "/d/no": not found',
    );
    expect((await sum(path, { paths: ["no*"] })).matches).toEqual([]);
    await expect(sum(path, { paths: ["["] })).rejects.toThrow("syntax error in pattern");
  });
});

describe.skipIf(!isRoot)("trees of layers (need root)", () => {
  test("are read as overlayfs shows them", async () => {
    using folder = openTestFolder();
    const low = makeTree(join(folder.path, "low"), [
      "gone 644 0:0 1 x",
      "d/low 644 0:0 1 x",
      "o/low 644 0:0 1 x",
      "f/x 644 0:0 1 x",
      "l 644 0:0 1 x",
    ]);
    const middle = makeTree(join(folder.path, "middle"), [
      "d/middle 644 0:0 2 x",
      "f 644 0:0 2 file",
      "o/middle 644 0:0 2 x",
    ]);
    const top = makeTree(join(folder.path, "top"), ["d/ 700 3:3 3", "o/top 644 0:0 3 x", "l -> d"]);
    makeNode(join(top, "gone"), 0o020000, 0);
    setXattr(join(top, "o"), "trusted.overlay.opaque", Buffer.from("y"));
    const seen = showTree([top, middle, low]).map((line) => line.split(" ").slice(0, 3).join(" "));
    const merged = makeTree(join(folder.path, "merged"), []);
    mountOverlay({ lowerDirs: [top, middle, low], target: merged });
    try {
      expect(seen).toEqual(showTree([merged]).map((line) => line.split(" ").slice(0, 3).join(" ")));
    } finally {
      unmount(merged);
    }
    expect(seen.map((line) => line.split(" ")[0])).toEqual([
      "d/",
      "d/low",
      "d/middle",
      "f",
      "l",
      "o/",
      "o/top",
    ]);
  });

  test("what is written shows through a mount as it was meant", async () => {
    using folder = openTestFolder();
    const low = makeTree(join(folder.path, "low"), [
      "a/b/ 750 3:4 9",
      "a/b/c 644 0:0 1 old",
      "a/ 755 0:0 8",
      "var -> a/b",
    ]);
    const upper = makeTree(join(folder.path, "up/fs"), []);
    const work = makeTree(join(folder.path, "up/work"), []);
    const source = makeTree(join(folder.path, "s"), ["c 600 0:0 5 new", "n/x 644 0:0 6 x"]);
    const tree = { kind: "folder", path: source } as const;
    const target = {
      type: "overlay",
      lowerDirs: [low],
      upperDir: upper,
      workDir: work,
      isReadOnly: false,
    } as const;
    const result = await copier.copy({ target, steps: [step(tree, { destination: "/var/" })] });
    expect(result).toEqual({ fileCount: 2, sizeBytes: 4, checksums: [] });
    const merged = makeTree(join(folder.path, "m"), []);
    mountOverlay({ lowerDirs: [low], upperDir: upper, workDir: work, target: merged });
    try {
      const shown = showTree([merged]);
      expect(shown).toEqual(showTree([upper, low]));
      expect(shown).toContain("a/b/c 600 0:0 5 new");
      expect(shown).toContain("a/ 755 0:0 8");
      expect(shown.find((line) => line.startsWith("a/b/ "))).toStartWith("a/b/ 750 3:4");
    } finally {
      unmount(merged);
    }
  });
});

describe.skipIf(!isRoot)("copy() (needs root)", () => {
  test("keeps holes, attributes, capabilities and times to the nanosecond", async () => {
    using folder = openTestFolder();
    const source = makeTree(join(folder.path, "s"), ["sparse 4755 0:0 5", "attr 644 0:0 5 x"]);
    truncateSync(join(source, "sparse"), 50 * 1024 * 1024);
    spawnSync("touch", ["-d", "2001-02-03 04:05:06.123456789Z", join(source, "sparse")]);
    const capability = Buffer.from("0100000202000000000000000000000000000000", "hex");
    setXattr(join(source, "attr"), "security.capability", capability);
    setXattr(join(source, "attr"), "user.kept", Buffer.from("v"));
    setXattr(join(source, "attr"), "trusted.overlay.opaque", Buffer.from("y"));
    const upper = makeTree(join(folder.path, "t/fs"), []);
    const target = { type: "bind", source: upper, isReadOnly: false } as const;
    await copier.copy({
      target,
      steps: [step({ kind: "folder", path: source }, { chown: "7:8" })],
    });
    const sparse = lstatSync(join(upper, "o/sparse"), { bigint: true });
    expect([sparse.mtimeNs, sparse.size, sparse.blocks < 1000n, sparse.mode & 0o7777n]).toEqual([
      981_173_106_123_456_789n,
      52_428_800n,
      true,
      0o4755n,
    ]);
    const copy = join(upper, "o/attr");
    expect(Buffer.from(getXattr(copy, "security.capability") ?? [])).toEqual(capability);
    expect(String(Buffer.from(getXattr(copy, "user.kept") ?? []))).toBe("v");
    expect(getXattr(copy, "trusted.overlay.opaque")).toBeUndefined();
  });

  test("sums on the way what checksum() sums, archives and exceptions too", async () => {
    using folder = openTestFolder();
    const a = makeTree(join(folder.path, "a"), [...files, "x/ 700 1:2 9", "x/y 600 3:4 9 why"]);
    linkSync(join(a, "x/y"), join(a, "x/z"));
    spawnSync("tar", ["-C", a, "-cf", join(a, "d/t.tar"), "top"]);
    const tree = { kind: "folder", path: a } as const;
    const hashCachePath = join(folder.path, "hashes");
    const cases = [
      { paths: ["."] },
      { paths: ["d/", "x/y"], sum: { ignoresOwners: true, listedFilesMax: 9 } },
      { paths: ["d/t.tar", "top"], unpack: "archives", sum: { hashCachePath } },
      { paths: ["*"], excludes: ["x/*", "!x/z", "d/f"] },
    ] as const;
    for (const [index, { paths, ...more }] of cases.entries()) {
      const how = "sum" in more ? more.sum : {};
      const excludes = "excludes" in more ? more.excludes : [];
      const selection = { tree, paths, excludes, hasParents: false };
      const unpack = "unpack" in more ? more.unpack : "never";
      const source = { kind: "files", selection, unpack } as const;
      const target = {
        type: "bind",
        source: makeTree(join(folder.path, `t${index}`), []),
      } as const;
      const sources = [source, { ...source, sum: how }];
      const steps = [step(tree, { sources, destination: "/" })];
      const { checksums } = await copier.copy({ target: { ...target, isReadOnly: false }, steps });
      const { hashedBytes: _, ...apart } = await copier.checksum({ ...selection, ...how });
      expect(checksums).toEqual([{ ...apart, hashedBytes: expect.any(Number) }]);
      expect(checksums[0]?.entryCount).toBeGreaterThan(1);
    }
  });

  test("no link of a source or a target leads outside", async () => {
    using folder = openTestFolder();
    writeFileSync(join(folder.path, "secret"), "secret");
    const source = makeTree(join(folder.path, "s"), ["f 644 0:0 1 x"]);
    for (const [name, to] of [
      ["up", "../secret"],
      ["abs", join(folder.path, "secret")],
      ["root", "/"],
      ["far", "../../../../../.."],
    ] as const) {
      symlinkSync(to, join(source, name));
    }
    const tree = { kind: "folder", path: source } as const;
    for (const path of [
      "up",
      "abs",
      `root${folder.path}/secret`,
      `far${folder.path}/secret`,
      "../secret",
    ]) {
      await expect(sum(source, { paths: [path] })).rejects.toThrow("not found");
    }
    const upper = makeTree(join(folder.path, "t/fs"), []);
    symlinkSync("../../../../../../../..", join(upper, "out"));
    symlinkSync(folder.path, join(upper, "abs"));
    const target = { type: "bind", source: upper, isReadOnly: false } as const;
    const steps = ["/out/evil", `/abs/evil`, "/../../evil"].map((destination) =>
      step(tree, { destination, paths: ["f"] }),
    );
    await copier.copy({
      target,
      steps: [...steps, { kind: "folder", path: "/out/tmp/evil-folder" }],
    });
    expect([
      exists("/evil"),
      exists(join(folder.path, "evil")),
      exists("/tmp/evil-folder"),
    ]).toEqual([false, false, false]);
    expect(readFileSync(join(upper, "evil"), "utf8")).toBe("x");
    expect(readFileSync(join(upper, folder.path, "evil"), "utf8")).toBe("x");
    expect(exists(join(upper, "tmp/evil-folder"))).toBe(true);
  });

  test("shares files of a frozen tree, once in a stack of layers, and never those that are to differ", async () => {
    using folder = openTestFolder();
    const source = makeTree(join(folder.path, "s"), [
      `same 644 0:0 5 ${long}`,
      `owned 644 9:9 5 ${long}`,
      `mode 600 0:0 5 ${long}`,
      `setid 4755 0:0 5 ${long}`,
      "small 644 0:0 5 x",
    ]);
    const before = showTree([source]);
    const tree = { kind: "folder", path: source, isFrozen: true } as const;
    const low = makeTree(join(folder.path, "1/fs"), []);
    const paths = ["same", "owned", "setid", "small"];
    const bind = { type: "bind", source: low, isReadOnly: false } as const;
    await copier.copy({ target: bind, steps: [step(tree, { paths })] });
    const isShared = (name: string): boolean =>
      statSync(join(low, "o", name)).ino === statSync(join(source, name)).ino;
    expect(paths.map(isShared)).toEqual([true, false, false, false]);
    const upper = makeTree(join(folder.path, "2/fs"), []);
    const target = {
      type: "overlay",
      lowerDirs: [low],
      upperDir: upper,
      isReadOnly: false,
    } as const;
    const changed = step(tree, { paths: ["same", "mode"], destination: "/p/", chmod: "600" });
    await copier.copy({ target, steps: [changed] });
    const inode = (path: string): number => statSync(path).ino;
    expect(inode(join(upper, "p/mode"))).toBe(inode(join(source, "mode")));
    await copier.copy({ target, steps: [step(tree, { paths: ["same"], destination: "/q/" })] });
    expect(inode(join(upper, "q/same"))).not.toBe(inode(join(source, "same")));
    expect(showTree([source]).map((line) => line.replace(/ x\d$/, ""))).toEqual(before);
    const cache = { hashCachePath: join(folder.path, "hashes") };
    await Bun.sleep(80);
    const known = await sum(source, { tree, ...cache });
    linkSync(join(source, "same"), join(folder.path, "again"));
    expect(await sum(source, { tree, ...cache })).toEqual({ ...known, hashedBytes: 0 });
  });

  test("shares files of a stage, but none that the target stands on", async () => {
    using folder = openTestFolder();
    const layer = (name: string, lines: readonly string[]): string =>
      makeTree(join(folder.path, name, "fs"), lines);
    const base = layer("base", [`b 644 0:0 1 ${long}`]);
    const stage = layer("stage", [`s 644 0:0 1 ${long}`]);
    const mount = { type: "overlay", lowerDirs: [stage, base], isReadOnly: true } as const;
    const inode = (path: string): number => statSync(path).ino;
    const copy = async (
      tree: FileTree,
      target: string,
      lowerDirs: readonly string[],
    ): Promise<void> => {
      const overlay = { type: "overlay", upperDir: target, lowerDirs, isReadOnly: false } as const;
      await copier.copy({ target: overlay, steps: [step(tree, { resetsOwners: false })] });
    };
    const one = layer("one", []);
    await copy({ kind: "snapshot", mount }, one, [base]);
    expect(showTree([one])).toEqual([
      "o/ 755 0:0 now",
      "o/b 644 0:0 1 40000 bytes",
      "o/s 644 0:0 1 40000 bytes x2",
    ]);
    expect(inode(join(one, "o/s"))).toBe(inode(join(stage, "s")));
    // Back to where it is from: the inode is there already, as a file of the stage.
    const two = layer("two", []);
    const from = { type: "bind", source: one, isReadOnly: true } as const;
    await copy({ kind: "snapshot", mount: from }, two, [stage, base]);
    expect(inode(join(two, "o/o/s"))).not.toBe(inode(join(stage, "s")));
    expect(inode(join(two, "o/o/b"))).toBe(inode(join(one, "o/b")));
  });

  test("writes here-documents and folders, with names from the users of another tree", async () => {
    using folder = openTestFolder();
    const users = makeTree(join(folder.path, "u"), [
      "etc/passwd 644 0:0 1 me:x:70:71::/:",
      "etc/group 644 0:0 1 us:x:72:",
    ]);
    const upper = makeTree(join(folder.path, "t/fs"), []);
    const bytes = Buffer.from("#!/bin/sh\n");
    await copier.copy({
      target: { type: "bind", source: upper, isReadOnly: false },
      usersFrom: { kind: "folder", path: users },
      epochS: 1234,
      steps: [
        {
          kind: "copy",
          sources: [{ kind: "content", name: "EOF", bytes }],
          destination: "/a/b/",
          chown: "me:us",
          chmod: "u+x",
          resetsOwners: true,
        },
        {
          kind: "copy",
          sources: [{ kind: "content", name: "EOF", bytes }],
          destination: "/a/f",
          resetsOwners: true,
        },
        { kind: "folder", path: "/w/x", chown: "me" },
      ],
    });
    expect(showTree([upper])).toEqual([
      "a/ 755 70:72 1234",
      "a/b/ 755 70:72 1234",
      "a/b/EOF 744 70:72 1234 #!/bin/sh\n".trimEnd(),
      "a/f 644 0:0 1234 #!/bin/sh",
      "w/ 755 70:71 1234",
      "w/x/ 755 70:71 1234",
    ]);
  });

  test("a file that vanishes while it is copied is a failure, and no hang", async () => {
    using folder = openTestFolder();
    const source = makeTree(
      join(folder.path, "s"),
      Array.from({ length: 400 }, (_, index) => `f${index} 644 0:0 1 x`),
    );
    const upper = makeTree(join(folder.path, "t/fs"), []);
    const copying = copier.copy({
      target: { type: "bind", source: upper, isReadOnly: false },
      steps: [step({ kind: "folder", path: source })],
    });
    const outcome = copying.then(
      () => "copied",
      (error: unknown) => error,
    );
    for (const name of readdirSync(source)) rmSync(join(source, name), { force: true });
    const result = await outcome;
    expect(result === "copied" || isKind(result, "not-found")).toBe(true);
  });

  test("a FIFO or device in the place of a file is not waited for", async () => {
    using folder = openTestFolder();
    const source = makeTree(join(folder.path, "s"), ["p | 644 0:0 1"]);
    const upper = makeTree(join(folder.path, "t/fs"), []);
    const tree = { kind: "folder", path: source } as const;
    await copier.copy({
      target: { type: "bind", source: upper, isReadOnly: false },
      steps: [step(tree, { paths: ["p"] })],
    });
    expect(showTree([upper])).toEqual(["o/ 755 0:0 now", "o/p | 644 0:0 1"]);
    await expect(copier.readFile(tree, { path: "p", sizeMaxBytes: 10 })).rejects.toThrow("no file");
  });

  test("readFile() reads inside the tree, up to its limit", async () => {
    using folder = openTestFolder();
    const source = makeTree(join(folder.path, "s"), [
      "d/f 644 0:0 1 12345",
      "l -> /d/f",
      "out -> ../../../etc/hostname",
    ]);
    const tree = { kind: "folder", path: source } as const;
    expect(String(await copier.readFile(tree, { path: "l", sizeMaxBytes: 5 }))).toBe("12345");
    expect(await copier.readFile(tree, { path: "out", sizeMaxBytes: 5 })).toBeUndefined();
    expect(await copier.readFile(tree, { path: "no/thing", sizeMaxBytes: 5 })).toBeUndefined();
    await expect(copier.readFile(tree, { path: "l", sizeMaxBytes: 4 })).rejects.toThrow(
      "larger than 4 bytes",
    );
  });

  test("an abort ends the helper; the next job gets another", async () => {
    using folder = openTestFolder();
    const source = makeTree(join(folder.path, "s"), ["big 644 0:0 1 x"]);
    truncateSync(join(source, "big"), 20 * 1024 ** 3);
    const controller = new AbortController();
    const tree = { kind: "folder", path: source } as const;
    const request = { tree, paths: ["big"], excludes: [], hasParents: false };
    const summing = copier.checksum(request, { signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    const startedMs = performance.now();
    await expect(summing).rejects.toThrow("canceled");
    expect(performance.now() - startedMs).toBeLessThan(3000);
    expect(
      (await copier.checksum({ ...request, paths: ["."], excludes: ["big"] })).entryCount,
    ).toBe(1);
  });

  test("a helper that does not start, or answers nonsense, is a failure with a reason", async () => {
    const request = {
      tree: { kind: "folder", path: "/" } as const,
      paths: [],
      excludes: [],
      hasParents: false,
    };
    await using missing = openCopier({ helper: ["/no/such/program"] });
    await expect(missing.checksum(request)).rejects.toThrow("the helper");
    await using ends = openCopier({ helper: ["/bin/false"] });
    await expect(ends.checksum(request)).rejects.toThrow("the helper ended with exit code 1");
    await using babbles = openCopier({ helper: ["/bin/sh", "-c", "read x; echo babble; sleep 9"] });
    await expect(babbles.checksum(request)).rejects.toThrow("malformed");
  });
});
