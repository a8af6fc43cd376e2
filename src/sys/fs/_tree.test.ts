import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { changeOwner, copyTree, getXattr, makeNode, removeTree, setTimes, setXattr } from "./fs.ts";
import { makeFifo } from "../fd-stream.ts";

const isRoot = process.getuid?.() === 0;
const folder = mkdtempSync(join(tmpdir(), "sys-tree-"));
const source = join(folder, "source");
const target = join(folder, "made/target");
const secret = join(folder, "secret");
const holeSizeBytes = 64 * 1024 * 1024;
const names = { odd: Buffer.from([0x66, 0xff, 0x0a]) };

beforeAll(async () => {
  if (!isRoot) return;
  mkdirSync(join(source, "sub/empty"), { recursive: true });
  mkdirSync(secret);
  writeFileSync(join(secret, "keep"), "keep");
  writeFileSync(join(source, "sub/file"), "content");
  linkSync(join(source, "sub/file"), join(source, "hard"));
  symlinkSync("sub", join(source, "link"));
  symlinkSync(secret, join(source, "out"));
  linkSync(join(source, "out"), join(source, "out-too"));
  makeFifo(join(source, "fifo"), 0o640);
  makeNode(join(source, "whiteout"), constants.S_IFCHR, 0);
  writeFileSync(Buffer.concat([Buffer.from(`${source}/`), names.odd]), "odd");
  const hole = openSync(join(source, "hole"), "w");
  writeSync(hole, "middle", holeSizeBytes / 2);
  ftruncateSync(hole, holeSizeBytes);
  closeSync(hole);
  setXattr(join(source, "sub/file"), "user.a", Buffer.from("b"));
  setXattr(join(source, "sub"), "trusted.x", Buffer.from("y"));
  changeOwner(join(source, "sub/file"), 12, 34);
  changeOwner(join(source, "out"), 56, 78);
  chmodSync(join(source, "sub/file"), 0o4755);
  for (const name of ["sub/file", "out", "fifo", "sub/empty", "sub"]) {
    setTimes(join(source, name), { atime: 5n, mtime: -123_456_789n });
  }
  chmodSync(source, 0o2751);
  changeOwner(source, 9, 9);
  await copyTree(source, target);
});
afterAll(() => removeTree(folder));

test.skipIf(!isRoot)("copyTree() copies every name and no more", () => {
  expect(readdirSync(target, { recursive: true, encoding: "buffer" }).map(String).sort()).toEqual(
    readdirSync(source, { recursive: true, encoding: "buffer" }).map(String).sort(),
  );
});

test.skipIf(!isRoot)("copyTree() keeps owner, mode, times, device and type of each", () => {
  for (const name of ["", "sub", "sub/file", "sub/empty", "out", "link", "fifo", "whiteout"]) {
    const [before, after] = [source, target].map((root) =>
      lstatSync(join(root, name), { bigint: true }),
    );
    const facts = (stat: typeof before): unknown => [
      name,
      stat?.mode,
      stat?.uid,
      stat?.gid,
      stat?.rdev,
      name === "" ? 0n : stat?.mtimeNs,
    ];
    expect(facts(after)).toEqual(facts(before));
  }
});

test.skipIf(!isRoot)("copyTree() keeps extended attributes and content", () => {
  expect(getXattr(join(target, "sub/file"), "user.a")).toEqual(new Uint8Array([98]));
  expect(getXattr(join(target, "sub"), "trusted.x")).toEqual(new Uint8Array([121]));
  expect(readFileSync(join(target, "hard"), "utf8")).toBe("content");
  expect(readlinkSync(join(target, "out"))).toBe(secret);
});

test.skipIf(!isRoot)("copyTree() keeps hard links, of symbolic links too", () => {
  const inode = (name: string): number => lstatSync(join(target, name)).ino;
  expect(inode("hard")).toBe(inode("sub/file"));
  expect(inode("out")).toBe(inode("out-too"));
  expect(lstatSync(join(target, "hard")).nlink).toBe(2);
});

test.skipIf(!isRoot)("copyTree() keeps holes", () => {
  const stat = lstatSync(join(target, "hole"));
  expect(stat.size).toBe(holeSizeBytes);
  expect(stat.blocks * 512).toBeLessThan(1024 * 1024);
  const copied = readFileSync(join(target, "hole"));
  expect(copied.subarray(holeSizeBytes / 2, holeSizeBytes / 2 + 6).toString()).toBe("middle");
});

test.skipIf(!isRoot)("copyTree() does not write through a link in the target", async () => {
  const trap = join(folder, "trap");
  mkdirSync(trap);
  symlinkSync(secret, join(trap, "sub"));
  expect(copyTree(source, trap)).rejects.toThrow("copy tree");
  await copyTree(source, trap).catch(() => undefined);
  expect(readdirSync(secret)).toEqual(["keep"]);
});

test.skipIf(!isRoot)(
  "copyTree() copies between file systems and large files in pieces",
  async () => {
    const from = join(folder, "large");
    mkdirSync(from);
    const bytes = Buffer.alloc(20 * 1024 * 1024 + 7, "tug");
    writeFileSync(join(from, "f"), bytes);
    const other = mkdtempSync("/dev/shm/sys-tree-");
    await copyTree(from, other);
    expect(readFileSync(join(other, "f")).equals(bytes)).toBe(true);
    await removeTree(other);
  },
);

test("copyTree() says what is missing", () => {
  expect(copyTree(join(folder, "no"), join(folder, "to"))).rejects.toMatchObject({
    kind: "not-found",
  });
});
