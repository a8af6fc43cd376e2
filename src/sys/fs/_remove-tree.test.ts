import { afterAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { removeTree, removeTreeInParts } from "./fs.ts";

const folder = mkdtempSync(join(tmpdir(), "sys-remove-"));
afterAll(() => removeTree(folder));

test("removeTree() removes links and not their targets; twice is no failure", async () => {
  const tree = join(folder, "tree");
  const outside = join(folder, "outside");
  mkdirSync(join(tree, "a/b"), { recursive: true });
  mkdirSync(outside);
  writeFileSync(join(outside, "keep"), "");
  symlinkSync(outside, join(tree, "a/link"));
  await Promise.all([removeTree(tree), removeTree(tree)]);
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
  expect(readdirSync(outside)).toEqual(["keep"]);
});

test("removeTreeInParts() removes the same, and waits between the parts", async () => {
  const tree = join(folder, "parts");
  const outside = join(folder, "parts-outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "keep"), "");
  for (const path of ["a/b/c/d/e/f", "a/b2", "g"]) mkdirSync(join(tree, path), { recursive: true });
  writeFileSync(join(tree, "a/b/c/d/e/f/file"), "");
  writeFileSync(join(tree, "file"), "");
  symlinkSync(outside, join(tree, "link"));
  const odd = Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff, 0xfe])]);
  mkdirSync(odd);
  const seen: boolean[] = [];
  const between = async (): Promise<void> => {
    await Promise.resolve();
    seen.push(existsSync(join(tree, "a/b")));
  };
  await removeTreeInParts(tree, { between });
  // d, c, b, b2, a, g and the one whose name is no text.
  expect(seen.length).toBeGreaterThanOrEqual(6);
  expect(seen.slice(0, 2)).toEqual([true, true]);
  expect(existsSync(tree)).toBe(false);
  expect(readdirSync(outside)).toEqual(["keep"]);
  await removeTreeInParts(tree, { between });
});

test("removeTreeInParts() leaves the rest when told between two parts", async () => {
  const tree = join(folder, "stopped");
  for (const name of ["a", "b", "c"]) mkdirSync(join(tree, name), { recursive: true });
  const stop = new EngineError("canceled", "stop");
  const between = async (): Promise<void> => await Promise.reject(stop);
  await expect(removeTreeInParts(tree, { between })).rejects.toBe(stop);
  expect(readdirSync(tree)).toHaveLength(2);
});

/** Makes folders of one name in each other, more than a path has room for: the upper ones are put around. */
function makeDeep(tree: string, name: Buffer, depth: number): void {
  const slash = Buffer.from("/");
  const perPart = Math.floor(2_500 / (name.length + 1));
  const chain = (count: number): Buffer =>
    Buffer.concat(Array.from({ length: count }, () => [slash, name]).flat());
  for (let made = 0, part = 0; made < depth; made += perPart, part += 1) {
    const bottom = Buffer.concat([Buffer.from(join(tree, String(part))), chain(perPart)]);
    mkdirSync(bottom, { recursive: true });
    writeFileSync(Buffer.concat([bottom, Buffer.from("/f")]), "");
    if (part === 0) continue;
    renameSync(join(tree, String(part - 1)), Buffer.concat([bottom, Buffer.from("/more")]));
  }
}

test.each([
  ["deeper than any path", Buffer.from("d"), 3_000],
  ["of names that are no text", Buffer.from([0xff, 0xfe]), 1_000],
  ["of long names", Buffer.alloc(250, "n"), 60],
])(
  "removeTree() removes a tree %s in little time",
  async (_what, name, depth) => {
    const tree = join(folder, "deep");
    makeDeep(tree, name, depth);
    const startMs = performance.now();
    await removeTree(tree);
    expect(performance.now() - startMs).toBeLessThan(5_000);
    expect(existsSync(tree)).toBe(false);
  },
  60_000,
);
