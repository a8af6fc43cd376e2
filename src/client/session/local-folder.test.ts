import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { comparePaths, type FileStat, fileStatType, goMode } from "../../api/buildkit/fsutil.ts";
import { EngineError } from "../../lib/errors.ts";
import { fillMessage } from "../../lib/protobuf.ts";
import { type FolderChoice, openLocalFolder } from "./local-folder.ts";
import { openOutputFolder } from "./output-folder.ts";

const root = mkdtempSync("/tmp/local-folder-");
afterAll(() => rmSync(root, { recursive: true }));
let folder = "";
let caseCount = 0;
beforeEach(() => {
  caseCount += 1;
  folder = join(root, String(caseCount));
  mkdirSync(folder);
});

/** Makes files; a value that begins with `->` is a link. */
function make(files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    if (content.startsWith("->")) symlinkSync(content.slice(2), join(folder, name));
    else writeFileSync(join(folder, name), content);
  }
}

async function walk(choice: FolderChoice = {}): Promise<readonly FileStat[]> {
  const stats: FileStat[] = [];
  for await (const stat of openLocalFolder(folder, choice).walk()) stats.push(stat);
  return stats;
}

const paths = async (choice: FolderChoice = {}): Promise<readonly string[]> =>
  (await walk(choice)).map(({ path }) => path);

describe("a local folder", () => {
  test("is told in the order in which it travels", async () => {
    make({ "a/z": "", "a-b": "", "a.b/c": "", A: "", é: "" });
    const told = await paths();
    expect(told).toEqual(["A", "a", "a/z", "a-b", "a.b", "a.b/c", "\u00c3\u00a9"]);
    expect(told.toSorted(comparePaths)).toEqual([...told]);
  });

  test("tells what each file is", async () => {
    make({ f: "content", l: "->f" });
    linkSync(join(folder, "f"), join(folder, "hard"));
    const [file, hard, link] = await walk();
    expect(file).toMatchObject({ path: "f", size: 7, uid: 0, gid: 0, linkname: "" });
    expect(file?.modTime).toBe(lstatSync(join(folder, "f"), { bigint: true }).mtimeNs);
    expect(hard).toMatchObject({ path: "hard", size: 0, linkname: "f" });
    expect(link).toMatchObject({ path: "l", linkname: "f" });
    expect((link?.mode ?? 0) & goMode.symbolicLink).not.toBe(0);
  });

  test("leaves out what is excluded", async () => {
    make({ keep: "", "a.log": "", "d/b.log": "", "d/c": "", "node_modules/x/y": "" });
    expect(await paths({ excludes: ["**/*.log", "node_modules"] })).toEqual(["d", "d/c", "keep"]);
  });

  test("sends a folder that is excluded for what is excepted in it, and not without", async () => {
    make({ "out/a": "", "out/keep/b": "", "other/c": "" });
    const excludes = ["out", "other", "!out/keep"];
    expect(await paths({ excludes })).toEqual(["out", "out/keep", "out/keep/b"]);
  });

  test("sends only what is asked for, with the folders on the way", async () => {
    make({ "a/b/c": "", "a/b/d": "", "a/e": "", f: "", "g/h": "" });
    expect(await paths({ followPaths: ["a/b/c", "g", "missing/x"] })).toEqual([
      "a",
      "a/b",
      "a/b/c",
      "g",
      "g/h",
    ]);
    expect(await paths({ followPaths: ["*/e", "f"] })).toEqual(["a", "a/e", "f"]);
    expect((await paths({ followPaths: ["."] })).length).toBe(8);
    expect(await paths({ followPaths: [] })).toEqual([]);
  });

  test("sends what links lead to, as long as it is in the folder", async () => {
    make({
      "real/f": "",
      link: "->real/f",
      dir: "->real",
      up: "->../../etc/passwd",
      absolute: "->/real/f",
      loop: "->loop",
    });
    expect(await paths({ followPaths: ["link"] })).toEqual(["link", "real", "real/f"]);
    expect(await paths({ followPaths: ["dir/f"] })).toEqual(["dir", "real", "real/f"]);
    expect(await paths({ followPaths: ["absolute"] })).toEqual(["absolute", "real", "real/f"]);
    expect(await paths({ followPaths: ["up", "loop"] })).toEqual(["loop", "up"]);
  });

  test("excludes go before what is asked for", async () => {
    make({ "a/x": "", "a/y": "" });
    expect(await paths({ followPaths: ["a"], excludes: ["a/x"] })).toEqual(["a", "a/y"]);
  });

  test("gives content away: a piece stays what it is while others are read", async () => {
    const contents = ["a".repeat(300_000), "b".repeat(131_072), "c".repeat(20_000), "d"];
    make(Object.fromEntries(contents.map((content, at) => [`f${at}`, content])));
    const source = openLocalFolder(folder);
    const pieces: Uint8Array[][] = contents.map(() => []);
    for (const [at, kept] of pieces.entries()) {
      for await (const piece of source.read(`f${at}`)) kept.push(piece);
    }
    expect(pieces.map((kept) => Buffer.concat(kept).toString())).toEqual(contents);
  });

  test("reads content in pieces; what is gone is empty", async () => {
    const [big, other] = ["0123456789".repeat(30_000), "x".repeat(300_000)];
    make({ big, other });
    const source = openLocalFolder(folder);
    const read = async (path: string): Promise<string> => {
      const chunks: Buffer[] = [];
      for await (const chunk of source.read(path)) chunks.push(Buffer.from(chunk));
      expect(chunks.length).toBeGreaterThan(1);
      return Buffer.concat(chunks).toString();
    };
    // Two at the same time have room of their own.
    expect(await Promise.all([read("big"), read("other")])).toEqual([big, other]);
    for await (const chunk of source.read("gone")) expect(chunk).toBeUndefined();
  });
});

