import { afterAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  backingFileSystemName,
  changeOwner,
  deviceNumber,
  fileSystemStats,
  getXattr,
  listXattr,
  lockFile,
  makeNode,
  mkdirInRoot,
  openInRoot,
  openRoot,
  readFileInRoot,
  removeTree,
  removeXattr,
  setTimes,
  setXattr,
  statInRoot,
  syncDirectory,
  syncFileSystem,
  syncFileSystemAsync,
  writeFileAtomic,
} from "./fs.ts";
import { makeFifo } from "../fd-stream.ts";
import { run } from "../process/process.ts";

const folder = mkdtempSync(join(tmpdir(), "sys-fs-"));
const isRoot = process.getuid?.() === 0;
afterAll(() => removeTree(folder));

describe("writeFileAtomic()", () => {
  test("replaces the content and leaves nothing else behind", () => {
    const own = join(folder, "atomic");
    mkdirSync(own);
    writeFileAtomic(join(own, "f"), "old");
    writeFileAtomic(join(own, "f"), new Uint8Array([110, 101, 119]), { mode: 0o666 });
    expect(readFileSync(join(own, "f"), "utf8")).toBe("new");
    expect(statSync(join(own, "f")).mode & 0o777).toBe(0o666);
    expect(readdirSync(own)).toEqual(["f"]);
  });

  test("leaves nothing behind when the name is taken by a folder", () => {
    const own = join(folder, "taken");
    mkdirSync(join(own, "f/x"), { recursive: true });
    expect(() => writeFileAtomic(join(own, "f"), "x", { durable: false })).toThrow("write");
    expect(readdirSync(own)).toEqual(["f"]);
  });

  test("says not-found when the folder is missing", () => {
    expect(() => writeFileAtomic(join(folder, "none/f"), "x")).toThrow("No such file");
  });
});

test("the three syncs return and name what is missing", async () => {
  syncDirectory(folder);
  syncFileSystem(folder);
  await syncFileSystemAsync(folder);
  expect(() => syncDirectory(join(folder, "no"))).toThrow("No such file");
  expect(() => syncFileSystem(join(folder, "no"))).toThrow("No such file");
  expect(syncFileSystemAsync(join(folder, "no"))).rejects.toMatchObject({ kind: "internal" });
});

test("lockFile() tells a second process who holds it, and lets go on close", async () => {
  const path = join(folder, "lock");
  const lock = lockFile(path);
  const other = `
    import { lockFile } from ${JSON.stringify(join(import.meta.dirname, "fs.ts"))};
    const lock = lockFile(${JSON.stringify(path)});
    console.log("close" in lock ? "mine" : lock.heldByPid);
  `;
  const first = await run({ argv: [process.execPath, "-e", other] });
  expect(first.stdout.trim()).toBe(String(process.pid));
  if ("close" in lock) lock.close();
  const second = await run({ argv: [process.execPath, "-e", other] });
  expect(second.stdout.trim()).toBe("mine");
});

