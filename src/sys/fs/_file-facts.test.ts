import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FileFacts, factsAt, factsOf, makeNode, openRoot } from "./fs.ts";

const fields = [
  ...(["dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size"] as const),
  ...(["mtimeNs", "ctimeNs", "birthtimeNs"] as const),
];
const kinds = [
  ...(["isFile", "isDirectory", "isSymbolicLink", "isFIFO"] as const),
  ...(["isSocket", "isCharacterDevice", "isBlockDevice"] as const),
];
const isRoot = process.getuid?.() === 0;

let folder: string;
let root: number;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-facts-"));
  root = openRoot(folder);
  writeFileSync(join(folder, "file"), "content", { mode: 0o4751 });
  linkSync(join(folder, "file"), join(folder, "second"));
  writeFileSync(join(folder, "old"), "");
  utimesSync(join(folder, "old"), -1.5, -86_400.25);
  writeFileSync(join(folder, "far"), "");
  utimesSync(join(folder, "far"), 1, 6_000_000_000);
  symlinkSync("nowhere", join(folder, "link"));
  mkdirSync(join(folder, "folder/below"), { recursive: true });
  writeFileSync(Buffer.from(join(folder, "\xff\xe9"), "latin1"), "odd");
});
afterAll(() => {
  closeSync(root);
  rmSync(folder, { recursive: true });
});

function seen(facts: FileFacts | undefined): unknown {
  if (facts === undefined) return undefined;
  return [fields.map((field) => facts[field]), kinds.map((kind) => facts[kind]())];
}

describe("facts of a file", () => {
  test.each(["file", "second", "old", "far", "link", "folder", "folder/below", ".", "\xff\xe9"])(
    "are those of node:fs: %j",
    (name) => {
      const path = Buffer.from(`${folder}/${name}`, "latin1");
      expect(seen(factsAt(root, name))).toEqual(seen(lstatSync(path, { bigint: true })));
    },
  );

  test.skipIf(!isRoot)("are those of node:fs for devices and pipes (needs root)", () => {
    const nodes = [
      ["whiteout", 0o020000, 0n],
      ["char", 0o020640, 0x1f203n],
      ["block", 0o060600, (0xabcden << 12n) | (0x12fn << 8n) | 7n],
      ["fifo", 0o010600, 0n],
    ] as const;
    for (const [name, mode, device] of nodes) {
      makeNode(join(folder, name), mode, device);
      const stat = lstatSync(join(folder, name), { bigint: true });
      expect([name, seen(factsAt(root, name))]).toEqual([name, seen(stat)]);
    }
  });

  test.each(["missing", "file/below", "x".repeat(300), "x/".repeat(5000), ""])(
    "are none of what cannot be there",
    (name) => {
      expect(factsAt(root, name)).toBeUndefined();
    },
  );

  test("are those of an open file, whatever its name is by now", () => {
    const path = join(folder, "opened");
    const fd = openSync(path, "w+", 0o640);
    try {
      renameSync(path, join(folder, "renamed"));
      expect(seen(factsOf(fd))).toEqual(seen(fstatSync(fd, { bigint: true })));
      expect(factsOf(fd).nlink).toBe(1n);
    } finally {
      closeSync(fd);
    }
    expect(() => factsOf(fd)).toThrow("Bad file descriptor");
  });

  test("stay as they were when another file is looked at", () => {
    const first = factsAt(root, "file");
    const before = seen(first);
    factsAt(root, "folder");
    expect(seen(first)).toEqual(before);
  });

  test("of a folder that is not open are refused", () => {
    expect(() => factsAt(-2, "file")).toThrow("look at");
  });
});
