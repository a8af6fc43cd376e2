import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../lib/log.ts";
import { hasRoom, Removals } from "./_removals.ts";

const folderCount = 20;

let root: string;
let isWriting: boolean;
let isRoom: boolean;

beforeEach(() => {
  root = mkdtempSync("/tmp/tug-removals-");
  isWriting = false;
  isRoom = true;
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function open(): Removals {
  return new Removals({
    logger: silentLogger,
    path: (number) => join(root, String(number)),
    isInTheWay: () => isWriting,
    hasRoom: () => isRoom,
  });
}

function fill(number: number): void {
  for (let at = 0; at < folderCount; at += 1) {
    const folder = join(root, String(number), `fs/${at}`);
    mkdirSync(folder, { recursive: true });
    for (let file = 0; file < 50; file += 1) writeFileSync(join(folder, `${file}`), "x");
  }
}

async function timeOf(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** Milliseconds that the removal of a directory takes. */
async function removalMs(): Promise<number> {
  fill(1);
  await using removals = open();
  return await timeOf(async () => {
    removals.add(1);
    expect([...removals.numbers]).toEqual([1]);
    await removals.idle();
    expect(existsSync(join(root, "1"))).toBe(false);
    expect(removals.numbers.size).toBe(0);
  });
}

test("a directory is removed slowly while something is written, unless the room is needed", async () => {
  const aloneMs = await removalMs();
  isWriting = true;
  const besideMs = await removalMs();
  isRoom = false;
  const neededMs = await removalMs();
  expect(besideMs).toBeGreaterThan(2.5 * Math.min(aloneMs, neededMs));
}, 30_000);

test("it goes on at once when the writing has ended", async () => {
  fill(1);
  isWriting = true;
  await using removals = open();
  removals.add(1);
  await Bun.sleep(30);
  isWriting = false;
  expect(await timeOf(async () => await removals.idle())).toBeLessThan(1000);
});

test("closing leaves the rest, and takes no more", async () => {
  fill(1);
  fill(2);
  isWriting = true;
  const removals = open();
  removals.add(1);
  removals.add(2);
  await removals[Symbol.asyncDispose]();
  expect(existsSync(join(root, "2"))).toBe(true);
  removals.add(2);
  expect(removals.numbers.size).toBe(0);
});

test("hasRoom() tells of a disk that is nearly full", () => {
  mkdirSync(join(root, "small"));
  if (process.getuid?.() !== 0) return;
  const mount = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", `${root}/small`]);
  expect(mount.exitCode).toBe(0);
  try {
    expect(hasRoom(join(root, "small"))).toBe(false);
  } finally {
    Bun.spawnSync(["umount", join(root, "small")]);
  }
});
