/** A daemon that dies, or loses its power, in the middle of loads and commits. Seed: TUG_TEST_SEED. */
import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { busyboxEntries, dockerArchive } from "../support/images.ts";
import { at, listAt } from "../support/json.ts";
import { type LoopDisk, loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { until } from "../support/process.ts";
import { tar } from "../support/tar.ts";

const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const roundCount = Number(process.env["TUG_TEST_ROUNDS"] ?? 5);
const lack = referenceHost === undefined ? loopDiskLack() : "it is not our own daemon";
if (lack !== undefined) console.warn(`skipped: ${lack}`);
const mebibyte = 1024 * 1024;
/** The time that loading one of the archives takes here, about. */
const loadMs = 400;
const testMaxMs = 180_000;

let random = seed;
function below(limit: number): number {
  random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
  return random % limit;
}

/** An image of busybox and layers of noise. */
function makeArchive(tag: string, layerCount: number): Buffer {
  const noise = (index: number): Buffer =>
    tar([{ name: `noise${index}`, content: randomBytes(3 * mebibyte) }]);
  return dockerArchive({
    tags: [tag],
    layers: [tar([...busyboxEntries()]), ...Array.from({ length: layerCount }, (_, n) => noise(n))],
    config: { config: { Cmd: ["sh"], Labels: { tugtest: "1" } } },
  });
}

async function load(engine: Engine, archive: Uint8Array): Promise<boolean> {
  const headers = { "Content-Type": "application/x-tar" };
  try {
    const answer = await engine.api("POST", "/images/load", archive, { headers });
    return answer.text.includes("Loaded image");
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}

/** The sum of all noise that an image has; undefined when it cannot. */
async function sumOf(engine: Engine, image: string): Promise<string | undefined> {
  const Cmd = ["sh", "-c", "sha1sum /noise* | sha1sum"];
  const id = await engine.runDetached({ Image: image, Cmd, HostConfig: { NetworkMode: "none" } });
  const wait = await engine.api("POST", `/containers/${id}/wait`);
  const { text } = await engine.api("GET", `/containers/${id}/logs?stdout=1`);
  await engine.api("DELETE", `/containers/${id}?force=1`);
  return at(wait.json, "StatusCode") === 0 ? text : undefined;
}

async function tagsOf(engine: Engine): Promise<readonly string[]> {
  const list = listAt((await engine.api("GET", "/images/json?all=1")).json);
  // One that has no name is a half of something.
  for (const image of list) expect(listAt(image, "RepoTags").length).toBeGreaterThan(0);
  return list.flatMap((image) => listAt(image, "RepoTags").map(String));
}

/**
 * Loads an archive and breaks off somewhere in it: the image is whole or not there, and when it was
 * acknowledged it is there; the same archive loads afterwards.
 */
async function breakOff(daemon: TestDaemon, tag: string, end: () => Promise<void>): Promise<void> {
  const { engine } = daemon;
  const archive = makeArchive(tag, 3);
  const loading = load(engine, archive);
  await Bun.sleep(below(loadMs));
  await end();
  const isAcknowledged = await loading;
  const isThere = (await tagsOf(engine)).includes(tag);
  if (isAcknowledged) expect(isThere).toBe(true);
  const before = isThere ? await sumOf(engine, tag) : "none";
  expect(before).toBeDefined();
  expect(await load(engine, archive)).toBe(true);
  const after = await sumOf(engine, tag);
  expect(after).toBeDefined();
  if (isThere) expect(after).toBe(before ?? "");
}

/** Nothing is on the disk once all images are gone. */
async function expectEmpty(daemon: TestDaemon): Promise<void> {
  const { engine } = daemon;
  for (const tag of await tagsOf(engine)) await engine.api("DELETE", `/images/${tag}?force=1`);
  await engine.api("POST", "/images/prune");
  const content = join(daemon.dataRoot, "content");
  expect(readdirSync(join(content, "blobs/sha256"))).toEqual([]);
  expect(readdirSync(join(content, "ingest"))).toEqual([]);
  // Beside them is the folder that layers are made in.
  const snapshots = (): readonly string[] =>
    readdirSync(join(daemon.dataRoot, "snapshots")).filter((name) => name !== "new");
  await until(
    () => snapshots().length === 0,
    () => `snapshots to go: ${snapshots().join(", ")}`,
  );
}

async function cutPower(daemon: TestDaemon, disk: LoopDisk): Promise<void> {
  await disk.cutPower(() => daemon.kill9());
  await daemon.restart();
}

describe.skipIf(referenceHost !== undefined)("kill -9", () => {
  test(
    `in the middle of loads leaves whole images or none (seed ${seed})`,
    async () => {
      await using daemon = await startDaemon();
      for (let round = 0; round < roundCount; round += 1) {
        await breakOff(daemon, `killed:${round}`, async () => {
          await daemon.kill9();
          await daemon.restart();
        });
      }
      await expectEmpty(daemon);
      expect(await daemon.leaks()).toEqual([]);
    },
    testMaxMs,
  );
});

describe.skipIf(lack !== undefined)("a power cut", () => {
  test(
    `in the middle of loads leaves whole images or none (seed ${seed})`,
    async () => {
      await using disk = await makeLoopDisk(512 * mebibyte);
      await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
      for (let round = 0; round < roundCount; round += 1) {
        await breakOff(daemon, `cut:${round}`, async () => await cutPower(daemon, disk));
      }
      for (const tag of await tagsOf(daemon.engine)) {
        expect(await sumOf(daemon.engine, tag)).toBeDefined();
      }
      await expectEmpty(daemon);
      await daemon.stop();
    },
    testMaxMs,
  );

  test(
    `in the middle of commits leaves whole images or none (seed ${seed})`,
    async () => {
      await using disk = await makeLoopDisk(512 * mebibyte);
      await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
      const { engine } = daemon;
      expect(await load(engine, makeArchive("base:1", 0))).toBe(true);
      const fill =
        "for n in 0 1 2 3 4 5 6 7; do head -c 1000000 /dev/urandom >/noise$n; done; " +
        "sha1sum /noise* | sha1sum";
      for (let round = 0; round < roundCount; round += 1) {
        const name = `writer-${round}`;
        await engine.runDetached({ Image: "base:1", Cmd: ["sh", "-c", fill] }, name);
        await engine.api("POST", `/containers/${name}/wait`);
        const written = (await engine.api("GET", `/containers/${name}/logs?stdout=1`)).text;
        // What the container itself wrote is its own affair: it is on the disk before the commit.
        Bun.spawnSync(["sync", "-f", disk.path]);
        const committing = engine
          .api("POST", `/commit?container=${name}&repo=made&tag=${round}`)
          .then((answer) => answer.status === 201)
          .catch((error: unknown) => !(error instanceof Error));
        await Bun.sleep(below(200));
        await cutPower(daemon, disk);
        const isAcknowledged = await committing;
        const image = `made:${round}`;
        const isThere = (await tagsOf(engine)).includes(image);
        if (isAcknowledged) expect(isThere).toBe(true);
        if (isThere) expect(await sumOf(engine, image)).toBe(written);
        await engine.api("DELETE", `/containers/${name}?force=1`);
      }
      for (const tag of await tagsOf(engine)) expect(await sumOf(engine, tag)).toBeDefined();
      await expectEmpty(daemon);
      await daemon.stop();
    },
    testMaxMs,
  );
});
