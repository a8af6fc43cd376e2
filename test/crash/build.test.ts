/**
 * kill -9 of the daemon in every step of a build: the next start is clean, the cache is right, and no
 * process of a step survives.
 *
 * The moments are random; the seed is printed and may be given as TUG_TEST_SEED.
 */
import assert from "node:assert/strict";
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../src/lib/errors.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { processesOf, readdirOptional, readOptional } from "../support/leaks.ts";
import { loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { until } from "../support/process.ts";
import { createRandom } from "../support/random.ts";

const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const roundCount = Number(process.env["TUG_TEST_ROUNDS"] ?? 12);
const cutCount = 4;
/** Longer than the build takes: some rounds are killed after it. */
const killMaxMs = 1500;
const largeBytes = 3_000_000;

/** Steps of every kind, most of which each round does anew. */
function dockerfile(salt: string): string {
  return [
    "FROM busybox AS one",
    `RUN echo ${salt} > /salt && sleep 0.1 && : ${marker}`,
    "COPY large /large",
    "RUN --mount=type=cache,target=/cache --mount=type=secret,id=s --mount=type=tmpfs,target=/t " +
      `sh -c 'cat /large > /copy; echo x >> /cache/f; sleep 0.1; : ${marker}'`,
    "FROM busybox AS two",
    "RUN --mount=type=bind,from=one,target=/one,rw sha1sum < /one/large > /sum && echo > /one/new",
    "WORKDIR /made/by/build",
    "ADD --chown=5:6 sub /sub",
    "FROM busybox",
    "COPY --from=one /copy /salt /",
    "COPY --from=two /sum /sum",
    `RUN sleep 0.1; sha1sum < /copy > /own; : ${marker}`,
    "COPY <<EOF /text",
    salt,
    "EOF",
    "",
  ].join("\n");
}

const marker = `crash-of-builds-${process.pid}`;

function makeContext(engine: Engine, salt: string): string {
  const folder = join(engine.folder, "context");
  mkdirSync(join(folder, "sub"), { recursive: true });
  writeFileSync(join(folder, "Dockerfile"), dockerfile(salt));
  writeFileSync(join(folder, "large"), Buffer.alloc(largeBytes, salt));
  writeFileSync(join(folder, "sub/f"), salt);
  writeFileSync(join(engine.folder, "secret"), "s3cret");
  return folder;
}

function stepProcesses(): readonly number[] {
  const pids = readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .map(Number);
  return pids.filter(
    (pid) => pid !== process.pid && readOptional(`/proc/${pid}/cmdline`)?.includes(marker) === true,
  );
}

function isStepRunning(): boolean {
  return stepProcesses().length > 0;
}

/** Ends all that a machine without power would: who goes on would hold the disk. */
async function endAll(daemon: TestDaemon): Promise<void> {
  await daemon.kill9();
  const left = (): readonly number[] => [
    ...processesOf(daemon.folder).map(({ pid }) => pid),
    ...stepProcesses(),
  ];
  await until(
    () => {
      const pids = left();
      for (const pid of pids) kill(pid);
      return pids.length === 0;
    },
    () => `processes to end: ${left().join()}`,
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

const check =
  'test "$(cat /sum)" = "$(cat /own)" && test "$(sha1sum < /copy)" = "$(cat /own)" && ' +
  `test "$(cat /text)" = "$(cat /salt)" && test "$(wc -c < /copy)" = ${largeBytes} && cat /salt`;

/** Builds, and reads all that came of it. */
async function buildAndCheck(engine: Engine, salt: string): Promise<void> {
  const tug = engine.client("tug");
  const args = ["build", "-t", "made", "--secret", `id=s,src=${join(engine.folder, "secret")}`];
  const built = await tug.run([...args, makeContext(engine, salt)], { timeoutMs: 60_000 });
  assert.equal(built.exitCode, 0, built.stderr);
  expect(await tug.ok("run", "--rm", "--network=none", "made", "sh", "-c", check)).toBe(salt);
}

/** Nothing of a build that was cut short is there, nor in use. */
async function expectClean(daemon: TestDaemon): Promise<void> {
  expect(isStepRunning()).toBe(false);
  for (const folder of [
    join(daemon.execRoot, "builds"),
    join(daemon.dataRoot, "build/received"),
    join(daemon.dataRoot, "build/scratch"),
  ]) {
    expect({ folder, left: readdirOptional(folder) }).toEqual({ folder, left: [] });
  }
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(`${daemon.execRoot}/builds/`);
  expect(await daemon.leaks()).toEqual([]);
  const usage = await daemon.engine.api("GET", "/system/df?type=build-cache");
  for (const record of listAt(usage.json, "BuildCache")) {
    expect({ id: textAt(record, "ID"), isInUse: at(record, "InUse") }).toMatchObject({
      isInUse: false,
    });
  }
}

describe.skipIf(referenceHost !== undefined)("kill -9 of the daemon in a build", () => {
  test(`in every step, ${roundCount} times (seed ${seed})`, async () => {
    console.log(`seed ${seed}`);
    const random = createRandom(seed);
    await using daemon = await startDaemon();
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const tug = engine.client("tug");
    for (let round = 0; round < roundCount; round += 1) {
      // Every third round goes on with what the one before it has left in the cache.
      const salt = `salt-${seed}-${Math.floor((round * 2) / 3)}`;
      const secret = `id=s,src=${join(engine.folder, "secret")}`;
      const folder = makeContext(engine, salt);
      const building = tug.run(["build", "-t", "cut", "--secret", secret, folder]);
      await Bun.sleep(random.next() * killMaxMs);
      await daemon.kill9();
      await building;
      await daemon.restart();
      await until(() => !isStepRunning(), "steps to be killed");
      await expectClean(daemon);
      if (random.next() < 0.5) await buildAndCheck(engine, salt);
    }
    await buildAndCheck(engine, "last");
    await tug.ok("rmi", "-f", "made");
    await tug.run(["rmi", "-f", "cut"]);
    await tug.ok("image", "prune", "-f");
    await tug.ok("builder", "prune", "-a", "-f");
    await expectClean(daemon);
    const snapshots = join(daemon.dataRoot, "snapshots");
    const left = (): readonly string[] =>
      readdirSync(snapshots).filter((name) => existsSync(join(snapshots, name, "fs/copy")));
    await until(
      () => left().length === 0,
      () => `layers to go: ${left().join()}`,
    );
  }, 240_000);
});

const lack = referenceHost === undefined ? loopDiskLack() : "it is not our own daemon";
if (lack !== undefined) console.warn(`skipped: ${lack}`);

describe.skipIf(lack !== undefined)("a power cut", () => {
  test("in a build leaves a cache that is whole", async () => {
    await using disk = await makeLoopDisk(512 * 1024 * 1024);
    await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const tug = engine.client("tug");
    const random = createRandom(seed);
    for (let round = 0; round < cutCount; round += 1) {
      const salt = `cut-${seed}-${round}`;
      const secret = `id=s,src=${join(engine.folder, "secret")}`;
      const building = tug.run(["build", "--secret", secret, makeContext(engine, salt)]);
      await Bun.sleep(random.next() * killMaxMs);
      await disk.cutPower(() => endAll(daemon));
      await building;
      await daemon.restart();
      await until(() => !isStepRunning(), "steps to be killed");
      // Twice: once with what the cache still knows, once with all of it.
      await buildAndCheck(engine, salt);
      await buildAndCheck(engine, salt);
    }
    await engine.removeContainers();
    await daemon.stop();
  }, 300_000);
});
