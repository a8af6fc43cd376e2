/**
 * Random changes of a stack of layers look like the same changes of one plain folder.
 *
 * Covers: COPY of files, folders and links, ADD of archives with every type of entry, over files,
 * folders, links, whiteouts and opaque folders of two layers below. Not: owners, modes, times.
 */
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { isKind } from "../../lib/errors.ts";
import { makeNode, setXattr } from "../../sys/fs/fs.ts";
import { mountOverlay, unmount } from "../../sys/mount/mount.ts";
import { makeTree, openTestFolder, showTree } from "./_copy-fixture.ts";
import { copySteps } from "./_copy-steps.ts";
import { type TarItem, tarOf } from "./_tar-fixture.ts";
import type { CopyStep } from "./copy.ts";

const isRoot = process.getuid?.() === 0;
const seed = 20_261_121;
const rounds = 60;
const names = ["a", "b", "c"];

class Random {
  #state: number;

  constructor(state: number) {
    this.#state = state;
  }

  below(count: number): number {
    this.#state = (Math.imul(this.#state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (this.#state >> 8) % count;
  }

  pick<T>(values: readonly [T, ...T[]] | readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error("nothing to pick from");
    return value;
  }

  path(): string {
    return Array.from({ length: this.below(3) + 1 }, () => this.pick(names)).join("/");
  }

  link(): string {
    return this.pick(["a", "/b", "../c", "/a/b", "../../b", ".", "/"]);
  }
}

/** Lines for `makeTree`, none below a file. */
function randomTree(random: Random): string[] {
  const lines = new Map<string, string>();
  for (let count = random.below(10) + 1; count > 0; count -= 1) {
    const path = random.path();
    const parts = path.split("/");
    const above = parts.map((_, index) => parts.slice(0, index).join("/")).slice(1);
    const isTaken =
      lines.has(path) ||
      above.some((parent) => lines.has(parent) && !lines.get(parent)?.includes("/ "));
    if (isTaken || [...lines.keys()].some((other) => other.startsWith(`${path}/`))) continue;
    const kind = random.below(4);
    if (kind === 0) lines.set(path, `${path}/ 755`);
    else if (kind === 1) lines.set(path, `${path} -> ${random.link()}`);
    else lines.set(path, `${path} 644 0:0 1 ${random.below(9)}`);
  }
  return [...lines.values()];
}

function randomArchive(random: Random): TarItem[] {
  const files: string[] = [];
  return Array.from({ length: random.below(12) + 1 }, (): TarItem => {
    const name = random.below(2) === 0 ? random.pick(names) : random.path();
    const attributes = { name, mode: 0o755, mtimeS: 5 };
    switch (random.below(6)) {
      case 0:
      case 1:
        return { ...attributes, type: "directory" };
      case 2:
        return { ...attributes, type: "symlink", linkName: random.link() };
      case 3:
        if (files.length === 0) return { ...attributes, type: "directory" };
        return { ...attributes, type: "hardlink", linkName: random.pick(files) };
      case 4:
        return { ...attributes, type: "fifo" };
      default:
        files.push(name);
        return { ...attributes, content: `archive ${random.below(9)}` };
    }
  });
}

describe.skipIf(!isRoot)("layers (need root)", () => {
  test(`look as one folder after ${rounds} random changes from seed ${seed}`, async () => {
    for (let round = 0; round < rounds; round += 1) {
      const random = new Random(seed + round * 7919);
      using folder = openTestFolder();
      const path = (name: string): string => join(folder.path, name);
      const low = makeTree(path("1/fs"), randomTree(random));
      const middle = makeTree(path("2/fs"), randomTree(random));
      hideSome(random, { middle, low });
      const plain = makeTree(path("plain/fs"), []);
      copyMerged([middle, low], { plain, mountPoint: path("mnt") });
      const upper = makeTree(path("3/fs"), []);
      const source = makeTree(path("source"), randomTree(random));
      writeFileSync(join(source, "x.tar"), tarOf(randomArchive(random)));
      const steps = [randomStep(random, source), randomStep(random, source)];
      const layered = await outcome(
        { type: "overlay", lowerDirs: [middle, low], upperDir: upper },
        steps,
      );
      const flat = await outcome({ type: "bind", source: plain }, steps);
      const what = `round ${round}: `;
      expect(`${what}${layered}`).toBe(`${what}${flat}`);
      // Also after a failure: both have stopped at the same place.
      const shown = showTree([upper, middle, low]).map(withoutTimes);
      expect([what, ...shown]).toEqual([what, ...showTree([plain]).map(withoutTimes)]);
    }
  }, 60_000);
});

function hideSome(random: Random, layers: { readonly middle: string; readonly low: string }): void {
  const below = showTree([layers.low]);
  const above = showTree([layers.middle]);
  const has = (lines: readonly string[], start: RegExp): boolean =>
    lines.some((line) => start.test(line));
  for (const name of names) {
    if (!has(below, new RegExp(`^${name}[ /]`)) || random.below(3) > 0) continue;
    const path = join(layers.middle, name);
    if (!has(above, new RegExp(`^${name}[ /]`))) makeNode(path, 0o020000, 0);
    else if (has(above, new RegExp(`^${name}/`))) {
      setXattr(path, "trusted.overlay.opaque", Buffer.from("y"));
    }
  }
}

/** By a mount, so that this does not trust what is tested. */
function copyMerged(
  layers: readonly string[],
  to: { readonly plain: string; readonly mountPoint: string },
): void {
  makeTree(to.mountPoint, []);
  mountOverlay({ lowerDirs: layers, target: to.mountPoint });
  try {
    expect(spawnSync("cp", ["-a", `${to.mountPoint}/.`, to.plain]).status).toBe(0);
  } finally {
    unmount(to.mountPoint);
  }
}

function randomStep(random: Random, source: string): CopyStep {
  const tree = { kind: "folder", path: source } as const;
  const paths = [random.pick([".", "a", "b", "*", "a/b", "x.tar", "x.tar"])];
  const selection = { tree, paths, excludes: [], hasParents: random.below(4) === 0 };
  return {
    kind: "copy",
    sources: [{ kind: "files", selection, unpack: random.pick(["never", "archives"] as const) }],
    destination: random.pick(["/", `/${random.path()}`, `/${random.path()}/`]),
    resetsOwners: true,
  };
}

async function outcome(
  target: {
    readonly type: "overlay" | "bind";
    readonly source?: string;
    readonly upperDir?: string;
    readonly lowerDirs?: readonly string[];
  },
  steps: readonly CopyStep[],
): Promise<string> {
  try {
    await copySteps({ target: { ...target, isReadOnly: false }, steps });
    return "done";
  } catch (error) {
    // Both are to refuse the same; nothing here may be a failure of ours.
    if (isKind(error, "invalid-argument", "not-found")) return error.message;
    throw error;
  }
}

function withoutTimes(line: string): string {
  return line.replace(/ \d+:\d+ (?:now|\d+)/, "");
}
