import { afterAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  type BigIntStats,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { HashCache } from "./hash-cache.ts";

const folder = mkdtempSync("/tmp/hash-cache-");
afterAll(() => rmSync(folder, { recursive: true }));
const hashOf = (digit: number): string => String(digit).repeat(64);

/** A file that was written long ago, as far as its facts tell. */
function settled(name: string): BigIntStats {
  const path = join(folder, name);
  writeFileSync(path, name);
  const stat = lstatSync(path, { bigint: true });
  stat.ctimeNs -= 1_000_000_000n;
  return stat;
}

describe("hashes in a file", () => {
  const [one, two, three] = [settled("one"), settled("two"), settled("three")];

  test("are added behind those that are there, and found by another", () => {
    const path = join(folder, "added");
    const cache = HashCache.open(path);
    cache.put(one, hashOf(1));
    cache.save();
    const inode = statSync(path).ino;
    cache.put(two, hashOf(2));
    cache.save();
    cache.save();
    expect(statSync(path).ino).toBe(inode);
    expect(readFileSync(path, "utf8").split("\n")).toHaveLength(4);
    const other = HashCache.open(path);
    expect([one, two, three].map((stat) => other.find(stat))).toEqual([
      hashOf(1),
      hashOf(2),
      undefined,
    ]);
    other.put(one, hashOf(3));
    other.save();
    expect(HashCache.open(path).find(one)).toBe(hashOf(3));
  });

  test("are written anew where the file is gone, or is another", () => {
    const path = join(folder, "gone");
    const cache = HashCache.open(path);
    cache.put(one, hashOf(1));
    cache.save();
    rmSync(path);
    cache.put(two, hashOf(2));
    cache.save();
    expect(HashCache.open(path).find(one)).toBe(hashOf(1));
    writeFileSync(path, "something else\n");
    const other = HashCache.open(path);
    other.put(three, hashOf(3));
    other.save();
    expect(readFileSync(path, "utf8")).toStartWith("tug hashes 1\n");
    expect(HashCache.open(path).find(three)).toBe(hashOf(3));
  });

  test.each([1, 10, 64, 65, 70])("survive a line that lacks its last %i bytes", (lostBytes) => {
    const path = join(folder, `cut-${lostBytes}`);
    const cache = HashCache.open(path);
    cache.put(one, hashOf(1));
    cache.save();
    cache.put(two, hashOf(2));
    cache.save();
    truncateSync(path, statSync(path).size - lostBytes);
    const other = HashCache.open(path);
    expect(other.find(one)).toBe(hashOf(1));
    expect([undefined, hashOf(2)]).toContain(other.find(two));
    other.put(three, hashOf(3));
    other.save();
    appendFileSync(path, "\n");
    const last = HashCache.open(path);
    expect(last.find(one)).toBe(hashOf(1));
    expect([undefined, hashOf(2)]).toContain(last.find(two));
    expect([undefined, hashOf(3)]).toContain(last.find(three));
  });

  test("of what changed a moment ago are not kept", () => {
    const path = join(folder, "fresh");
    writeFileSync(join(folder, "now"), "now");
    const cache = HashCache.open(path);
    const stat = lstatSync(join(folder, "now"), { bigint: true });
    cache.put(stat, hashOf(1));
    expect(cache.find(stat)).toBeUndefined();
    cache.save();
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });
});
