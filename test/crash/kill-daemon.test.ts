/**
 * kill -9 of the daemon in the middle of its work: the next start is clean, what was acknowledged is
 * there, and running containers never noticed.
 *
 * The moments are random; the seed is printed and may be given as TUG_TEST_SEED.
 */
import { describe, expect, test } from "bun:test";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { readFrames } from "../support/http.ts";
import { dockerArchive, rootTar, testLabel } from "../support/images.ts";
import { at, listAt, numberAt, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { createRandom } from "../support/random.ts";

const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const roundCount = Number(process.env["TUG_TEST_ROUNDS"] ?? 15);
/** On a machine that is busy with other work there are fewer rounds, not a failure. */
const roundsMaxMs = 80_000;
const killMinMs = 5;
const killMaxMs = 350;

/** What the engine has acknowledged. */
interface Acknowledged {
  readonly created: Set<string>;
  readonly removed: Set<string>;
  readonly started: Set<string>;
  readonly images: Set<string>;
}

/** An unanswered request is what a killed daemon leaves; anything else is a failure. */
async function answered<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/** Creates, starts, stops and removes until the daemon is gone. */
async function churn(engine: Engine, done: Acknowledged, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const created = await answered(
      engine.api("POST", "/containers/create", { Image: "busybox", Cmd: ["sleep", "600"] }),
    );
    if (created?.status !== 201) continue;
    const id = textAt(created.json, "Id");
    done.created.add(id);
    const started = await answered(engine.api("POST", `/containers/${id}/start`));
    if (started?.status === 204) done.started.add(id);
    if (isOver()) return;
    await answered(engine.api("POST", `/containers/${id}/stop?t=0`));
    done.started.delete(id);
    const removed = await answered(engine.api("DELETE", `/containers/${id}?force=1`));
    if (removed?.status === 204) done.removed.add(id);
  }
}

/** Loads and imports images until the daemon is gone. */
async function fill(engine: Engine, done: Acknowledged, isOver: () => boolean): Promise<void> {
  for (let count = 0; !isOver(); count += 1) {
    const stamp = `${Math.random()}`;
    const archive = rootTar({ entries: [{ name: "stamp", content: stamp }], changes: [] });
    const tag = `crash-${stamp.slice(2)}:1`;
    const answer = await answered(
      count % 2 === 0
        ? engine.api("POST", "/images/load", dockerArchive({ tags: [tag], layers: [archive] }))
        : engine.api(
            "POST",
            `/images/create?fromSrc=-&repo=${tag.replace(":1", "&tag=1")}`,
            archive,
          ),
    );
    const isDone = answer?.status === 200 && !answer.text.includes("errorDetail");
    const hasEnded = count % 2 === 0 ? answer?.text.includes("Loaded image") : isDone;
    if (isDone && hasEnded === true) done.images.add(tag);
  }
}

async function expectAcknowledged(engine: Engine, done: Acknowledged): Promise<void> {
  const list = await engine.api("GET", "/containers/json?all=1");
  const there = new Map(listAt(list.json).map((item) => [textAt(item, "Id"), item]));
  for (const id of done.created) {
    // A removal that was asked for and not answered may have happened or not.
    if (done.removed.has(id)) expect(there.has(id)).toBe(false);
    else if (done.started.has(id)) expect(at(there.get(id), "State")).toBe("running");
  }
  for (const tag of done.images) {
    const answer = await engine.api("GET", `/images/${tag}/json`);
    expect({ tag, status: answer.status }).toEqual({ tag, status: 200 });
  }
}

/** Runs an image to see that its files are whole. */
async function expectRuns(engine: Engine, image: string): Promise<void> {
  const id = await engine.runDetached({ Image: image, Cmd: ["cat", "/stamp"] });
  const wait = await engine.api("POST", `/containers/${id}/wait`);
  expect(at(wait.json, "StatusCode")).toBe(0);
  const logs = await engine.api("GET", `/containers/${id}/logs?stdout=1`);
  expect(logs.text).toContain(image.slice("crash-".length, -2));
  await engine.api("DELETE", `/containers/${id}?force=1`);
}