describe("in a root", () => {
  const root = join(folder, "root");
  mkdirSync(join(root, "etc"), { recursive: true });
  writeFileSync(join(folder, "secret"), "secret");
  writeFileSync(join(root, "etc/passwd"), "inside");
  symlinkSync("../../../../secret", join(root, "up"));
  symlinkSync(join(folder, "secret"), join(root, "absolute"));
  symlinkSync("/etc", join(root, "conf"));
  symlinkSync("loop", join(root, "loop"));
  symlinkSync("/proc/self/root", join(root, "magic"));
  makeFifo(join(root, "fifo"), 0o600);
  const rootFd = openRoot(root);
  afterAll(() => closeSync(rootFd));
  const read = (path: string): string | undefined => {
    const bytes = readFileInRoot(rootFd, path, { sizeMaxBytes: 100 });
    return bytes === undefined ? undefined : Buffer.from(bytes).toString();
  };

  test.each(["up", "absolute", "../secret", "/../../secret", "conf/../../secret", "missing/x"])(
    "readFileInRoot(%j) does not leave the root",
    (path) => {
      expect(read(path)).toBeUndefined();
    },
  );

  test.each(["etc/passwd", "/etc/passwd", "conf/passwd", "../../etc/passwd"])(
    "readFileInRoot(%j) finds the file inside",
    (path) => {
      expect(read(path)).toBe("inside");
    },
  );

  test("readFileInRoot() refuses what is no file, too large or a loop, without waiting", () => {
    expect(() => read("fifo")).toThrow("not a regular file");
    expect(() => read("etc")).toThrow("not a regular file");
    expect(() => read("loop")).toThrow("symbolic links");
    expect(() => readFileInRoot(rootFd, "etc/passwd", { sizeMaxBytes: 5 })).toThrow("larger than");
    expect(readFileInRoot(rootFd, "etc/passwd", { sizeMaxBytes: 6 })).toHaveLength(6);
  });

  test("openInRoot() refuses magic links of /proc", () => {
    const fd = openRoot("/");
    const flags = constants.O_RDONLY;
    expect(() => openInRoot(fd, "/proc/self/root/etc/passwd", flags)).toThrow("symbolic links");
    closeSync(fd);
  });

  test("mkdirInRoot() makes parents, follows links inside, keeps what is there", () => {
    mkdirInRoot(rootFd, "/conf/a/b", { mode: 0o1777 });
    expect(lstatSync(join(root, "etc/a/b")).mode & 0o7777).toBe(0o1777);
    mkdirInRoot(rootFd, "conf/a/b", { mode: 0o700 });
    expect(lstatSync(join(root, "etc/a/b")).mode & 0o7777).toBe(0o1777);
    expect(() => mkdirInRoot(rootFd, "etc/passwd/x")).toThrow("Not a directory");
    expect(() => mkdirInRoot(rootFd, "up/x")).toThrow();
    expect(readdirSync(folder)).not.toContain("x");
  });

  test("statInRoot() follows the last link unless told not to", () => {
    expect(statInRoot(rootFd, "conf")?.isDirectory).toBe(true);
    expect(statInRoot(rootFd, "conf", { noFollow: true })?.isSymbolicLink).toBe(true);
    expect(statInRoot(rootFd, "up")).toBeUndefined();
  });
});

test("extended attributes hold bytes, empty ones too, and go away", () => {
  const path = join(folder, "attributes");
  writeFileSync(path, "");
  setXattr(path, "user.a", new Uint8Array([0, 255]));
  setXattr(path, "user.b", new Uint8Array());
  expect(listXattr(path).sort()).toEqual(["user.a", "user.b"]);
  expect(getXattr(path, "user.a")).toEqual(new Uint8Array([0, 255]));
  expect(getXattr(path, "user.b")).toEqual(new Uint8Array());
  expect(removeXattr(path, "user.a")).toBe(true);
  expect(removeXattr(path, "user.a")).toBe(false);
  expect(getXattr(path, "user.a")).toBeUndefined();
  expect(() => setXattr(path, "bogus", new Uint8Array(1))).toThrow("set attribute");
});

test("setTimes() is right to the nanosecond, before 1970 too, and on the link itself", () => {
  const path = join(folder, "times");
  writeFileSync(path, "");
  symlinkSync("times", join(folder, "times-link"));
  setTimes(path, { atime: 1n, mtime: -1_500_000_001n });
  setTimes(join(folder, "times-link"), { atime: 5n, mtime: 7n });
  const stat = lstatSync(path, { bigint: true });
  expect([stat.atimeNs, stat.mtimeNs]).toEqual([1n, -1_500_000_001n]);
  expect(lstatSync(join(folder, "times-link"), { bigint: true }).mtimeNs).toBe(7n);
});

test.skipIf(!isRoot)("makeNode() and changeOwner() make a device of another owner", () => {
  const path = join(folder, "node");
  makeNode(path, constants.S_IFCHR | 0o600, deviceNumber(1, 3));
  changeOwner(path, 1000, 1001);
  const stat = lstatSync(path);
  expect([stat.isCharacterDevice(), stat.rdev, stat.uid, stat.gid]).toEqual([
    true,
    Number(deviceNumber(1, 3)),
    1000,
    1001,
  ]);
  expect(() => makeNode(path, constants.S_IFCHR, 0)).toThrow("File exists");
});

test("file systems are named as Docker names them", () => {
  expect(backingFileSystemName("/dev/shm")).toBe("tmpfs");
  const stats = fileSystemStats("/");
  expect(stats.sizeBytes).toBeGreaterThan(stats.freeBytes);
  expect(stats.freeBytes).toBeGreaterThanOrEqual(stats.availableBytes);
});
