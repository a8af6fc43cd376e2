/** A daemon that dies, or loses its power, in the middle of commits. Seed: TUG_TEST_SEED. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { startDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";

const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const roundCount = Number(process.env["TUG_TEST_ROUNDS"] ?? 6);
const lack = referenceHost === undefined ? loopDiskLack() : "it is not our own daemon";

const script =
  "i=0; while [ $i -lt 200 ]; do head -c 20000 /dev/urandom >/f$i; i=$((i+1)); done; " +
  "cat /f* | sha1sum >/sum; while :; do echo tick; sleep 0.05; done";

/** Commits until the daemon is gone. @returns the names that were acknowledged */
async function commitUntilDead(engine: Engine, options: { container: string; round: number }) {
  const done: string[] = [];
  for (let count = 0; ; count += 1) {
    const name = `cut-${options.round}-${count}`;
    try {
      const path = `/commit?container=${options.container}&repo=${name}`;
      if ((await engine.api("POST", path)).status === 201) done.push(name);
    } catch (error) {
      if (error instanceof Error) return done;
      throw error;
    }
  }
}

/** Whether all files of an image are as they were written. */
async function isWhole(engine: Engine, image: string): Promise<boolean> {
  const check = '[ "$(cat /f* | sha1sum)" = "$(cat /sum)" ]';
  const id = await engine.runDetached({ Image: image, Cmd: ["sh", "-c", check] });
  const wait = await engine.api("POST", `/containers/${id}/wait`);
  await engine.api("DELETE", `/containers/${id}?force=1`);
  return at(wait.json, "StatusCode") === 0;
}

async function startWriter(engine: Engine): Promise<string> {
  const id = await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", script] });
  for (;;) {
    const logs = await engine.api("GET", `/containers/${id}/logs?stdout=1`);
    if (logs.text.includes("tick")) return id;
    await Bun.sleep(30);
  }
}

async function expectGoesOn(engine: Engine, container: string): Promise<void> {
  expect(textAt(await engine.inspect(container), "State", "Status")).toBe("running");
  const ticks = async (): Promise<number> =>
    (await engine.api("GET", `/containers/${container}/logs?stdout=1`)).bytes.length;
  const before = await ticks();
  await Bun.sleep(300);
  expect(await ticks()).toBeGreaterThan(before);
}

describe.skipIf(referenceHost !== undefined)("kill -9 in the middle of commits", () => {
  test(`every image there is whole, nobody stays paused (seed ${seed})`, async () => {
    console.log(`seed ${seed}`);
    await using daemon = await startDaemon({ flags: ["--live-restore"] });
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const container = await startWriter(engine);
    let random = seed;
    for (let round = 0; round < roundCount; round += 1) {
      random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
      const commits = commitUntilDead(engine, { container, round });
      await Bun.sleep(5 + (random % 400));
      await daemon.kill9();
      const acknowledged = await commits;
      await daemon.restart();
      await expectGoesOn(engine, container);
      const images = listAt((await engine.api("GET", "/images/json")).json);
      const names = images.flatMap((image) => listAt(image, "RepoTags").map(String));
      for (const name of acknowledged) expect(names).toContain(`${name}:latest`);
      for (const name of names.filter((one) => one.startsWith(`cut-${round}-`))) {
        expect({ name, isWhole: await isWhole(engine, name) }).toEqual({ name, isWhole: true });
        await engine.api("DELETE", `/images/${name}`);
      }
    }
    await engine.api("DELETE", `/containers/${container}?force=1`);
    const left = await engine.api("GET", "/system/df?type=image");
    expect(listAt(left.json, "Images").length).toBe(1);
    expect(await daemon.leaks()).toEqual([]);
  }, 120_000);
});

describe.skipIf(lack !== undefined)("a power cut", () => {
  test("after a commit was acknowledged loses nothing of it", async () => {
    await using disk = await makeLoopDisk(256 * 1024 * 1024);
    await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const container = await startWriter(engine);
    // What runs would keep the disk in use.
    await engine.api("POST", `/containers/${container}/kill`);
    await engine.api("POST", `/containers/${container}/wait`);
    for (const round of [1, 2]) {
      const name = `cut:${round}`;
      const answer = await engine.api(
        "POST",
        `/commit?container=${container}&repo=cut&tag=${round}`,
      );
      expect(answer.status).toBe(201);
      await disk.cutPower(() => daemon.kill9());
      await daemon.restart();
      expect(await isWhole(engine, name)).toBe(true);
    }
    await engine.removeContainers();
    await daemon.stop();
  }, 120_000);
});