describe.skipIf(referenceHost !== undefined)("kill -9 of the daemon", () => {
  test(`in the middle of everything, ${roundCount} times (seed ${seed})`, async () => {
    console.log(`seed ${seed}`);
    const random = createRandom(seed);
    await using daemon = await startDaemon({ flags: ["--live-restore"] });
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const witness = await startWitness(engine);
    const end = performance.now() + roundsMaxMs;
    for (let round = 0; round < roundCount && performance.now() < end; round += 1) {
      await crashOnce(daemon, killMinMs + random.next() * (killMaxMs - killMinMs), witness);
    }
    await expectCounts(engine, witness.id);
    await engine.api("DELETE", `/containers/${witness.id}?force=1`);
    expect(await daemon.leaks()).toEqual([]);
  }, 180_000);

  test("a container that ends meanwhile has its exit status and all of its output", async () => {
    await using daemon = await startDaemon();
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const script = "seq 1 2000; read go; seq 2001 40000; exit 21";
    const created = await engine.runDetached({
      Image: "busybox",
      Cmd: ["sh", "-c", "seq 1 2000; sleep 1; seq 2001 40000; exit 21"],
    });
    expect(script).toContain("exit 21");
    await daemon.kill9();
    await Bun.sleep(1_800);
    await daemon.restart();
    const state = at(await engine.inspect(created), "State");
    expect(state).toMatchObject({ Status: "exited", ExitCode: 21, Running: false });
    const logs = await engine.api("GET", `/containers/${created}/logs?stdout=1`);
    const text = readFrames(logs.bytes)
      .map((frame) => frame.text)
      .join("");
    expect(text).toBe(Array.from({ length: 40_000 }, (_, index) => `${index + 1}\n`).join(""));
  }, 30_000);

  test("--rm containers that end meanwhile are removed by the next daemon", async () => {
    await using daemon = await startDaemon();
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const id = await engine.runDetached({
      Image: "busybox",
      Cmd: ["sleep", "0.5"],
      HostConfig: { AutoRemove: true },
    });
    await daemon.kill9();
    await Bun.sleep(900);
    await daemon.restart();
    await until(
      async () => (await engine.api("GET", `/containers/${id}/json`)).status === 404,
      "the container to be removed",
    );
    expect(await daemon.leaks()).toEqual([]);
  }, 30_000);

  test("published ports answer while there is no daemon, and after", async () => {
    await using daemon = await startDaemon();
    const { engine } = daemon;
    await engine.ensureImages("web");
    const id = await engine.runDetached({
      Image: "web",
      HostConfig: { PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] } },
    });
    const port = textAt(
      await engine.inspect(id),
      ...["NetworkSettings", "Ports", "8080/tcp", 0, "HostPort"],
    );
    const url = `http://127.0.0.1:${port}/`;
    await daemon.kill9();
    expect(await engine.fetchText(url)).toBe("hello from web\n");
    await daemon.restart();
    expect(await engine.fetchText(url)).toBe("hello from web\n");
    const taken = await engine.api("POST", "/containers/create", {
      Image: "web",
      HostConfig: { PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: port }] } },
    });
    const start = await engine.api("POST", `/containers/${textAt(taken.json, "Id")}/start`);
    expect(start.status).toBeGreaterThanOrEqual(400);
    await engine.api("DELETE", `/containers/${id}?force=1`);
    await expect(engine.fetchText(url)).rejects.toThrow();
  }, 30_000);

  test("exec, attach and stop work on a container of the daemon before", async () => {
    await using daemon = await startDaemon();
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const id = await engine.runDetached({
      Image: "busybox",
      Cmd: ["sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"],
    });
    await daemon.kill9();
    await daemon.restart();
    const created = await engine.api("POST", `/containers/${id}/exec`, {
      Cmd: ["echo", "still here"],
      AttachStdout: true,
    });
    const started = await engine.api("POST", `/exec/${textAt(created.json, "Id")}/start`, {});
    expect(started.text).toContain("still here");
    expect((await engine.api("POST", `/containers/${id}/stop`)).status).toBe(204);
    expect(at(await engine.inspect(id), "State", "ExitCode")).toBe(4);
  }, 30_000);
});

/** A container that counts while daemons come and go. */
interface Witness {
  readonly id: string;
  readonly pid: number;
}

async function startWitness(engine: Engine): Promise<Witness> {
  const script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";
  const id = await engine.runDetached(
    { Image: "busybox", Cmd: ["sh", "-c", script], Labels: { [testLabel]: "witness" } },
    "witness",
  );
  return { id, pid: numberAt(await engine.inspect(id), "State", "Pid") };
}

async function crashOnce(daemon: TestDaemon, afterMs: number, witness: Witness): Promise<void> {
  const { engine } = daemon;
  const done: Acknowledged = {
    created: new Set(),
    removed: new Set(),
    started: new Set(),
    images: new Set(),
  };
  let isOver = false;
  const work = [1, 2].map(() => churn(engine, done, () => isOver));
  const filling = fill(engine, done, () => isOver);
  await Bun.sleep(afterMs);
  isOver = true;
  await daemon.kill9();
  await Promise.all([...work, filling]);
  await daemon.restart();
  expect(at(await engine.inspect(witness.id), "State")).toMatchObject({
    Running: true,
    Pid: witness.pid,
  });
  await expectAcknowledged(engine, done);
  const [image] = done.images;
  if (image !== undefined) await expectRuns(engine, image);
  const list = await engine.api("GET", "/containers/json?all=1");
  for (const item of listAt(list.json)) {
    const id = textAt(item, "Id");
    if (id === witness.id) continue;
    expect((await engine.api("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
  }
  for (const tag of done.images) await engine.api("DELETE", `/images/${tag}?force=1`);
}

/** The witness counted on, and no line is missing. */
async function expectCounts(engine: Engine, id: string): Promise<void> {
  const logs = await engine.api("GET", `/containers/${id}/logs?stdout=1`);
  const lines = readFrames(logs.bytes)
    .map((frame) => frame.text)
    .join("")
    .trim()
    .split("\n");
  expect(lines.length).toBeGreaterThan(100);
  expect(lines).toEqual(lines.map((_, index) => String(index + 1)));
}