describe("an output folder", () => {
  const stat = (path: string, more: Partial<FileStat> = {}): FileStat =>
    fillMessage(fileStatType, { path, mode: 0o644, modTime: 1_000_000_000n, ...more });
  const directory = { mode: goMode.directory + 0o755 };

  test("takes files, and leaves what is there", () => {
    make({ old: "old", "d/other": "other" });
    using sink = openOutputFolder(folder);
    sink.add(stat("d", directory));
    const file = stat("d/new", { size: 3 });
    expect(sink.add(file)).toBe(true);
    sink.write(file, Buffer.from("new"));
    sink.endOfFile(file);
    sink.add(stat("l", { mode: goMode.symbolicLink + 0o777, linkname: "d/new" }));
    sink.finish();
    expect(readFileSync(join(folder, "d/new"), "utf8")).toBe("new");
    expect(readFileSync(join(folder, "d/other"), "utf8")).toBe("other");
    expect(readFileSync(join(folder, "old"), "utf8")).toBe("old");
    expect(readlinkSync(join(folder, "l"))).toBe("d/new");
    expect(lstatSync(join(folder, "d")).mtimeMs).toBe(1000);
  });

  test("does not write through links, of the user's or of the engine's", () => {
    make({ "outside/file": "safe" });
    const target = join(folder, "target");
    mkdirSync(target);
    symlinkSync("../outside", join(target, "d"));
    symlinkSync("../outside/file", join(target, "f"));
    using sink = openOutputFolder(target);
    sink.add(stat("d", directory));
    for (const path of ["d/file", "f"]) {
      const file = stat(path, { size: 4 });
      sink.add(file);
      sink.write(file, Buffer.from("evil"));
      sink.endOfFile(file);
    }
    sink.add(stat("l", { mode: goMode.symbolicLink + 0o777, linkname: "../outside" }));
    expect(() => sink.add(stat("l/file", { size: 4 }))).toThrow(EngineError);
    sink.finish();
    expect(readFileSync(join(folder, "outside/file"), "utf8")).toBe("safe");
    expect(readFileSync(join(target, "d/file"), "utf8")).toBe("evil");
  });

  test("gives nobody rights of another, and makes no devices", () => {
    using sink = openOutputFolder(folder);
    sink.add(stat("suid", { mode: goMode.setUid + 0o755 }));
    sink.add(stat("tty", { mode: goMode.device + goMode.charDevice + 0o666 }));
    sink.finish();
    expect(lstatSync(join(folder, "suid")).mode & 0o7777).toBe(0o755);
    expect(lstatSync(join(folder, "tty"), { throwIfNoEntry: false })).toBeUndefined();
  });
});
